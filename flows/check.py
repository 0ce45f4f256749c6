"""The flow `check`: whether everything that a sync needs is usable; sends no event."""

# Annotations are no strings here: Prefect could not resolve them through the decorators.
import logging
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.states import Completed, Failed

from flows.checks import findings
from flows.context import settings_for
from flows.form import BlockNames, OrEmpty, validated
from flows.run_names import named_by_time
from flows.states import faults_as_states
from tasks.redaction import foreign_text


# the parameters are validated by `validated`
@flow(name="check", flow_run_name=named_by_time, validate_parameters=False, persist_result=False)
@faults_as_states
@validated
def check(
    accounts: BlockNames = None,
    sensors: BlockNames = None,
    auth_file: OrEmpty[Path] = None,
    env_file: OrEmpty[Path] = None,
) -> State[Any]:
    """Say whether the auth file, each key, the staging and each sensor are usable; send nothing.

    The run fails where one is not.

    Args:
        accounts: Names of blocks of the type Halo Account, in the place of the auth file.
        sensors: Names of blocks of the type USM Sensor, in the place of USM_SENSOR.
        auth_file: The file of keys. HALO_AUTH_FILE where empty.
        env_file: Another settings file than .env in the folder of the flows.
    """
    settings = settings_for(env_file, {"halo_auth_file": auth_file}, sensors or [])
    log = get_run_logger()
    lines: dict[bool, list[str]] = {True: [], False: []}
    for finding in findings(settings, accounts or []):
        line = foreign_text(finding, None)
        log.log(logging.INFO if finding.usable else logging.ERROR, line)
        lines[finding.usable].append(line)
    message = "\n".join([*lines[False], *lines[True]])
    return Failed(message=message) if lines[False] else Completed(message=message)
