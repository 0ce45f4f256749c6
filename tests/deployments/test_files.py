"""What containers, systemd and a public forge read, as far as it can be checked here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT

CONTAINER = ROOT / "deployments" / "container"
SYSTEMD = ROOT / "deployments" / "systemd"
CI = ROOT / ".github" / "workflows" / "ci.yml"
BIN = Path(sys.prefix) / "bin"


def checked(*command: str | Path) -> None:
    """Run a program that has to be content."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", CI), ("vendor.compose-spec", CONTAINER / "compose.yaml")],
    ids=["workflow", "compose"],
)
def test_file_is_of_its_schema(schema: str, file: Path) -> None:
    """GitHub and Compose will understand it."""
    checked(BIN / "check-jsonschema", "--builtin-schema", schema, file)


def test_the_forge_calls_the_commands_of_a_newcomer() -> None:
    """`make check`, `make test` and `make demo`, and nothing of its own."""
    jobs: dict[str, Any] = yaml.safe_load(CI.read_text())["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    made = {run for run in runs if run.startswith("make ")}
    assert made == {"make check", "make test", "make demo"}
    [other] = [run for run in runs if run not in made]
    assert (ROOT / other.split()[-1]).exists()


def test_container_file_follows_the_rules_of_hadolint() -> None:
    """Pinned versions, a user that is not root, and so on."""
    checked(BIN / "hadolint", CONTAINER / "Containerfile")


def test_the_image_has_what_it_copies_and_no_more() -> None:
    """Each copied path exists, is let in by the ignore file, and none holds settings or data."""
    lines = (CONTAINER / "Containerfile").read_text().splitlines()
    copied = {
        p.rstrip("/") for line in lines if line.startswith("COPY ") for p in line.split()[1:-1]
    }
    let_in = (CONTAINER / "Containerfile.dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in let_in if line.startswith("!")}
    assert all((ROOT / path).exists() for path in copied)
    packages = ("flows", "sandbox", "tasks")
    files = ("LICENSE", "README.md", "pyproject.toml", "requirements.txt")
    deployed = {f"deployments/{name}" for name in ("alert_rules.py", "alerts.py", "prefect.yaml")}
    assert copied == {*packages, *files, *deployed}


def test_services_wait_for_what_they_need() -> None:
    """The database, then the server, then the deployments, then the worker, each by its health."""
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    conditions = {
        (name, needed): how["condition"]
        for name, service in services.items()
        for needed, how in service.get("depends_on", {}).items()
    }
    assert conditions == {
        ("prefect", "postgres"): "service_healthy",
        ("deploy", "prefect"): "service_healthy",
        ("worker", "deploy"): "service_completed_successfully",
    }
    assert all("healthcheck" in services[name] for name in ("postgres", "prefect", "worker"))
    assert services["prefect"]["ports"] == ["127.0.0.1:4200:4200"]
    own = {"prefect", "deploy", "worker"}
    assert {name for name, service in services.items() if service["image"] == "halo-usm"} == own


def test_units_are_ones_that_systemd_understands(tmp_path: Path) -> None:
    """With the command where it is on this machine."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is missing (tests/install_systemd.sh)")
    for unit in SYSTEMD.iterdir():
        text = unit.read_text().replace("/opt/halo-usm/.venv/bin", str(BIN))
        (tmp_path / unit.name).write_text(text.replace("User=halo-usm", "User=daemon"))
    units = sorted(tmp_path.iterdir())
    assert [unit.suffix for unit in units] == [".service", ".timer"] * 2
    ended = subprocess.run([verify, "verify", *units], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
