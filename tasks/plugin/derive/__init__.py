"""Fields that no Halo field holds, read out of log entries and messages.

What is read out of which line is declared in `families.toml`. The patterns run on RE2 (pyarrow's
kernels), whose time is linear in the text, whatever is in it; only rows with a log entry, or with a
message that has a family's marker, are looked at.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.derive.families import Family, Pattern, families
from tasks.plugin.derive.values import valid
from tasks.plugin.derive.windows import event_data
from tasks.plugin.fields import FIELDS

Values = dict[str, str | int]

DERIVED: dict[str, Any] = {field.name: field.arrow_type for field in FIELDS if field.derived}
"""The derived columns and their Arrow types."""


def derive(log_entries: Any, messages: Any) -> dict[str, Any]:
    """The columns of `DERIVED`, null where log entry and message tell nothing valid.

    Args:
        log_entries: `pa.StringArray`, null where an event has none.
        messages: `pa.StringArray`, as long; null where they are not to be read.
    """
    told = _read(log_entries, "log")
    for row, values in _read(messages, "message").items():
        told[row] = values | told.get(row, {})
    columns = {}
    for name, kind in DERIVED.items():
        column: list[str | int | None] = [None] * len(log_entries)
        for row, values in told.items():
            column[row] = values.get(name)
        columns[name] = pa.array(column, kind)
    return columns


def _read(texts: Any, source: str) -> dict[int, Values]:
    """What the families of a source tell, by row."""
    told: dict[int, Values] = {}
    rows = pc.indices_nonzero(texts.is_valid()).to_pylist()
    entries = texts.drop_null().to_pylist()
    for family in families():
        if family.source != source:
            continue
        # In Python: a search for a plain text takes a fifth of the time that Arrow's kernel needs.
        marked = sorted(
            {
                position
                for marker in family.marker
                for position, entry in enumerate(entries)
                if marker in entry
            }
        )
        if marked:
            found = _read_family([entries[position] for position in marked], family)
            for position, values in found.items():
                told.setdefault(rows[marked[position]], values)
    return told


def _read_family(entries: list[str], family: Family) -> dict[int, Values]:
    """What the first pattern that matches tells, by position."""
    if family.xml:
        return {
            position: valid(_columns(event_data(entry), family.xml))
            for position, entry in enumerate(entries)
        }
    texts = pa.array(entries, pa.string())
    told: dict[int, Values] = {}
    positions = list(range(len(texts)))
    for pattern in family.patterns:
        matched, found = _match(texts, pattern)
        taken = pc.indices_nonzero(matched).to_pylist()
        for index, values in zip(taken, found, strict=True):
            told[positions[index]] = valid(values | dict(pattern.set))
        if len(taken) == len(positions):
            break
        if taken:
            unmatched = pc.invert(matched)
            texts = texts.filter(unmatched)
            positions = [positions[index] for index in pc.indices_nonzero(unmatched).to_pylist()]
    return told


def _match(texts: Any, pattern: Pattern) -> tuple[Any, list[dict[str, str]]]:
    """Which texts the pattern matches, and what those say, by column."""
    if pattern.regex:
        groups = pc.extract_regex(texts, pattern.regex)
        matched = groups.is_valid()
        return matched, groups.filter(matched).to_pylist()
    lines = pc.extract_regex(texts, f"(?P<value>{pattern.line})")
    matched = lines.is_valid()
    text = lines.filter(matched).field("value")
    columns = {
        column: pc.extract_regex(text, regex).field("value").to_pylist()
        for column, regex in pattern.each
    }
    return matched, [
        {column: values[index] or "" for column, values in columns.items()}
        for index in range(len(text))
    ]


def _columns(data: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    return {column: data[name] for name, column in names.items() if data.get(name)}
