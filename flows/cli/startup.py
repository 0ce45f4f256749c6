"""Keeps the start and the end of a command short, because a cron line pays for them every time.

Only `halo-usm` itself calls these functions. A notebook or a Prefect worker that imports the
modules of this project is not affected.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

OBJECTS_A_COLLECTION = 200_000
"""How many more objects there are before Python looks for garbage, in processes of a command."""


def start_lightly() -> None:
    """Make imports faster; to be called before the first one."""
    # imports make some hundred thousand objects and no garbage
    gc.set_threshold(OBJECTS_A_COLLECTION)
    sys.meta_path.insert(0, _NotNeeded)
    # else pydantic searches every installed package for plugins (pydantic, "Disable plugins")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def import_aiohttp() -> None:
    """Import aiohttp without the system's certificates, which it reads twice as it is imported.

    Where they are in one file, that is a tenth of the CPU of a command with nothing to do. The
    connections to Halo have their own TLS context (`tasks.halo.transport`); those of aiohttp itself
    would accept no certificate.
    """
    import ssl

    ssl.SSLContext.set_default_verify_paths = lambda _: None  # type: ignore[method-assign,assignment]
    try:
        import aiohttp  # noqa: F401
    finally:
        del ssl.SSLContext.set_default_verify_paths  # the method of the base class is visible again


def end_at_once(code: int) -> NoReturn:
    """End this process without clearing its modules, which would take 5 % of its CPU time.

    Two cases end as usual: Prefect, where it was imported, sends its last logs as the process
    ends; and Python reports at its end an output that cannot be written.
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
    """Hides optional modules that no command uses from the libraries that would import them.

    pyarrow imports pandas to convert its first value, which is half of the CPU time of a command
    with nothing to do. httpx imports its own command line, and with it rich. Both libraries do
    without the module, as if it were not installed.
    """

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Refuse these modules and no others; see `importlib.abc.MetaPathFinder`."""
        if name in {"pandas", "httpx._main"}:
            raise ModuleNotFoundError(f"the commands of halo-usm do without {name}", name=name)
