"""`deployments/alerts.py` on a real server: each alert is made to fire, and a webhook hears it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.odd_events import malformed, odd
from tests.flows.command import ROOT, command_for, wait_until
from tests.flows.prefect_api import answer_of, post, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver
    from tests.flows.command import Command

pytestmark = pytest.mark.timeout(300)  # services of the server look every few seconds

POOL = "alerts"
SHORTEST = "0.17"
"""Minutes: Prefect takes no absence of less than ten seconds."""


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[dict[str, str]] = []

    @property
    def subjects(self) -> Counter[str]:
        """How often each alert came."""
        return Counter(one["subject"].removeprefix("halo-usm: ") for one in self.heard)

    def body(self, subject: str) -> str:
        """The text of an alert that came once."""
        (body,) = [one["body"] for one in self.heard if one["subject"] == f"halo-usm: {subject}"]
        return body


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.heard.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def webhook(server: dict[str, str]) -> Iterator[Webhook]:
    """A webhook on loopback, as the notification block `custom-webhook/alerts`."""
    with Webhook() as webhook:
        thread = threading.Thread(target=webhook.serve_forever)
        thread.start()
        api = server["PREFECT_API_URL"]
        kind = httpx.get(f"{api}/block_types/slug/custom-webhook").json()["id"]
        schemas = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        body = {
            "name": "alerts",
            "block_type_id": kind,
            "block_schema_id": post(server, "block_schemas/filter", schemas)[0]["id"],
            "data": {
                "name": "alerts",
                "url": f"http://127.0.0.1:{webhook.server_port}/",
                "json_data": {"subject": "{{subject}}", "body": "{{body}}"},
            },
        }
        block = post(server, "block_documents/", body)["id"]
        yield webhook
        for automation in automations(server):
            call(server, "DELETE", f"automations/{automation['id']}")
        call(server, "DELETE", f"block_documents/{block}")
        webhook.shutdown()
        thread.join()


def call(server: dict[str, str], method: str, path: str, body: object = None) -> None:
    """Ask the server's API for what it does."""
    answer = answer_of(server, method, path, body)
    assert answer.is_success, answer.text


def automations(server: dict[str, str]) -> list[dict[str, Any]]:
    """Those of the server."""
    rows: list[dict[str, Any]] = post(server, "automations/filter", {})
    return rows


def alerts(command: Command) -> Command:
    """`deployments/alerts.py` with the settings of a command."""
    return replace(command, program=(str(ROOT / "deployments" / "alerts.py"),))


def test_what_a_run_finds_is_alerted_once(
    tmp_path: Path,
    server: dict[str, str],
    webhook: Webhook,
    halo: HaloStandIn,
    receiver: Receiver,
) -> None:
    """A failure, pending, rejected and unknown events, a certificate; not again at the next run.

    The command says which blocks there are, makes each automation once, and keeps one off that
    was switched off.
    """
    yesterday = datetime.now(UTC) - timedelta(days=1)
    halo["beta"].add([malformed(yesterday)["no date"]], created_at=yesterday)
    halo["gamma"].add([odd(yesterday)["unknown"]], created_at=yesterday)
    # the receiver's certificate is valid for two days
    sensors = f"{receiver.url('tls', name='sensor')} tcp://127.0.0.1:1?name=closed"
    halo_usm = command_for(tmp_path, halo, sensors, days=3)
    halo_usm.settings |= server
    make = alerts(halo_usm)
    assert "there are: custom-webhook/alerts" in make(code=2).stderr
    assert not automations(server)
    make("--notify", "custom-webhook/alerts")
    made = automations(server)
    off = next(one for one in made if one["name"] == "halo-usm: a run crashed")
    call(server, "PATCH", f"automations/{off['id']}", {"enabled": False})
    said = make("--notify", "custom-webhook/alerts", "--quiet", "50").stdout
    assert {line.split()[0] for line in said.splitlines()} == {"updated", "unchanged"}
    assert {one["id"] for one in automations(server)} == {one["id"] for one in made}
    assert [one["id"] for one in automations(server) if not one["enabled"]] == [off["id"]]

    expected = {
        "a run failed": "127.0.0.1:1",
        "events are pending": "Destination closed: 9",
        "events were rejected": "Account beta: 1 events",
        "events of an unknown type": "'quantum_scan_completed'",
        "a certificate expires": "Destination sensor:\nthe receiver's certificate",
    }
    halo_usm("sync", code=1)
    wait_for(lambda: webhook.subjects.keys() >= expected.keys())
    halo_usm("sync", code=1)
    # a later event is handled after earlier ones
    call(server, "PATCH", f"automations/{off['id']}", {"enabled": True})
    crash(server)
    wait_for(lambda: webhook.subjects["a run crashed"])
    assert webhook.subjects == Counter([*expected, "a run crashed"])
    for subject, text in expected.items():
        assert text in webhook.body(subject)


def crash(server: dict[str, str]) -> None:
    """Tell the server that the last run crashed."""
    run = post(server, "flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]
    state = {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True}
    post(server, f"flow_runs/{run['id']}/set_state", state)


@contextmanager
def late_run(server: dict[str, str]) -> Iterator[None]:
    """A run of a deployment that no worker takes, and a worker of its pool that has gone."""
    post(server, "work_pools/", {"name": POOL, "type": "process"})
    beat = {"name": "gone", "heartbeat_interval_seconds": 1}
    call(server, "POST", f"work_pools/{POOL}/workers/heartbeat", beat)
    flow = post(server, "flows/", {"name": "sync"})["id"]
    body = {"name": "late", "flow_id": flow, "work_pool_name": POOL, "tags": ["halo-usm"]}
    deployment = post(server, "deployments/", body)["id"]
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2026-01-01T00:00:00Z"}}
    post(server, f"deployments/{deployment}/create_flow_run", {"state": due})
    yield
    call(server, "DELETE", f"deployments/{deployment}")
    call(server, "DELETE", f"work_pools/{POOL}")


def test_what_does_not_happen_is_alerted(
    tmp_path: Path,
    server: dict[str, str],
    webhook: Webhook,
    halo: HaloStandIn,
    receiver: Receiver,
) -> None:
    """No success since the last one, a run that never starts, no worker, a run that was killed."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= server
    make = alerts(halo_usm)
    options = ["--notify", "custom-webhook/alerts", "--work-pool", POOL]
    make(*options, "--without-success", SHORTEST)
    with late_run(server):
        halo_usm("sync")
        # an update of one alert does not disarm the others
        options += ["--without-success", SHORTEST, "--without-heartbeat", SHORTEST]
        make(*options)
        before = halo.counters.requests
        halo.switches.latency_ms = 60_000
        process = halo_usm.popen("sync")
        wait_until(lambda: halo.counters.requests > before, process)
        process.kill()
        process.communicate()
        halo.switches.latency_ms = 0
        expected = ["no successful sync", "a run never started", "no worker", "a run crashed"]
        wait_for(lambda: webhook.subjects.keys() >= {*expected})
    assert webhook.subjects == Counter(expected)
    assert POOL in webhook.body("no worker")
