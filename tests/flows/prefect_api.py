"""Asks a Prefect server, as its pages do."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_BUSY = 503


def answer_of(server: dict[str, str], method: str, path: str, body: Any = None) -> httpx.Response:
    """The answer of the server's API, once its database is not busy."""
    url = f"{server['PREFECT_API_URL']}/{path}"
    # without TLS no certificates: to read the system's takes twenty times as long as to ask
    ask_once = partial(httpx.request, method, url, json=body, timeout=60, verify=False)
    while (answer := ask_once()).status_code == _BUSY:
        time.sleep(0.2)
    return answer


def post(server: dict[str, str], path: str, body: Any) -> Any:
    """What the server's API answers to what it accepts."""
    answer = answer_of(server, "POST", path, body)
    assert answer.is_success, answer.text
    return answer.json()


def ask(server: dict[str, str], what: str, **query: Any) -> list[dict[str, Any]]:
    """Rows that the server's API finds."""
    rows: list[dict[str, Any]] = post(server, f"{what}/filter", query)
    return rows


def last_run(server: dict[str, str]) -> dict[str, Any]:
    """The flow run that began last."""
    begun = {"start_time": {"is_null_": False}}
    return ask(server, "flow_runs", flow_runs=begun, sort="START_TIME_DESC")[0]


def remove_deployments(server: dict[str, str]) -> None:
    """Remove every deployment, and with it what its schedule has planned."""
    for deployment in ask(server, "deployments"):
        answer_of(server, "DELETE", f"deployments/{deployment['id']}")


def task_names(server: dict[str, str], run: dict[str, Any]) -> dict[str, str]:
    """A flow run's task runs by name, with their states."""
    rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    return {row["name"]: row["state_type"] for row in rows}


def wait_for(question: Callable[[], T], seconds: float = 120) -> T:
    """The first answer that is not empty."""
    until = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < until
        time.sleep(0.5)  # what the server computes for an answer, other tests wait for
    return answer


def settle(server: dict[str, str], run: dict[str, Any], tasks: int) -> dict[str, str]:
    """`task_names` once it has so many rows: the server learns of task runs by events."""

    def all_of_them() -> dict[str, str]:
        return names if len(names := task_names(server, run)) >= tasks else {}

    return wait_for(all_of_them)


def log_lines(server: dict[str, str], run: dict[str, Any]) -> dict[tuple[int, str], str]:
    """A flow run's log: which task run logged it, by level and text."""
    rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    tasks = {row["id"]: row["name"] for row in rows}
    logs = ask(server, "logs", logs={"flow_run_id": {"any_": [run["id"]]}})
    return {(log["level"], log["message"]): tasks.get(log["task_run_id"], "") for log in logs}


def faults(log: str) -> list[str]:
    """Errors among the records of a server's log.

    SQLite refuses a transaction at once that would have to wait for two others; Prefect logs it
    and tries again.
    """
    records = re.split(r"^(?=\d\d:\d\d:\d\d\.)", log, flags=re.MULTILINE)
    return [
        record
        for record in records
        if re.search(r"\| (ERROR|CRITICAL) |Traceback", record) and "is locked" not in record
    ]
