"""The pictures of the page: SVG whose colours are the page's, light and dark."""

from __future__ import annotations

import io
import re
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape
from matplotlib import dates, style, ticker
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tasks.time_window import Window

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence
    from datetime import date

    from matplotlib.axes import Axes

    from tasks.reports.audit_report.coverage import AccountCoverage
    from tasks.reports.audit_report.delays import Delays

_COLOURS = {
    name: f"#0000{number:02x}"
    for number, name in enumerate(
        ("ink", "muted", "line", "good", "sent", "warn", "bad", "idle"), 1
    )
}
"""Stand-ins for the page's colours, by their names in its style sheet."""

_NAMES = {colour: name for name, colour in _COLOURS.items()}
_COLOUR = re.compile("|".join(_NAMES))
_DRAWN = re.compile(
    r'.*?<svg [^>]*viewBox="(?P<view>[^"]*)"[^>]*>\s*<defs>.*?</defs>(?P<inside>.*)</svg>\s*',
    re.DOTALL,
)
"""What matplotlib writes: a head, rules of style for all of a document, and what is drawn."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "halo-usm",
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": _COLOURS["ink"],
    "axes.edgecolor": _COLOURS["line"],
    "axes.labelcolor": _COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": _COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": _COLOURS["line"],
    "ytick.color": _COLOURS["line"],
    "xtick.labelcolor": _COLOURS["muted"],
    "ytick.labelcolor": _COLOURS["muted"],
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "figure.constrained_layout.use": True,
}
_WIDTH = 9.0  # inches
STATUSES = {"confirmed": "good", "sent": "sent", "unconfirmed": "warn", "failed": "bad"}
"""The colour of each outcome of an attempt."""
_DELAY_TICKS = {
    1: "1 s", 10: "10 s", 60: "1 min", 300: "5 min", 900: "15 min", 3600: "1 h", 21_600: "6 h",
    86_400: "1 d", 604_800: "7 d", 2_592_000: "30 d", 31_536_000: "1 y",
}  # fmt: skip
_MOST_WINDOWS = 1000
_FEW_DAYS = 3
_FEWEST_DAYS = 7
_DAY = timedelta(days=1)
_BAR = 0.85  # of a day


def coverage(accounts: Sequence[AccountCoverage], window: Window) -> Markup:
    """A strip an account: what of the range was read, what not."""
    kinds = {"covered": "good", "dropped": "sent"}
    kinds |= {"gap": "bad", "lost": "warn", "not read": "idle"}
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH, 0.75 + 0.3 * len(accounts)))
        axes = figure.subplots()
        for row, account in enumerate(accounts):
            parts = (account.covered, account.dropped, account.gaps, account.lost, account.outside)
            for windows, colour in zip(parts, kinds.values(), strict=True):
                bars = [(_day(part.since), part.duration / _DAY) for part in _drawable(windows)]
                # what is missing stands out, and has an edge that is seen however short it is
                missing = colour in {"bad", "warn"}
                height = 0.84 if missing else 0.6
                axes.broken_barh(
                    bars, (row - height / 2, height), facecolor=_COLOURS[colour],
                    edgecolor=_COLOURS[colour], linewidth=0.8 if missing else 0,
                )  # fmt: skip
        axes.set_yticks(range(len(accounts)), [account.account for account in accounts])
        axes.set_ylim(len(accounts) - 0.5, -0.5)
        axes.set_xlim(_day(window.since), _day(window.until))
        _time_axis(axes)
        _legend(axes, kinds)
        return _svg(figure, "coverage", "Which time of the range was read, by account")


def _drawable(windows: list[Window]) -> list[Window]:
    """Few enough windows for a small picture: of too many, neighbours are merged."""
    step = -(-len(windows) // _MOST_WINDOWS) or 1
    return [
        Window(windows[first].since, windows[min(first + step, len(windows)) - 1].until)
        for first in range(0, len(windows), step)
    ]


def attempts(by_status: Mapping[str, Counter[date]], key: str) -> Markup:
    """Attempts a day, by their outcome."""
    days = {day for counted in by_status.values() for day in counted}
    last = _day(max(days))
    first = min(_day(min(days)), last - _FEWEST_DAYS + 1)
    numbers = np.arange(first, last + 1)
    # a bar a day with a space behind it, as one line
    edges = np.append(np.column_stack([numbers, numbers + _BAR]).ravel(), last + 1)
    below = np.zeros(len(edges) - 1)
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH, 2.0))
        axes = figure.subplots()
        present = {status: STATUSES[status] for status in STATUSES if by_status.get(status)}
        for status, colour in present.items():
            above = below.copy()
            for day, count in by_status[status].items():
                above[2 * round(_day(day) - first)] += count
            axes.stairs(above, edges, baseline=below, fill=True, color=_COLOURS[colour])
            below = above
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
        axes.grid(axis="y")
        axes.set_xlim(first, last + 1)
        _time_axis(axes)
        _legend(axes, present)
        return _svg(figure, f"attempts-{key}", "Delivery attempts a day, by outcome")


def delays(live: Delays, backfill: Delays, key: str) -> Markup:
    """Which share of the events was delivered within which time."""
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH, 2.0))
        axes = figure.subplots()
        kinds = {}
        for name, found, colour in (("live", live, "good"), ("backfill", backfill, "sent")):
            if found.events:
                kinds[name] = colour
                used = np.flatnonzero(found.counts)
                seconds = np.maximum(found.SECONDS[used], 1)
                share = np.cumsum(found.counts[used]) / found.events * 100
                axes.step(
                    [1, *seconds, *seconds[-1:]], [0, *share, 100], where="post",
                    color=_COLOURS[colour], linewidth=1.8,
                )  # fmt: skip
        longest = max(live.longest, backfill.longest)
        ticks = [second for second in _DELAY_TICKS if second < max(longest, 60) * 2]
        axes.set_xscale("log")
        axes.set_xlim(1, max(longest, 60) * 1.2)
        axes.set_xticks(ticks, [_DELAY_TICKS[tick] for tick in ticks])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.set_yticks([0, 50, 95], ["0 %", "50 %", "95 %"])
        axes.set_ylim(0, 101)
        axes.grid()
        _legend(axes, kinds)
        return _svg(figure, f"delays-{key}", "Share of the events delivered within a time")


def _day(moment: date) -> float:
    """A date or time as matplotlib's axes have it, in days."""
    return float(dates.date2num(moment))


def _time_axis(axes: Axes) -> None:
    since, until = axes.get_xlim()
    form = "%Y-%m-%d" if until - since > _FEW_DAYS else "%m-%d %H:%M"
    axes.xaxis.set_major_locator(dates.AutoDateLocator(tz=UTC, minticks=2, maxticks=8))
    axes.xaxis.set_major_formatter(dates.DateFormatter(form, tz=UTC))


def _legend(axes: Axes, kinds: Mapping[str, str]) -> None:
    patches = [Patch(color=_COLOURS[colour], label=name) for name, colour in kinds.items()]
    axes.legend(
        handles=patches, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=len(patches) or 1,
        handlelength=0.9, handleheight=0.9, columnspacing=1.4, labelcolor=_COLOURS["muted"],
    )  # fmt: skip


def _svg(figure: Figure, key: str, title: str) -> Markup:
    """A figure as an element of the page: with ids of its own, in the page's colours and font."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(text, metadata=nothing)
    drawn = _DRAWN.fullmatch(text.getvalue())
    if drawn is None:
        raise ValueError("matplotlib wrote an SVG of another form")
    inside = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=xlink:href="#)', f"{key}-", drawn["inside"])
    inside = re.sub(r"font-family: [^;\"]*;? ?", "", inside).replace("xlink:href", "href")
    inside = _COLOUR.sub(lambda colour: f"var(--{_NAMES[colour[0]]})", inside)
    return Markup(  # noqa: S704 - matplotlib escapes the texts in it
        f'<svg viewBox="{drawn["view"]}" role="img" aria-label="{escape(title)}">{inside}</svg>'
    )
