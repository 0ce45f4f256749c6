"""What every test starts from: an environment without the developer's own settings."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from xdist import is_xdist_worker
from xdist.scheduler import LoadGroupScheduling

from tasks.settings import Settings
from tasks.staging.store import Store, open_store
from tasks.syslog.end_delay import DOUBTED_SECONDS
from tests.flows.forked_commands import end_forkers
from tests.processes import SUITE, left_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xdist.remote import Producer

SHARING_SERVERS = {
    "tests/flows/test_object_storage.py": "S3 server",
    "tests/flows/test_alerts.py": "Prefect server",
    "tests/flows/test_artifacts.py": "Prefect server",
    "tests/flows/test_prefect_server.py": "Prefect server",
    "tests/flows/test_dask.py": "Prefect server",
    "tests/flows/test_blocks.py": "another Prefect server",
    "tests/flows/test_deployments.py": "another Prefect server",
    "tests/flows/test_dry_run.py": "another Prefect server",
    "tests/flows/test_maintain.py": "another Prefect server",
    "tests/flows/test_prefect.py": "another Prefect server",
    "tests/flows/test_prefect_page.py": "another Prefect server",
    "tests/flows/test_task_runners.py": "another Prefect server",
}
"""Which modules share a server, by its name."""

QUICK = ("tests/cef/", "tests/plugin/")
"""Where hundreds of tests take milliseconds."""

# In the background of a script SIGINT is ignored, and would be by the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class ServersOnce(LoadGroupScheduling):  # type: ignore[misc]
    """Gives the tests that share a server to one worker.

    `xdist_group` would say the same, but pytest-xdist 3.8 passes groups on by an attribute that
    pytest 9.2 no longer has: with both, every worker would start a server of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        return SHARING_SERVERS.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ServersOnce:
    """Whatever `--dist` says."""
    return ServersOnce(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: more workers than cores, for the slow tests wait longer than they compute."""
    return (os.cpu_count() or 1) * 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests last, so that no worker is left alone with slow ones at the end."""
    items.sort(key=lambda item: item.nodeid.startswith(QUICK))


# A busy machine makes single examples slow; pytest's own time limit ends what hangs.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
os.environ.setdefault(SUITE, uuid.uuid4().hex)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The suite fails where it leaves a process behind, and ends it."""
    end_forkers()
    if is_xdist_worker(session):
        return
    # multiprocessing has two helpers, which else end only after the process that started them
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # noqa: SLF001
    left = left_of(SUITE, os.environ[SUITE])
    for process, command in left.items():
        print(f"\nERROR: this process was left running: {process} {command}")
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of this machine reaches a test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    # a client without a server must not start one of its own
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_ENABLED", "false")
    yield
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        os.environ.pop(name)


@pytest.fixture(autouse=True)
def short_close_grace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver's first batch is confirmed sooner, but where a test is about that time."""
    if request.node.get_closest_marker("full_close_grace") is None:
        monkeypatch.setattr("tasks.syslog.end_delay.UNPROVEN_SECONDS", DOUBTED_SECONDS)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty staging."""
    return open_store(str(tmp_path))
