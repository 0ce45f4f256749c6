"""Fields that no Halo field holds, read out of log entries and messages.

What is read out of which line is declared in `families.toml`. The patterns run on RE2 (pyarrow's
kernels), whose time is linear in the text, whatever is in it; only rows with a log entry, or with a
message that has a family's marker, are looked at.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.derive.families import Family, Pattern, families
from tasks.plugin.derive.values import valid
from tasks.plugin.derive.windows_event_log import event_data
from tasks.plugin.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.plugin.derive.values import Texts, Values

DERIVED: dict[str, Any] = {field.name: field.arrow_type for field in FIELDS if field.derived}
"""The derived columns and their Arrow types."""


def derive(log_entries: Any, messages: Any) -> dict[str, Any]:
    """The columns of `DERIVED`, null where log entry and message tell nothing valid.

    Args:
        log_entries: `pa.StringArray`, null where an event has none.
        messages: `pa.StringArray`, as long; null where they are not to be read.
    """
    from_log, from_message = _read(log_entries, "log"), _read(messages, "message")
    columns = {}
    for name, kind in DERIVED.items():
        column: list[str | int | None] = [None] * len(log_entries)
        for row, value in (from_message[name] | from_log[name]).items():
            column[row] = value
        columns[name] = pa.array(column, kind)
    return columns


def _read(texts: Any, source: str) -> dict[str, Values]:
    """What the families of a source tell, by column and row."""
    rows = pc.indices_nonzero(texts.is_valid()).to_pylist()
    unread = dict(zip(rows, texts.drop_null().to_pylist(), strict=True))
    told: dict[str, Texts] = {name: {} for name in DERIVED}
    for family in families() if unread else ():
        if family.source == source:
            # In Python: a search for a plain text takes a fifth of the time of Arrow's kernel.
            marked = {
                row: text
                for marker in family.marker
                for row, text in unread.items()
                if marker in text
            }
            read = _read_xml if family.xml else _read_lines
            for row in read(marked, family, told):
                del unread[row]
    return valid(told)


def _read_xml(marked: dict[int, str], family: Family, told: dict[str, Texts]) -> Iterable[int]:
    """Add what the rows' XML tells; return the rows, all of them."""
    found = {row: data for row, text in marked.items() if (data := event_data(text))}
    for name, column in family.xml.items():
        told[column] |= {row: text for row, data in found.items() if (text := data.get(name))}
    return marked


def _read_lines(marked: dict[int, str], family: Family, told: dict[str, Texts]) -> Iterable[int]:
    """Add what the first pattern that matches tells of each row; return the rows that one does."""
    unread = dict(marked)
    for pattern in family.patterns:
        if not unread:
            break
        rows, found = _match(unread, pattern)
        for column, texts in found.items():
            told[column] |= zip(rows, texts, strict=True)
        for row in rows:
            del unread[row]
    return marked.keys() - unread.keys()


def _match(unread: dict[int, str], pattern: Pattern) -> tuple[list[int], dict[str, list[Any]]]:
    """The rows that the pattern matches, and what they say, by column."""
    groups = pc.extract_regex(
        pa.array(unread.values(), pa.string(), size=len(unread)),
        pattern.regex or f"(?P<line>{pattern.line})",
    )
    rows = list(compress(unread, groups.is_valid().to_pylist()))
    groups = groups.drop_null()
    if pattern.each:
        line = groups.field("line")
        found = {
            column: pc.extract_regex(line, regex).field("value").to_pylist()
            for column, regex in pattern.each
        }
    else:
        found = {field.name: groups.field(field.name).to_pylist() for field in groups.type}
    return rows, found | {column: [text] * len(rows) for column, text in pattern.set}
