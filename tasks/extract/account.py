"""Extract: stage the events that Halo has and raw does not, window by window, each event once.

The windows are planned before anything is fetched: the range without what raw covers, and the
last part of covered time (the lookback), for events that appear late. Windows are read at the
same time, within the account's limits, and each is staged as soon as it is complete. A window
that fails is reported and stays a gap in the coverage, which the next run plans again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tasks.accounts import open_to_others
from tasks.errors import HaloInvalid, HaloUsmError, InUseError
from tasks.extract.clocks import CLOCK_PROBLEM_AFTER, Clocks, describe_difference
from tasks.extract.plan import plan_range, plan_sync
from tasks.extract.result import (
    ExtractResult,
    note_late_start,
    report_failures,
    warn_of_events,
    why_nothing,
)
from tasks.extract.window_extractor import WindowExtractor
from tasks.extract.window_stager import WindowStager
from tasks.halo.client import ApiKey, HaloClient, Listing
from tasks.halo_history import HALO_KEEPS
from tasks.plurals import counted
from tasks.staging.coverage import read_coverage
from tasks.staging.dropped import days_within, describe
from tasks.staging.known_ids import KnownIds
from tasks.staging.locks import hold
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Coroutine

    from tasks.accounts import Account
    from tasks.extract.plan import Plan
    from tasks.retry_policy import RetryPolicy
    from tasks.settings import Settings
    from tasks.staging.coverage import Coverage
    from tasks.staging.store import Store

_STOP_CHECK_INTERVAL = 0.1
"""Seconds between two checks of whether to stop."""


def extract_account(
    store: Store,
    account: Account,
    settings: Settings,
    *,
    run_id: str,
    window: Window | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    retry_policy: RetryPolicy | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait: float = 0.0,
    say_why: bool = False,
) -> ExtractResult:
    """Stage what an account's Halo has and raw does not.

    Runs an event loop of its own, so any thread may call it. Expected faults are in the result;
    what is raised is a bug.

    Args:
        store: The staging.
        account: Whose events, and the key to them.
        settings: `halo_api_url`, `halo_start`, `halo_lookback_minutes`, `halo_concurrency` and
            `halo_requests_per_second`.
        run_id: Kept with what is rejected.
        window: Read this range, whether it is staged already or not; by default what a sync does.
        stop: Ends the extraction in order once it is set.
        progress: Told how many windows of how many are done.
        retry_policy: How long the API is waited for.
        clock: This machine's time.
        wait: Seconds to wait for another run that holds the account.
        say_why: Whether to note why nothing was staged.
    """
    result = ExtractResult(account.name)
    if warning := open_to_others(settings.halo_auth_file):
        result.warnings.append(warning)
    try:
        with hold(store, "account", account.name, run_id=run_id, wait=wait, stop=stop):
            # a whole second: the API's Date is no finer, and no API understands such an `until`
            # differently
            now = clock().replace(microsecond=0)
            known = read_coverage(store, account.name, cached=True)
            plan = _plan(account, settings, known, window, now, result)
            ids = KnownIds(store, account.name, cached=True)
            client = _client(account, settings, retry_policy, clock)
            extractor = WindowExtractor(
                plan,
                client,
                WindowStager(store, plan, result, ids, run_id),
                concurrency=settings.halo_concurrency,
                expiring=clock() - HALO_KEEPS + timedelta(days=1),
                progress=progress or _no_progress,
            )
            try:
                asyncio.run(_until_stopped(_run(extractor, client), stop, result))
            finally:
                result.windows = extractor.complete
                warn_of_events(result, ids)
                clocks = Clocks(now, window.until if window else None, known.end)
                _report(result, extractor, client, clocks)
                if result.windows and not settings.halo_start:
                    _warn_of_beginning(result, plan, client)
            if say_why and not (result.new or result.malformed or result.gaps):
                result.notes += why_nothing(result, plan, window)
    except InUseError as error:
        result.held, result.held_by = True, error.run
        result.notes.append(str(error))
        result.interrupted = stop is not None and stop.is_set()
    except HaloUsmError as error:
        result.problems.append(f"account {account.name}: {error}")
    return result


def check_account(
    account: Account, settings: Settings, retry_policy: RetryPolicy | None = None
) -> str:
    """Log in and list one event of the last day; says what was found.

    Raises:
        HaloUsmError: The account cannot be read; the message says what to do.
    """

    async def check() -> str:
        now = datetime.now(UTC)
        async with _client(account, settings, retry_policy, lambda: datetime.now(UTC)) as client:
            page = await client.page(Listing(now - timedelta(days=1), now), 1, 1)
            warning, ahead = client.clock_warning(), client.ahead or timedelta()
        if abs(ahead) > CLOCK_PROBLEM_AFTER:
            raise HaloInvalid(describe_difference(now, now - ahead))
        count = (
            "" if page.count is None else f", {counted(page.count, 'event')} in the last 24 hours"
        )
        return f"key {account.key_id} may read{count}" + (f"; {warning}" if warning else "")

    return asyncio.run(check())


def _plan(  # noqa: PLR0917 - what is wanted, and what is known
    account: Account,
    settings: Settings,
    known: Coverage,
    window: Window | None,
    now: datetime,
    result: ExtractResult,
) -> Plan:
    lookback = timedelta(minutes=settings.halo_lookback_minutes)
    if window is not None:
        if gone := days_within(known.dropped, window):
            result.notes.append(
                f"account {account.name}: {describe(gone)}, and it is not read again"
            )
        return plan_range(known, window, now=now, lookback=lookback)
    start = settings.halo_start or now - HALO_KEEPS
    if settings.halo_start and (note := note_late_start(account.name, start, known)):
        result.notes.append(note)
    return plan_sync(known, start=start, now=now, lookback=lookback)


def _client(
    account: Account,
    settings: Settings,
    retry_policy: RetryPolicy | None,
    clock: Callable[[], datetime],
) -> HaloClient:
    return HaloClient(
        settings.halo_api_url,
        ApiKey(account.key_id, account.secret.get_secret_value()),
        concurrency=settings.halo_concurrency,
        requests_per_second=settings.halo_requests_per_second,
        retry_policy=retry_policy,
        clock=clock,
    )


async def _run(extractor: WindowExtractor, client: HaloClient) -> None:
    async with client:
        await extractor.run()


def _report(
    result: ExtractResult, extractor: WindowExtractor, client: HaloClient, clocks: Clocks
) -> None:
    """Put into the result what was not read, and what is to be said of the clocks."""
    unread = clocks.unread(extractor.postponed, client.ahead)
    report_failures(result, [*extractor.failed(), *unread])
    if unread:
        return
    if fault := clocks.set_back_fault():
        result.problems.append(f"account {result.subject}: {fault}")
    elif warning := client.clock_warning():
        result.warnings.append(warning)


def _warn_of_beginning(result: ExtractResult, plan: Plan, client: HaloClient) -> None:
    """Warn where an account begins too late because this machine's clock is fast."""
    ahead = client.ahead or timedelta()
    if plan.begin and plan.synced and ahead > CLOCK_PROBLEM_AFTER:
        since, until = isoformat(plan.begin - ahead), isoformat(plan.begin)
        result.warnings.append(
            f"account {result.subject}: by this machine's clock it begins at {until}; what "
            f"is before is read with `halo-usm extract --since {since} --until {until}`"
        )


def _no_progress(done: int, total: int) -> None:
    """Show no progress."""


async def _until_stopped(
    work: Coroutine[None, None, None], stop: threading.Event | None, result: ExtractResult
) -> None:
    """Run the work, and cancel it once it is to stop."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done() and not (stop is not None and stop.is_set()):
            await asyncio.wait([task], timeout=_STOP_CHECK_INTERVAL)
        result.interrupted = not task.done()
    finally:
        if not task.done():
            task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended
