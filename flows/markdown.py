"""Markdown for Prefect's pages, which show artifacts in two ways: an old UI and a new one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST = 2000
_MOST_ROWS = 50


def literal(text: object, limit: int | None = _LONGEST) -> str:
    """Text from outside as a code span, in which no character means anything.

    Escaping each character would not do: the new UI makes links of addresses after it has read the
    markdown. A table takes such a span only without `|`, at which the UIs end a cell differently.

    Args:
        text: What to show; see `tasks.redaction.foreign_text`.
        limit: How many characters are shown.
    """
    shown = foreign_text(text, limit)
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}"


def paragraphs(texts: Sequence[str]) -> str:
    """Texts from outside, a paragraph each; of many the first ones."""
    return _lines([literal(text) for text in texts], "\n\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """A table of our own text; numbers are written with separators. Of many rows the first ones."""
    head = [_row(columns), _row(["---", *["---:"] * (len(columns) - 1)])]
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    more = _more(len(rows))
    return "\n".join([*head, *map(_row, cells[:_MOST_ROWS])]) + (f"\n\n{more}" if more else "")


def bullets(lines: Sequence[str]) -> str:
    """A list of lines of markdown; of many the first ones."""
    return _lines([f"- {line}" for line in lines], "\n")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _lines(lines: list[str], separator: str) -> str:
    more = _more(len(lines))
    return separator.join(lines[:_MOST_ROWS]) + (f"\n\n{more}" if more else "")


def _more(count: int) -> str:
    return f"and {count - _MOST_ROWS:,} more" if count > _MOST_ROWS else ""
