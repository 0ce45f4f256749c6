"""A real Prometheus on loopback that scrapes a real node_exporter, which reads a folder of metrics.

    with Prometheus(folder) as prometheus:
        …  # a file prometheus.metrics / "halo-usm.prom"
        prometheus.query("halo_usm_gaps")

Both are Debian's, unpacked by `tests/install_prometheus.sh`, with every file in the folder.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.load.helpers import closed_port
from tests.syslog_daemon import require_there

if TYPE_CHECKING:
    from collections.abc import Callable

_PROGRAMS = Path(__file__).parents[1] / ".venv" / "prometheus" / "usr" / "bin"
_WAIT_SECONDS = 60.0
_CONFIG = """\
global: {{scrape_interval: 200ms}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def promtool(*arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run promtool with a text as its standard input."""
    require()
    command = [str(_PROGRAMS / "promtool"), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def require() -> None:
    """Skip the test where Prometheus is not there, or fail it where CI wants it there."""
    require_there(
        there=(_PROGRAMS / "promtool").exists(),
        reason="Prometheus is missing: sh tests/install_prometheus.sh unpacks Debian's",
    )


class Prometheus:
    """Both run while the context is entered.

    Attributes:
        metrics: The folder that node_exporter reads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.metrics = folder / "metrics"
        self._url = ""

    def __enter__(self) -> Self:
        require()
        self.metrics.mkdir(parents=True)
        with ExitStack() as stack:
            exporter, server = closed_port(), closed_port()
            self._start(
                stack,
                "prometheus-node-exporter",
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={self.metrics}",
                f"--web.listen-address=127.0.0.1:{exporter}",
            )
            (self._folder / "prometheus.yml").write_text(_CONFIG.format(port=exporter))
            self._start(
                stack,
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{server}",
            )
            self._url = f"http://127.0.0.1:{server}"
            self._client = stack.enter_context(httpx.Client(trust_env=False))
            wait_for(self._ready)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack, program: str, *arguments: str) -> None:
        log = stack.enter_context((self._folder / f"{program}.log").open("wb"))
        process = stack.enter_context(
            subprocess.Popen(
                [_PROGRAMS / program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        )
        stack.callback(process.kill)

    def _ready(self) -> bool:
        try:
            return self._client.get(f"{self._url}/-/ready").is_success
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What PromQL finds now: each sample with its labels as `metric`, time and `value`."""
        return self._get("query", {"query": expression})["result"]  # type: ignore[no-any-return]

    def label_values(self, metric: str, label: str) -> list[str]:
        """The values that a label of a metric has."""
        found: list[str] = self._get(f"label/{label}/values", {"match[]": metric})
        return found

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        answer = self._client.get(f"{self._url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    until = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, "it never became true"
        time.sleep(0.1)
