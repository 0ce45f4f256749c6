"""Metrics: what they say, and that Prometheus, node_exporter and the dashboard understand them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tasks.reports.metrics import metrics
from tasks.reports.status import Status, status
from tests.documents import ROOT
from tests.flows.command import Command
from tests.load.helpers import closed_port, load
from tests.maintain.sealed_days import DAYS, deliver_days, seal
from tests.prometheus import Prometheus, promtool, wait_for
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import at, broken, normalized, raw, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store

GRAFANA = ROOT / "deployments" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "halo-usm.json").read_text("utf-8"))
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def staged(store: Store) -> Store:
    """Two accounts, a gap, a rejected event, two destinations, one of which fails."""
    normalized(store, 10)
    normalized(store, 4, account="beta", day=1)
    stage(store, window(2, 3), broken(raw([("rejected", at(2))]), "rejected"))
    transform(store)
    load(store, f"tcp://127.0.0.1:{closed_port()}?name=fails&batch=6")
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(name="works"))
    normalized(store, 3, first=60)
    return store


def samples(answer: Status) -> Samples:
    """Every sample by the metric's name and the values of its labels, sorted by label."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics(answer))
        for sample in family.samples
    }


def test_metrics_say_what_status_says(staged: Store) -> None:
    """Each figure of an account, of an account at a destination; times as Unix time in seconds."""
    found = samples(status(staged))
    alpha, works, fails = ("alpha",), ("alpha", "works"), ("alpha", "fails")
    expected = {
        ("halo_usm_covered_until_timestamp_seconds", alpha): at(3).timestamp(),
        ("halo_usm_newest_event_timestamp_seconds", alpha): at(2).timestamp(),
        ("halo_usm_events_staged", alpha): 14,
        ("halo_usm_events_normalized", alpha): 13,
        ("halo_usm_events_rejected", alpha): 1,
        ("halo_usm_events_delivered", works): 10,
        ("halo_usm_events_pending", works): 3,
        ("halo_usm_events_failed", works): 0,
        ("halo_usm_oldest_pending_timestamp_seconds", works): at(1).timestamp(),
        ("halo_usm_events_delivered", ("beta", "works")): 4,
        ("halo_usm_events_pending", fails): 13,
        ("halo_usm_events_failed", fails): 6,
        ("halo_usm_events_of_unknown_type", ()): 0,
        ("halo_usm_staging_problems", ()): 0,
        ("halo_usm_gaps", alpha): 2,
        ("halo_usm_gap_seconds", alpha): (50 + 57) * 60,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_how_far_an_account_is_sealed(store: Store) -> None:
    """The end of the newest day that has a seal; no sample before there is one."""
    deliver_days(store)
    sealed = ("halo_usm_sealed_until_timestamp_seconds", ("alpha",))
    assert sealed not in samples(status(store))
    seal(store)
    assert samples(status(store))[sealed] == at(0, day=DAYS).timestamp()


def test_nothing_is_made_up(store: Store, staged: Store, tmp_path: Path) -> None:
    """There is no time of what is not there; what cannot be read is counted."""
    assert ("halo_usm_oldest_pending_timestamp_seconds", ("beta", "works")) not in samples(
        status(staged)
    )
    (tmp_path / "raw" / "account=alpha" / "mine").mkdir()
    found = samples(status(store))
    assert found["halo_usm_staging_problems", ()] == 1
    assert ("halo_usm_events_staged", ("alpha",)) not in found


def test_promtool_has_no_complaint(staged: Store) -> None:
    """Names, help texts and types are as Prometheus recommends."""
    checked = promtool("check", "metrics", text=metrics(status(staged)))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_dashboard_is_sound() -> None:
    """Panels have ids of their own and do not overlap; every variable and source is declared."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used == declared == {"datasource", "account", "destination"}
    assert (DASHBOARD["uid"], "id" in DASHBOARD) == ("halo-usm", False)


def test_every_panel_of_the_dashboard_shows_something(staged: Store, tmp_path: Path) -> None:
    """The lines of the page on Grafana, node_exporter, Prometheus: each query has data."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    seals = tmp_path / "seals" / "account=alpha"
    seals.mkdir(parents=True)
    (seals / "2026-03-01.json").touch()  # its name is all that is asked for
    with Prometheus(tmp_path / "prometheus") as prometheus:
        [lines] = re.findall(
            r"```sh\n(.*?)```", (GRAFANA / "README.md").read_text("utf-8"), re.DOTALL
        )
        lines = lines.replace("/var/lib/prometheus/node-exporter", str(prometheus.metrics))
        subprocess.run(
            ["sh", "-e", "-c", lines],
            cwd=tmp_path,
            env=Command(tmp_path, {"HALO_STAGING": str(staged)}).environment,
            check=True,
        )
        assert [file.name for file in prometheus.metrics.iterdir()] == ["halo-usm.prom"]
        # a difference over time needs two samples
        wait_for(lambda: prometheus.query("count_over_time(halo_usm_gaps[1h]) > 1"))
        [error] = prometheus.query("node_textfile_scrape_error")
        assert error["value"][1] == "0"
        for name in ("account", "destination"):
            [variable] = [v for v in DASHBOARD["templating"]["list"] if v["name"] == name]
            metric = re.fullmatch(rf"label_values\((\w+), {name}\)", variable["definition"])
            assert metric
            values = prometheus.label_values(metric[1], name)
            assert values == {"account": ["alpha", "beta"], "destination": ["fails", "works"]}[name]
        empty = [
            (title, query)
            for title, query in QUERIES
            if not prometheus.query(query.replace("$account", ".*").replace("$destination", ".*"))
        ]
        assert empty == []
        used = set(re.findall(r"halo_usm_\w+", json.dumps(QUERIES)))
        assert used == {metric for metric in used if prometheus.query(metric)}
        pending = 'halo_usm_events_pending{account="alpha", destination="works"}'
        [sample] = prometheus.query(pending)
        assert sample["value"][1] == "3"
