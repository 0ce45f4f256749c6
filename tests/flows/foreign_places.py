"""Foreign things under names that are ours, each made in one place of a staging."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime.now(UTC)
NAMES = {
    "raw": "{}-0123abcd-5.parquet",
    "normalized": "{}-0123abcd-5-g1-5.parquet",
    "rejected": "{}-0123abcd-5-g1-5.parquet",
    "deliveries": "20260301T120000000000-0123abcd-{}-5-+5.parquet",
}


@dataclass
class Place:
    """Where something foreign is put: a day of account alpha in one tree."""

    tree: str
    folder: Path

    def new(self, span: str = "120000000000-130000000000") -> Path:
        """A name that is ours, but for its window perhaps, and is not there yet."""
        return self.folder / NAMES[self.tree].format(span)

    def there(self) -> Path:
        """A file of ours."""
        if self.tree in {"raw", "rejected"}:
            # one more, for what is done already is not opened again
            name = "extract-0123abcd-5.parquet" if self.tree == "rejected" else self.new().name
            return self.folder / name
        return min(self.folder.glob("*.parquet"))

    def rewrite(self, change: Callable[[pa.Table], pa.Table]) -> Path:
        """Five rows of ours, changed."""
        rows = {
            field.name: pa.array([None] * 5, field.type).fill_null(_value(field.type))
            for field in _schema(self.tree)
        }
        pq.write_table(change(pa.table(rows)), self.there())
        return self.there()


def _schema(tree: str) -> pa.Schema:
    from tasks.staging.schemas import schema_of

    return schema_of(f"{tree}/")


def _value(kind: pa.DataType) -> pa.Scalar:
    value: Any = "x"
    if pa.types.is_timestamp(kind):
        value = NOW
    elif pa.types.is_boolean(kind):
        value = False
    elif not pa.types.is_string(kind):
        value = 1
    return pa.scalar(value, kind)


def pipe(place: Place) -> Path:
    """A named pipe, which nobody writes to."""
    os.mkfifo(place.new())
    return place.new()


def unix_socket(place: Place) -> Path:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(place.folder)  # a socket's path is short
        unix.bind(place.new().name)
        os.chdir(here)
    return place.new()


def endless(place: Place) -> Path:
    """A link to a device that can be read for ever."""
    place.new().symlink_to("/dev/zero")
    return place.new()


def folder(place: Place) -> Path:
    """A folder."""
    place.new().mkdir()
    return place.new()


def nowhere(place: Place) -> Path:
    """A link to nothing."""
    place.new().symlink_to("nothing")
    return place.new()


def circle(place: Place) -> Path:
    """A link to itself."""
    place.new().symlink_to(place.new().name)
    return place.new()


def impossible(place: Place) -> Path:
    """Clocks that no day has."""
    place.new("256199000000-256200000000").touch()
    return place.new("256199000000-256200000000")


def no_text(place: Place) -> Path:
    """A name that is no UTF-8, and clears the screen."""
    path = os.fsencode(place.folder) + b"/\xff\x1b[2J.parquet"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    return place.folder


def other_schema(place: Place) -> Path:
    """Another table altogether."""
    return place.rewrite(lambda _: pa.table({"a": [1] * 5}))


def other_type(place: Place) -> Path:
    """A column of another type."""
    return place.rewrite(lambda rows: _set(rows, "event_id", pa.array(range(5))))


def no_zone(place: Place) -> Path:
    """Times without a zone."""
    times = pa.array([NOW.replace(tzinfo=None)] * 5, pa.timestamp("us"))
    return place.rewrite(lambda rows: _set(rows, "created_at", times))


def no_ids(place: Place) -> Path:
    """Rows without an id."""
    return place.rewrite(lambda rows: _set(rows, "event_id", pa.nulls(5, pa.string())))


def no_dates(place: Place) -> Path:
    """Rows without a date."""
    kind = pa.timestamp("us", "UTC")
    return place.rewrite(lambda rows: _set(rows, "created_at", pa.nulls(5, kind)))


def twice(place: Place) -> Path:
    """A column that is there twice."""
    return place.rewrite(lambda rows: rows.append_column("event_id", rows["event_id"]))


def nothing(place: Place) -> Path:
    """An empty file."""
    place.there().write_bytes(b"")
    return place.there()


def _set(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, column)
