"""The Dask scheduler on whose workers the steps of a flow run are to run, where one is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.errors import HaloUsmError, SettingsError
from tasks.redaction import foreign_text
from tasks.setting_values import is_uri

if TYPE_CHECKING:
    from tasks.settings import Settings

CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""
START_WORKERS = "start some (dask worker ADDRESS)"
"""What to do where there is none."""


def scheduler_address(settings: Settings) -> str | None:
    """The scheduler's address; None where steps are to run in the process of the flow run.

    Raises:
        SettingsError: Dask workers are asked for, and cannot do the work.
    """
    if settings.halo_task_runner != "dask":
        return None
    if settings.halo_dask_address is None:
        raise SettingsError(
            "HALO_TASK_RUNNER=dask needs the address of a scheduler: set HALO_DASK_ADDRESS, such "
            "as tcp://scheduler:8786"
        )
    staging = settings.halo_staging
    if not is_uri(staging) or staging.startswith("file:"):
        raise SettingsError(
            "HALO_TASK_RUNNER=dask needs a staging on object storage, because each machine would "
            "have a folder of its own: set HALO_STAGING to a URI such as s3://bucket/prefix"
        )
    if settings.halo_staging_locks == "none":
        raise SettingsError(
            "HALO_TASK_RUNNER=dask needs leases, because Dask runs a step again that it believes "
            "to be lost: unset HALO_STAGING_LOCKS"
        )
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise SettingsError(
            "HALO_TASK_RUNNER=dask needs the library prefect-dask: pip install 'halo-usm[dask]'"
        ) from None
    return settings.halo_dask_address


def no_scheduler(address: str, error: Exception) -> HaloUsmError:
    """The error of a scheduler that does not answer."""
    said = foreign_text(str(error) or type(error).__name__)
    return HaloUsmError(
        f"HALO_DASK_ADDRESS: no Dask scheduler answers at {address} ({said}); start it (dask "
        "scheduler), or set HALO_TASK_RUNNER=threads"
    )


def count_workers(address: str) -> str:
    """How many workers a scheduler has, as text.

    Raises:
        HaloUsmError: It does not answer, or has none.
    """
    from distributed import Client

    try:
        with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:
            threads = client.nthreads()
    except (OSError, ValueError) as error:
        raise no_scheduler(address, error) from None
    if not threads:
        raise HaloUsmError(f"the Dask scheduler at {address} has no worker; {START_WORKERS}")
    return f"{len(threads):,} workers with {sum(threads.values()):,} threads"
