"""The pipelines, each written once: which steps there are, and which waits for which.

Who runs them is the runner's affair: threads of this process, or Prefect. What a step does is
in `tasks`.
"""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.runner import Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flows.context import RunContext
    from flows.runner import Runner
    from tasks.load.selection import Only
    from tasks.results import StageResult
    from tasks.time_window import Window


def sync(context: RunContext, runner: Runner, *, wait: float = 0.0) -> list[StageResult]:
    """One pass: extract what is new, transform it, load it, for all accounts.

    An account is transformed as soon as it is extracted; destinations wait for all accounts. What
    another run holds is waited for so many seconds, here as in all of these.
    """
    extracted = _extract(context, runner, wait=wait)
    after = dict(zip([account.name for account in context.accounts], extracted, strict=True))
    transformed = _transform(context, runner, after=after, wait=wait)
    loaded = _load(context, runner, after=transformed, wait=wait)
    return runner.results([*extracted, *transformed, *loaded])


def extract(
    context: RunContext, runner: Runner, window: Window | None = None, *, wait: float = 0.0
) -> list[StageResult]:
    """Only stage raw events: of a range, or what a sync would."""
    return runner.results(_extract(context, runner, window, wait=wait, say_why=True))


def transform(
    context: RunContext, runner: Runner, window: Window | None = None, *, wait: float = 0.0
) -> list[StageResult]:
    """Only normalize: what is not normalized yet, or a range anew."""
    return runner.results(_transform(context, runner, window, wait=wait, say_why=True))


def load(context: RunContext, runner: Runner) -> list[StageResult]:
    """Only deliver what is normalized and not delivered."""
    return runner.results(_load(context, runner, say_why=True))


def replay(
    context: RunContext,
    runner: Runner,
    window: Window,
    only: Only,
    *,
    wait: float = 0.0,
    env_file: Path | None = None,
) -> list[StageResult]:
    """Deliver a range again from staging; `env_file` is what a replay that goes on needs, too."""
    from tasks.load.destination import replay_destination

    by_name = {destination.name: destination for destination in context.destinations}
    step = Step(
        "replay",
        lambda name: replay_destination(
            context.store,
            by_name[name],
            window,
            only=only,
            run_id=context.run_id,
            stop=context.stop,
            progress=partial(context.progress, "replay", name),
            wait=wait,
            options=f" --env-file {shlex.quote(str(env_file))}" if env_file else "",
        ),
        delivers=True,
    )
    return runner.results([runner.submit(step, name) for name in by_name])


def _extract(
    context: RunContext,
    runner: Runner,
    window: Window | None = None,
    *,
    wait: float = 0.0,
    say_why: bool = False,
) -> list[Any]:
    from tasks.extract.account import extract_account

    by_name = {account.name: account for account in context.accounts}
    step = Step(
        "extract",
        lambda name: extract_account(
            context.store,
            by_name[name],
            context.settings,
            window=window,
            run_id=context.run_id,
            stop=context.stop,
            progress=partial(context.progress, "extract", name),
            wait=wait,
            say_why=say_why,
        ),
    )
    return [runner.submit(step, name) for name in by_name]


def _transform(
    context: RunContext,
    runner: Runner,
    window: Window | None = None,
    *,
    after: dict[str, Any] | None = None,
    wait: float = 0.0,
    say_why: bool = False,
) -> list[Any]:
    from tasks.transform.account import transform_account

    step = Step(
        "transform",
        lambda name: transform_account(
            context.store,
            name,
            device_address=context.settings.halo_device_address,
            window=window,
            run_id=context.run_id,
            stop=context.stop,
            progress=partial(context.progress, "transform", name),
            wait=wait,
            say_why=say_why,
        ),
    )
    after = after or {}
    # Accounts that are no longer in the auth file may still have events to normalize, or to drop.
    staged = {*context.store.accounts("raw"), *context.store.accounts("normalized")}
    names = [*after, *sorted(staged.difference(after))]
    return [
        runner.submit(step, name, after=[after[name]] if name in after else []) for name in names
    ]


def _load(
    context: RunContext,
    runner: Runner,
    after: Sequence[Any] = (),
    *,
    wait: float = 0.0,
    say_why: bool = False,
) -> list[Any]:
    from tasks.load.destination import load_destination

    by_name = {destination.name: destination for destination in context.destinations}
    step = Step(
        "load",
        lambda name: load_destination(
            context.store,
            by_name[name],
            run_id=context.run_id,
            stop=context.stop,
            progress=partial(context.progress, "load", name),
            wait=wait,
            say_why=say_why,
        ),
        delivers=True,
    )
    return [runner.submit(step, name, after=after) for name in by_name]
