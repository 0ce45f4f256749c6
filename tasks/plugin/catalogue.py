"""The catalogue of event types: category and CEF signature id, read from two tables.

`event_types.csv` has the types the portal knows; `event_names.csv` the ids that the first connector
kept by name, for types that the first table does not know or has no id for.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN_SIGNATURE_ID = "999"
"""Signature id where neither type nor name is known."""


def _read(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((files(__package__) / name).read_text("utf-8").splitlines()))


_TYPES = _read("event_types.csv")
_NAMES = _read("event_names.csv")

TYPES: tuple[str, ...] = tuple(row["type"] for row in _TYPES)
"""Every known type, in the order of the catalogue."""

_KNOWN_TYPES = pa.array(TYPES, pa.string())
_CATEGORIES = pa.array([row["category"] or None for row in _TYPES], pa.string())
_SIGNATURE_IDS = pa.array([row["signature_id"] or None for row in _TYPES], pa.string())
_KNOWN_NAMES = pa.array([row["name_lowercase"] for row in _NAMES], pa.string())
_SIGNATURE_IDS_BY_NAME = pa.array([row["signature_id"] for row in _NAMES], pa.string())


class Entry(NamedTuple):
    """What the catalogue says of events, a row each.

    Attributes:
        signature_ids: string, never null.
        categories: string, null where the type is unknown.
    """

    signature_ids: Any
    categories: Any


def look_up(types: Any, names: Any) -> Entry:
    """Look events up by their type, and by their name where the type has no signature id.

    Args:
        types: `pa.StringArray` of event types; null where an event has none.
        names: `pa.StringArray` of event names, as long; compared in lower case.
    """
    positions = pc.index_in(types, value_set=_KNOWN_TYPES)
    ids = _SIGNATURE_IDS.take(positions)
    if ids.null_count:
        missing = pc.is_null(ids)
        lower = pc.utf8_lower(names.filter(missing))
        by_name = _SIGNATURE_IDS_BY_NAME.take(pc.index_in(lower, value_set=_KNOWN_NAMES))
        ids = pc.replace_with_mask(ids, missing, by_name.fill_null(UNKNOWN_SIGNATURE_ID))
    return Entry(ids, _CATEGORIES.take(positions))


def unknown_types(normalized: Any) -> dict[str, int]:
    """Count the events of each type that the catalogue does not know, the most frequent first.

    Args:
        normalized: a `pa.Table` or `pa.RecordBatch` with the column `event_type`; a scan of that
            column alone is enough.
    """
    types = normalized["event_type"]
    unknown = types.filter(
        pc.and_(pc.is_valid(types), pc.invert(pc.is_in(types, value_set=_KNOWN_TYPES)))
    )
    counted = ((item["values"], item["counts"]) for item in unknown.value_counts().to_pylist())
    return dict(sorted(counted, key=lambda item: (-item[1], item[0])))
