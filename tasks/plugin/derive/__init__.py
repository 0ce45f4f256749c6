"""Fields that no Halo field holds, read out of log entries and messages.

What is read out of which line is declared in `families.toml`. The patterns run on RE2 (pyarrow's
kernels), whose time is linear in the text, whatever is in it; only rows with a log entry, or with a
message that has a family's marker, are looked at.
"""

from __future__ import annotations

from itertools import compress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.derive.families import Family, Pattern, families
from tasks.plugin.derive.values import valid
from tasks.plugin.derive.windows_event_log import event_data
from tasks.plugin.fields import FIELDS

Texts = dict[str, str | None]
Values = dict[str, str | int]

DERIVED: dict[str, Any] = {field.name: field.arrow_type for field in FIELDS if field.derived}
"""The derived columns and their Arrow types."""


def derive(log_entries: Any, messages: Any) -> dict[str, Any]:
    """The columns of `DERIVED`, null where log entry and message tell nothing valid.

    Args:
        log_entries: `pa.StringArray`, null where an event has none.
        messages: `pa.StringArray`, as long; null where they are not to be read.
    """
    derived = _read(log_entries, "log")
    for row, values in _read(messages, "message").items():
        derived[row] = values | derived.get(row, {})
    columns = {}
    for name, kind in DERIVED.items():
        column: list[str | int | None] = [None] * len(log_entries)
        for row, values in derived.items():
            column[row] = values.get(name)
        columns[name] = pa.array(column, kind)
    return columns


def _read(texts: Any, source: str) -> dict[int, Values]:
    """What the families of a source tell, by row."""
    rows = pc.indices_nonzero(texts.is_valid()).to_pylist()
    unread = dict(zip(rows, texts.drop_null().to_pylist(), strict=True))
    derived: dict[int, Values] = {}
    for family in families() if unread else ():
        if family.source == source:
            # In Python: a search for a plain text takes a fifth of the time of Arrow's kernel.
            marked = {
                row: text
                for marker in family.marker
                for row, text in unread.items()
                if marker in text
            }
            derived |= _read_family(marked, family)
            for row in marked.keys() & derived.keys():
                del unread[row]
    return derived


def _read_family(unread: dict[int, str], family: Family) -> dict[int, Values]:
    """What the first pattern that matches tells, by row."""
    if family.xml:
        return {row: valid(_named(event_data(text), family.xml)) for row, text in unread.items()}
    unread = dict(unread)
    derived: dict[int, Values] = {}
    for pattern in family.patterns:
        if unread:
            rows, found = _match(unread, pattern)
            for row, texts in zip(rows, found, strict=True):
                derived[row] = valid(texts | dict(pattern.set))
                del unread[row]
    return derived


def _named(data: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    return {column: data[name] for name, column in names.items() if data.get(name)}


def _match(unread: dict[int, str], pattern: Pattern) -> tuple[list[int], list[Texts]]:
    """The rows that the pattern matches, and what each says, by column."""
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
    columns = zip(*found.values(), strict=True)
    return rows, [dict(zip(found, texts, strict=True)) for texts in columns]
