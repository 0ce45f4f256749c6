"""Tables of every shape: the lines do not depend on how the rows lie in memory."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.cef.render import render, render_chunks
from tests.cef.events import event, line_of, table


def test_no_rows() -> None:
    """No events, no lines."""
    rendered = render(table())
    assert rendered.lines == pa.array([], pa.string())
    assert rendered.truncated == pa.array([], pa.bool_())
    assert list(render_chunks(table())) == []


def test_batches_slices_and_tables_give_the_same_lines() -> None:
    """The lines do not depend on how the rows are cut up, or on what lies beside a slice."""
    rows = [event(event_id=str(n), actor_username="a=b" if n % 3 else None) for n in range(20_000)]
    events = table(*rows).combine_chunks()
    lines = render(events).lines
    assert lines[::1997].to_pylist() == [line_of(row) for row in rows[::1997]]
    assert render(events.to_batches()[0]).lines == lines
    assert render(events.slice(9_001, 500)).lines == lines.slice(9_001, 500)
    assert pa.concat_arrays([chunk.lines for chunk in render_chunks(events)]) == lines
    pieces = pa.concat_tables([events.slice(0, 7), events.slice(7, 0), events.slice(7)])
    assert render(pieces).lines == lines


def test_a_nulls_leftover_bytes_are_not_rendered() -> None:
    """Bytes that an Arrow kernel left below a null do not show."""
    events = table(event(), event())
    offsets = pa.array([0, 8, 16], pa.int32()).buffers()[1]
    names = pa.StringArray.from_buffers(
        2, offsets, pa.py_buffer(b"leftoverleftover"), pa.py_buffer(b"\0")
    )
    at = events.column_names.index("actor_username")
    events = events.set_column(at, "actor_username", names)
    assert render(events).lines.to_pylist() == [line_of(event())] * 2


def test_huge_values_are_rendered_a_few_at_a_time() -> None:
    """Values of a megabyte each do not overflow Arrow's offsets, and are cut like any other."""
    events = table(event(original_log_entry="é=" * (1 << 19)))
    events = pa.concat_tables([events] * 12)
    assert set(render(events).lines.to_pylist()) == {line_of(event(original_log_entry="é=" * 3000))}


def test_other_arrow_types_of_the_same_values() -> None:
    """Large strings, dictionaries and nanoseconds, as other readers make them, render the same."""
    events = table(event(actor_username="a=b"), event(), {})
    other = events.schema
    for at, field in enumerate(events.schema):
        if field.type == pa.string():
            kind = pa.dictionary(pa.int32(), pa.string()) if at % 2 else pa.large_string()
            other = other.set(at, pa.field(field.name, kind))
        elif pa.types.is_timestamp(field.type):
            other = other.set(at, pa.field(field.name, pa.timestamp("ns", tz="UTC")))
    assert render(events.cast(other)).lines == render(events).lines


def test_a_missing_column_is_an_error() -> None:
    """A table that is not of the normalized schema is refused, by the name of what is missing."""
    with pytest.raises(KeyError, match="event_id"):
        render(table(event()).drop_columns(["event_id"]))
