"""The commands that answer from the staging and change nothing."""

from __future__ import annotations

import shlex
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.cli.execution import DONE
from flows.cli.options import NO_COMMON, Common, Json, Since, Until
from flows.cli.output import warn
from flows.context import first_sync_windows, prepare
from flows.time_options import parse_range, range_if_given
from tasks.errors import SettingsError
from tasks.plurals import counted
from tasks.redaction import foreign_text
from tasks.time_window import isoformat

if TYPE_CHECKING:
    from flows.context import RunContext
    from tasks.reports.audit import RangeAudit
    from tasks.time_window import Window


def status(
    *,
    as_json: Annotated[Json, Parameter(name="--json")] = False,
    metrics: Annotated[
        bool, Parameter(help="Print OpenMetrics text, for Prometheus.", negative="")
    ] = False,
    common: Common = NO_COMMON,
) -> int:
    """Per account and destination: what is covered, staged, delivered, pending, failed."""
    from flows.cli.tables import show_answer, show_metrics, show_status
    from tasks.reports.status import status as read_status

    if as_json and metrics:
        raise SettingsError("status: say either --json or --metrics")
    work = prepare(common.env_file, sensors=None)
    answer = read_status(work.store, work.destinations, first_sync_windows(work.settings))
    show = show_metrics if metrics else show_status
    return show_answer(answer, None if as_json else show)


def audit(
    *,
    event: Annotated[str | None, Parameter(help="One event by its id: its whole history.")] = None,
    verify: Annotated[
        bool, Parameter(help="Verify the seals: of all days, or of a range.", negative="")
    ] = False,
    public_key: Annotated[
        Path | None, Parameter(help="Check the signatures of the seals, too: PEM, Ed25519.")
    ] = None,
    since: Annotated[str | None, Parameter(help="Start of a range to account for.")] = None,
    until: Until = None,
    as_json: Annotated[Json, Parameter(name="--json")] = False,
    report: Annotated[
        Path | None, Parameter(help="Write the range's audit as a page to hand over, HTML.")
    ] = None,
    common: Common = NO_COMMON,
) -> int:
    """Answer an auditor: one event's history, whether a range adds up, whether seals agree."""
    from flows.cli.tables import show_answer, show_event, show_range
    from tasks.reports.audit import audit_range
    from tasks.reports.event_history import audit_event
    from tasks.reports.status import not_set_up

    if verify:
        if event is not None or report is not None:
            raise SettingsError("audit: --verify goes with neither --event nor --report")
        return _verify(range_if_given(since, until), public_key, common, as_json=as_json)
    if public_key is not None:
        raise SettingsError("audit: --public-key is for --verify")
    if (event is None) == (since is None):
        raise SettingsError(
            "audit: say either --event ID or --since T (with --until T), or --verify"
        )
    if event is not None and not _is_text(event):
        raise SettingsError(f"audit: --event '{foreign_text(event)}' is no UTF-8, as every id is")
    window = range_if_given(since, until)
    if window is None and report is not None:
        raise SettingsError("audit: --report is of a range: say --since T, not --event ID")
    work = prepare(common.env_file, sensors=None)
    if window is None:
        history = audit_event(work.store, event or "")
        return show_answer(history, None if as_json else show_event)
    for note in not_set_up(work.store, work.destinations):
        warn(f"note: {note}")
    if report is None:
        found = audit_range(work.store, window, work.destinations)
    else:
        found = _write_report(work, window, report, common)
    return show_answer(found, None if as_json else show_range)


def _verify(
    window: Window | None, public_key: Path | None, common: Common, *, as_json: bool
) -> int:
    """Verify the seals of the days of a range, or of all."""
    from flows.cli.tables import show_answer, show_verification
    from tasks.reports.verification import verify
    from tasks.staging.seals.signatures import read_verifying_key

    key = read_verifying_key(public_key) if public_key else None
    found = verify(prepare(common.env_file).store, window, key)
    return show_answer(found, None if as_json else show_verification)


def _write_report(work: RunContext, window: Window, path: Path, common: Common) -> RangeAudit:
    """Write an audit as a page, and return the audit."""
    from tasks.reports.output_file import output_file

    try:
        from tasks.reports.audit_report.page import page
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"audit --report needs the library {error.name}: pip install 'halo-usm[report]'"
        ) from None
    from tasks.reports.audit_report.facts import gather

    command = ["halo-usm", "audit", "--since", isoformat(window.since)]
    command += ["--until", isoformat(window.until), "--report", str(path)]
    command += ["--env-file", str(common.env_file)] if common.env_file else []
    with output_file(path, "--report") as sink:
        facts = gather(work.store, window, work.destinations, first_sync_windows(work.settings))
        sink.write(page(facts, shlex.join(command), str(work.store)).encode())
    warn(f"the audit is written to {path}")
    return facts.audit


def export(
    *,
    since: Since,
    until: Until = None,
    format: Annotated[  # noqa: A002 - the option's name is the interface
        Literal["cef", "leef", "kv", "json"], Parameter(help="One line an event in each.")
    ],
    output: Annotated[Path | None, Parameter(help="A file; standard output by default.")] = None,
    common: Common = NO_COMMON,
) -> int:
    """Write a range of events from staging to a file or standard output."""
    from tasks.reports.export import export_to
    from tasks.staging.dropped import no_longer_staged

    window = parse_range(since, until)
    store = prepare(common.env_file).store
    count = export_to(store, window, format, output)
    for note in no_longer_staged(store, window):
        warn(f"note: {note}")
    warn(f"{counted(count, 'event')} exported")
    return DONE


def _is_text(argument: str) -> bool:
    """Whether an argument is UTF-8; Python reads other bytes as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
