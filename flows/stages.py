"""The steps of a pipeline: a step is the work of one stage for one account or one destination.

These plain functions know nothing of Prefect; `flows.stage_tasks` has the same as Prefect tasks.
Each imports its work only when it is called: a command pays for the modules of its own stages
alone. Of the arguments, `wait` is how many seconds to wait for another run that holds the account
or destination, and `say_why` whether to note why there was nothing to do.
"""

from __future__ import annotations

import shlex
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from flows.context import RunContext
    from tasks.results import StageResult
    from tasks.staging.deliveries.pending import Only
    from tasks.time_window import Window


def extract(
    context: RunContext,
    account: str,
    window: Window | None = None,
    *,
    wait: float = 0.0,
    say_why: bool = False,
) -> StageResult:
    """Stage the raw events of an account: of a window, which is read again, or what is new."""
    from tasks.extract.account import extract_account

    work = partial(extract_account, context.store, context.account(account), context.settings)
    work = partial(work, window=window)
    return _run(partial(work, wait=wait, say_why=say_why), context, "extract", account)


def transform(
    context: RunContext,
    account: str,
    window: Window | None = None,
    *,
    wait: float = 0.0,
    say_why: bool = False,
) -> StageResult:
    """Normalize the raw events of an account: of a window anew, or what is not normalized yet."""
    from tasks.transform.account import transform_account

    address = context.settings.halo_device_address
    work = partial(transform_account, context.store, account, device_address=address)
    work = partial(work, window=window, wait=wait, say_why=say_why)
    return _run(work, context, "transform", account)


def load(
    context: RunContext, destination: str, *, wait: float = 0.0, say_why: bool = False
) -> StageResult:
    """Deliver to a destination what is normalized and not delivered."""
    from tasks.load.destination import load_destination

    work = partial(
        load_destination,
        context.store,
        context.destination(destination),
        wait=wait,
        say_why=say_why,
    )
    return _run(work, context, "load", destination)


def replay(
    context: RunContext,
    destination: str,
    window: Window,
    only: Only,
    *,
    wait: float = 0.0,
    env_file: Path | None = None,
) -> StageResult:
    """Deliver events of a window again.

    A replay that is cut short names the command that continues it, with `env_file` and the blocks.
    """
    from tasks.load.replay import replay_destination

    options = f" --env-file {shlex.quote(str(env_file))}" if env_file else ""
    if blocks := ", ".join(map(foreign_text, context.sensor_blocks)):
        options += f"  # with the URL of {blocks} as USM_SENSOR"
    sensor = context.destination(destination)
    work = partial(replay_destination, context.store, sensor, window, only=only, options=options)
    return _run(partial(work, wait=wait), context, "replay", destination)


def maintain(
    context: RunContext,
    account: str,
    now: datetime,
    *,
    dry_run: bool = False,
    sign: Path | None = None,
    drop_undelivered: bool = False,
) -> StageResult:
    """Compact, seal and drop days of an account, by their age at a time."""
    from tasks.maintain.account import maintain_account
    from tasks.maintain.retention import Rules

    settings = context.settings
    rules = Rules(settings.halo_retention_days, settings.halo_ledger_days, drop_undelivered)
    lookback = timedelta(minutes=settings.halo_lookback_minutes)
    work = partial(maintain_account, context.store, account, context.destinations, rules, now=now)
    work = partial(work, lookback=lookback, dry_run=dry_run, sign=sign)
    return _run(work, context, "maintain", account)


DELIVERING = frozenset({load, replay})
"""The steps that send events while they run, and so are never cut off."""


def _run(
    work: Callable[..., StageResult], context: RunContext, stage: str, subject: str
) -> StageResult:
    """Run a step; its texts come back without characters that would act on a terminal."""
    progress = partial(context.progress, stage, subject)
    began = time.monotonic()
    result = work(run_id=context.run_id, stop=context.stop, progress=progress)
    result.seconds = time.monotonic() - began
    for texts in vars(result).values():
        if isinstance(texts, list):
            texts[:] = [foreign_text(t, None) if isinstance(t, str) else t for t in texts]
    return result
