"""The deployments of `deployments/prefect.yaml`, for a process that serves them itself."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

PREFECT_YAML = Path(__file__).parents[1] / "deployments" / "prefect.yaml"


def served_deployments(env_file: Path | None = None) -> list[RunnerDeployment]:
    """Every deployment with its schedules and parameters, without its work pool.

    Args:
        env_file: The settings file of their runs; `.env` by default.
    """
    declared = yaml.safe_load(PREFECT_YAML.read_text("utf-8"))["deployments"]
    return [_served(deployment, env_file) for deployment in declared]


def _served(declared: dict[str, Any], env_file: Path | None) -> RunnerDeployment:
    file, _, name = declared["entrypoint"].partition(":")
    flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    own = {"env_file": str(env_file.absolute())} if env_file else {}
    deployment: RunnerDeployment = flow.to_deployment(
        declared["name"],
        description=declared["description"],
        tags=declared["tags"],
        parameters=declared.get("parameters", {}) | own,
        schedules=[Schedule(**schedule) for schedule in declared.get("schedules", [])],
        # a file's path would only be found from the folder of the project
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return deployment
