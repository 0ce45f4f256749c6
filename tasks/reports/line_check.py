"""Whether the ledger tells of the lines that raw gives: each event's line is rendered anew.

The line of an event is a pure function of the event, the device's address and the version of the
mapping. The address is taken from the normalized events: it is a setting, and may be another today.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.redaction import foreign_text
from tasks.staging.footers import read_slice, slices
from tasks.staging.normalized_rows import ANEW_KEY, batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from tasks.staging.footers import Footer
    from tasks.staging.store import Store

_RAW = ["event_id", "created_at", "event"]
_ATTEMPTS = ["event_id", "created_at", "attempt", "line_sha256"]
_ADDRESS = "rep_device_address"
_ANEW = re.compile(r"-g(?!1-)\d+-")
"""A normalized file of a later generation: a raw file was normalized anew."""


@dataclass
class LineCheck:
    """What a check of lines found.

    Attributes:
        agree: Attempts whose line is what raw gives.
        not_comparable: Attempts whose line may come of an earlier normalization.
        fault: The first attempt whose line is another one; "" where there is none.
    """

    agree: int = 0
    not_comparable: int = 0
    fault: str = ""


def check_lines(store: Store, day: date, trees: dict[str, list[Footer]]) -> LineCheck:
    """Render the lines of a day's raw events anew, and compare them with those of its ledgers.

    Args:
        store: The staging.
        day: The day.
        trees: Its files by their tree; the normalized ones are of this version of the mapping.

    Raises:
        FileGone: A file is not there any more.
        StagingError: One cannot be read.
    """
    raw, normalized = trees.get("raw", []), trees.get("normalized", [])
    ledgers = {tree: files for tree, files in trees.items() if tree.startswith("deliveries/")}
    anew = any(_ANEW.search(file.path) or ANEW_KEY.encode() in file.metadata for file in normalized)
    addresses = _addresses(store, normalized)
    check = LineCheck()
    for window in slices(day, [*raw, *(file for files in ledgers.values() for file in files)]):
        lines = _lines(read_slice(store, "raw", raw, _RAW, window), addresses)
        for tree, files in ledgers.items():
            attempts = read_slice(store, tree, files, _ATTEMPTS, window)
            differ = _compare(check, lines, attempts)
            if anew:
                check.not_comparable += differ.num_rows
            elif differ.num_rows:
                check.fault = _describe(differ.slice(0, 1), tree.partition("=")[2])
                return check
    return check


def _addresses(store: Store, normalized: Iterable[Footer]) -> list[str]:
    """The addresses that normalized events name as that of the reporting device."""
    found: dict[str, None] = {}
    for file in normalized:
        for table in batches(store, file.path, [_ADDRESS]):
            found.update(dict.fromkeys(table[_ADDRESS].unique().to_pylist()))
    return list(found)


def _lines(raw: pa.Table, addresses: Sequence[str]) -> pa.Table:
    """Raw events by `event_id`, and the SHA-256 of their line for each address, by its place."""
    from tasks.cef.line_hashes import line_hashes
    from tasks.cef.render import render_chunks
    from tasks.plugin.normalize import normalize

    if not raw.num_rows:
        return pa.table({"event_id": raw["event_id"]})
    first, *_ = addresses or [""]
    rows = normalize(raw.combine_chunks(), first).rows
    place = rows.schema.get_field_index(_ADDRESS)
    lines = {"event_id": rows["event_id"]}
    for number, address in enumerate(addresses):
        same = rows.set_column(place, rows.schema.field(place), pa.repeat(address, rows.num_rows))
        hashes = [line_hashes(chunk.lines) for chunk in render_chunks(same)]
        lines[f"{number}"] = pa.chunked_array(hashes, pa.string())
    return pa.table(lines)


def _compare(check: LineCheck, lines: pa.Table, attempts: pa.Table) -> pa.Table:
    """Count the attempts that agree, and return the others with the hash that was expected."""
    attempts = attempts.filter(pc.is_valid(attempts["line_sha256"]))
    place = pc.index_in(attempts["event_id"], value_set=lines["event_id"].combine_chunks())
    agree = pa.repeat(pa.scalar(value=False), attempts.num_rows)
    expected = pa.nulls(attempts.num_rows, pa.string())
    for name in lines.column_names[1:]:
        expected = lines[name].take(place)
        agree = pc.or_(
            agree, pc.fill_null(pc.equal(expected, attempts["line_sha256"]), fill_value=False)
        )
    differ = attempts.append_column("expected", expected).filter(pc.invert(agree))
    check.agree += attempts.num_rows - differ.num_rows
    return differ


def _describe(differs: pa.Table, destination: str) -> str:
    [row] = differs.to_pylist()
    event = f"event {foreign_text(row['event_id'])}"
    attempt = f"attempt {row['attempt']} of destination {destination}"
    if row["expected"] is None:
        return f"{attempt} is of {event}, and the sealed raw files give no line of it"
    return (
        f"the line of {event} is another one than raw gives: {attempt} tells of the SHA-256 "
        f"{foreign_text(row['line_sha256'])}, rendered anew it is {row['expected']}"
    )
