"""What keeps the start and the end of a command short: a cron line pays for them every time.

It is for processes that are a command of ours. Nothing of it happens to who imports our modules,
be it a notebook or a worker of Prefect's.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn


def start_lightly() -> None:
    """Prepare to load modules; to be called before the first."""
    # loading modules makes objects by the hundred thousand, and no garbage
    gc.set_threshold(50_000)
    sys.meta_path.insert(0, _NotNeeded)
    # it would look into every installed package for plugins (pydantic, "Disable plugins")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def import_aiohttp() -> None:
    """Import aiohttp without the certificates of the system, which it would read at once, twice.

    Where they are one file, that is a tenth of the CPU of a command with nothing to do. Our
    connections have a context of their own (`tasks.halo.transport`); one of aiohttp's would find
    no certificate to be good.
    """
    import ssl

    ssl.SSLContext.set_default_verify_paths = lambda _: None  # type: ignore[method-assign,assignment]
    try:
        import aiohttp  # noqa: F401
    finally:
        del ssl.SSLContext.set_default_verify_paths  # what it hid is there again


def end_at_once(code: int) -> NoReturn:
    """End this process without taking its modules apart, which would be 5 % of its CPU.

    Prefect sends what it has logged as the process ends: where it was loaded, that takes its
    time. So does an output that cannot be written, of which Python complains at the end.
    """
    if "prefect" in sys.modules:
        sys.exit(code)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)
    os._exit(code)


class _NotNeeded:
    """Hides what no command uses from the libraries that would import it where it is installed.

    pyarrow imports pandas to convert a first value: half of the CPU of a command with nothing to
    do. httpx imports its own command line, and with it rich. Both take it for not installed.
    """

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Refuse these, and leave the rest to others; see `importlib.abc.MetaPathFinder`."""
        if name in {"pandas", "httpx._main"}:
            raise ModuleNotFoundError(f"the commands of halo-usm do without {name}", name=name)
