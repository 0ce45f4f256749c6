"""The pipelines, each written once: which steps there are, and which waits for which.

A runner decides where the steps run: threads of this process, or Prefect's task runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import stages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flows.context import RunContext
    from flows.runner import Runner
    from tasks.results import StageResult
    from tasks.staging.deliveries.pending import Only
    from tasks.time_window import Window

    Pipeline = Callable[[RunContext, Runner], list[StageResult]]
    """One of the functions below, its further arguments given."""


def sync(context: RunContext, runner: Runner, *, wait: float = 0.0) -> list[StageResult]:
    """One pass: extract what is new, transform it, load it, for all accounts.

    An account is transformed as soon as it is extracted; destinations wait for all accounts. A
    step waits up to `wait` seconds for another run that holds its account or destination.
    """
    extracted = {
        account.name: runner.submit(stages.extract, context, account.name, wait=wait)
        for account in context.accounts
    }
    transformed = [
        runner.submit(
            stages.transform,
            context,
            name,
            after=[extracted[name]] if name in extracted else [],
            wait=wait,
        )
        for name in _accounts_to_transform(context)
    ]
    loaded = [
        runner.submit(stages.load, context, destination.name, after=transformed, wait=wait)
        for destination in context.destinations
    ]
    return runner.results([*extracted.values(), *transformed, *loaded])


def extract(
    context: RunContext, runner: Runner, window: Window | None = None, *, wait: float = 0.0
) -> list[StageResult]:
    """Only stage raw events: of a range, or what a sync would."""
    return runner.results(
        [
            runner.submit(stages.extract, context, account.name, window, wait=wait, say_why=True)
            for account in context.accounts
        ]
    )


def transform(
    context: RunContext, runner: Runner, window: Window | None = None, *, wait: float = 0.0
) -> list[StageResult]:
    """Only normalize: what is not normalized yet, or a range anew."""
    return runner.results(
        [
            runner.submit(stages.transform, context, name, window, wait=wait, say_why=True)
            for name in _accounts_to_transform(context)
        ]
    )


def load(context: RunContext, runner: Runner) -> list[StageResult]:
    """Only deliver what is normalized and not delivered."""
    return runner.results(
        [
            runner.submit(stages.load, context, destination.name, say_why=True)
            for destination in context.destinations
        ]
    )


def replay(
    context: RunContext,
    runner: Runner,
    window: Window,
    only: Only,
    *,
    wait: float = 0.0,
    env_file: Path | None = None,
) -> list[StageResult]:
    """Deliver a range again from staging; for the arguments see `flows.stages.replay`."""
    return runner.results(
        [
            runner.submit(
                stages.replay,
                context,
                destination.name,
                window,
                only,
                wait=wait,
                env_file=env_file,
            )
            for destination in context.destinations
        ]
    )


def maintain(
    context: RunContext,
    runner: Runner,
    *,
    dry_run: bool = False,
    sign: Path | None = None,
    drop_undelivered: bool = False,
) -> list[StageResult]:
    """Maintain all accounts of the staging, whether they are set up or not."""
    from tasks.maintain.account import ages_count_from

    if sign is not None:  # before anything is touched
        from tasks.staging.seals.signatures import read_signing_key

        read_signing_key(sign)
    now = ages_count_from(context.store)
    return runner.results(
        [
            runner.submit(
                stages.maintain,
                context,
                account,
                now,
                dry_run=dry_run,
                sign=sign,
                drop_undelivered=drop_undelivered,
            )
            for account in context.store.known_accounts()
        ]
    )


def _accounts_to_transform(context: RunContext) -> list[str]:
    """The accounts of the auth file, then those that only the staging has.

    An account that is no longer in the auth file may still have events to normalize, or to drop.
    """
    names = [account.name for account in context.accounts]
    staged = {*context.store.accounts("raw"), *context.store.accounts("normalized")}
    return [*names, *sorted(staged.difference(names))]
