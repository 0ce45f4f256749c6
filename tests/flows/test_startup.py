"""What commands import: a cron line pays for it every time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.flows.command import ROOT, command_for

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver
    from tests.flows.command import Command

_IMPORTED = re.compile(r"import time: .*\| +(\S+)$", re.MULTILINE)
# what is refused is listed like what is imported: a module inside tells whether it was
NEVER = {
    *("pandas.core", "prefect", "pydantic_settings", "sandbox", "cryptography"),
    *("prometheus_client", "jinja2", "matplotlib"),
}
TALKING = {"aiohttp", "httpx", "asyncio"}
WORKING = {"tasks.cef.render", "tasks.plugin.fields", "tasks.load.batch_sender"}
SHOWING = {"rich.console", "rich.table"}
UNNEEDED = {
    "--help": {"numpy", "pyarrow", "pydantic", "msgspec"} | TALKING,
    "sync --help": {"numpy", "pyarrow", "pydantic", "msgspec"} | TALKING,
    "--version": {"numpy", "pyarrow", "pydantic", "msgspec"} | TALKING,
    "sync": WORKING | SHOWING,
    "extract": WORKING | SHOWING,
    "transform": TALKING | WORKING | SHOWING | {"msgspec"},
    "load": TALKING | WORKING | SHOWING | {"msgspec"},
    "maintain": TALKING | WORKING | SHOWING | {"msgspec"},
    "status": TALKING | WORKING | {"msgspec"},
    "audit --since 2000-01-01": TALKING | {"msgspec"},
}


@pytest.fixture
def idle(tmp_path: Path, halo: HaloStandIn, receiver: Receiver) -> Command:
    """A command line with nothing left to do."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=3)
    halo_usm("sync")
    halo_usm("maintain")
    return halo_usm


def test_a_command_imports_only_what_it_needs(idle: Command) -> None:
    """A command with nothing to do imports neither the modules for its work nor large libraries."""
    for arguments, unneeded in UNNEEDED.items():
        command = [sys.executable, "-X", "importtime", "-m", "flows", *arguments.split()]
        ended = subprocess.run(
            command,
            cwd=idle.folder,
            env=idle.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        imported = set(_IMPORTED.findall(ended.stderr))
        assert "flows.cli.app" in imported
        assert (arguments, imported & (unneeded | NEVER)) == (arguments, set())


def test_who_imports_our_modules_keeps_pandas_and_the_certificates() -> None:
    """Only a command hides modules and certificates; a notebook that imports ours has them."""
    script = (
        "import ssl; usual = ssl.create_default_context, ssl.SSLContext.set_default_verify_paths\n"
        "import flows.cli.startup; flows.cli.startup.import_aiohttp()\n"
        "import flows.cli.app, flows.pipeline\n"
        "import tasks.extract.account, tasks.load.destination, tasks.transform.account\n"
        "import aiohttp, pandas, pyarrow, sys\n"
        "assert usual == (ssl.create_default_context, ssl.SSLContext.set_default_verify_paths)\n"
        "print(list(pyarrow.table({'a': [1]}).to_pandas()['a']), sys.meta_path[0].__module__)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("[1]")
    assert "flows" not in said.stdout
