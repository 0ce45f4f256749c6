"""A picture of what is covered of each account's time: a strip an account, as an SVG."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tasks.plurals import counted
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tasks.reports.status import AccountStatus

DAYS = 90
"""How many days it shows."""
_DAY = 5.0
"""Pixels. The pages of Prefect show a picture some 600 to 720 pixels wide."""
_LEFT, _WIDTH, _TOP, _ROW, _STRIP = 160.0, 720, 30, 24, 12
_LONGEST_NAME = 22
_LEAST_GAP = 2.0
"""Pixels: a gap of minutes is to be seen, too."""
_DATES_EVERY = 15

# Colours that people who are colour-blind can tell apart; a gap is also taller. The background is
# its own, because a page in dark colours may show an image as in light ones.
_STYLE = """
text{fill:#1f2328;font:12px sans-serif}
.page{fill:#fff}.unread{fill:#e4e8ec}.covered{fill:#0072b2}.dropped{fill:#8fb8d4}
.gap{fill:#d55e00}.date{stroke:#8c959f}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.page{fill:#161b22}.unread{fill:#30363d}.covered{fill:#56b4e9}.dropped{fill:#3a5f78}
.gap{fill:#ff9b50}}
"""


def coverage_picture(accounts: Mapping[str, AccountStatus], until: datetime) -> str:
    """The last 90 days before `until` as the `data:` URL of an SVG image."""
    shown = Window(until - timedelta(days=DAYS), until)
    rows = [
        _strip(name, accounts[name], shown, _TOP + _ROW * index)
        for index, name in enumerate(sorted(accounts))
    ]
    end = _TOP + _ROW * len(rows)
    height = end + 24
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}"><style>{_STYLE}</style>'
        f'<rect class="page" width="{_WIDTH}" height="{height}" rx="4"/>'
        f"{_dates(until, end)}{''.join(rows)}{_legend(end + 8)}</svg>"
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _dates(until: datetime, end: int) -> str:
    marks = []
    for days in range(0, DAYS + 1, _DATES_EVERY):
        x = _LEFT + (DAYS - days) * _DAY
        date = until - timedelta(days=days)
        marks.append(
            f'<path class="date" d="M{x:g} {_TOP - 10}V{end}"/>'
            f'<text x="{x:g}" y="14" text-anchor="middle">{date:%d %b}</text>'
        )
    return "".join(marks)


def _strip(name: str, account: AccountStatus, shown: Window, top: int) -> str:
    text = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    gaps = len(account.gaps)
    said = counted(gaps, "gap") if gaps else "no gap"
    base = top + _STRIP
    return (
        f'<text x="{_LEFT - 10:g}" y="{base - 1}" text-anchor="end">{escape(text)}</text>'
        f'<rect class="unread" x="{_LEFT:g}" y="{top}" width="{DAYS * _DAY:g}" height="{_STRIP}"/>'
        + _bars("covered", account.covered, shown, top, _STRIP)
        + _bars("dropped", account.dropped, shown, top, _STRIP)
        + _bars("gap", account.gaps, shown, top - 4, _STRIP + 8)
        + f'<text x="{_LEFT + DAYS * _DAY + 10:g}" y="{base - 1}">{said}</text>'
    )


def _bars(kind: str, windows: Sequence[Window], shown: Window, top: int, height: int) -> str:
    day = timedelta(days=1)
    path = []
    for window in windows:
        first, last = max(window.since, shown.since), min(window.until, shown.until)
        if first < last:
            x, width = (first - shown.since) / day * _DAY, (last - first) / day * _DAY
            width = max(width, _LEAST_GAP) if kind == "gap" else width
            path.append(f"M{_LEFT + x:.1f} {top}h{width:.1f}v{height}h-{width:.1f}z")
    return f'<path class="{kind}" d="{"".join(path)}"/>' if path else ""


def _legend(top: int) -> str:
    parts = []
    for index, (kind, text) in enumerate(
        [("covered", "covered"), ("dropped", "dropped"), ("gap", "gap"), ("unread", "not read")]
    ):
        x = _LEFT + index * 100
        parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{top}" width="12" height="10"/>'
            f'<text x="{x + 18:g}" y="{top + 10}">{text}</text>'
        )
    return "".join(parts)
