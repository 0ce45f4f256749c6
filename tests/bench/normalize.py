"""Raw Parquet in, CEF lines out: read, parse, normalize and render, beside a plain loop."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.events import generate_encoded
from tasks.cef.render import render
from tasks.plugin.catalogue import TYPES, look_up
from tasks.plugin.derive import derive
from tasks.plugin.normalize import normalize
from tests.bench import Measured, one_thread
from tests.bench.normalize_loop import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTS = 1_000_000
DEVICE_ADDRESS = "50.57.180.190"
_BATCH_ROWS = 32_768  # of such events, a row group of the staging
_COMPARED_ROWS = 10_000
_ROUNDS = 3
_FEW = 10
_TIMES_LOOP = 2.7
_SHARE_OF_DERIVE = 0.012
_UNIT = "events per CPU-second"
_MEMORY_MIB = 256.0
_MIB = 2**20
_TOLD = ("source_port", "destination_port", "transport_protocol", "bytes_in")


def measure(events: int = EVENTS) -> Iterator[Measured]:
    """Yield the rates of the steps, what deriving costs, and the memory of it all.

    Figures are events per second of CPU time of the whole process, pyarrow on one thread: all
    batches, each at its best of three rounds. What has no target handles a tenth of the events.
    """
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.parquet"
        size = _write_raw(path, events)
        share = _check_agreement(path)
        pool = pa.default_memory_pool()
        before = pool.bytes_allocated()
        rates = _best_rates(path, events)
        peak = (pool.max_memory() - before) / _MIB
    note = f"{events:,} events of {size:.0f} bytes from Parquet"
    both = rates["parse, normalize and render"]
    yield Measured("parse, normalize and render", both, None, _UNIT, note)
    yield Measured("parse and normalize", rates["parse and normalize"], None, _UNIT)
    loop = f"it derives nothing from log entries; {share:.0%} of its lines are the same"
    yield Measured("dict and f-string loop", rates["loop"], None, _UNIT, loop)
    yield Measured(
        "parse, normalize and render, fields derived of log entries and messages in the clock",
        both / rates["loop"],
        _TIMES_LOOP,
        "times f-string loop",
    )
    derived = _microseconds_without_log_entry(min(events, 100_000))
    yield Measured(
        "derive of an event that has no log entry, of the cost of all",
        derived * both / 1e6,
        _SHARE_OF_DERIVE,
        "share",
        f"{derived:.3f} µs an event",
        at_most=True,
    )
    yield Measured(
        "Arrow memory at its peak",
        peak,
        _MEMORY_MIB,
        "MiB",
        "does not grow with events",
        at_most=True,
    )


def _write_raw(path: Path, events: int) -> float:
    """Write a raw file of generated events; return the mean size of an event in bytes."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    generated = generate_encoded(events, since, since.replace(day=31))
    total = 0
    schema = pa.schema(
        [
            pa.field("event_id", pa.string()),
            pa.field("created_at", pa.timestamp("us", tz="UTC")),
            pa.field("event", pa.string()),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := list(islice(generated, _BATCH_ROWS)):
            texts = [text.decode() for _, text in rows]
            total += sum(map(len, texts))
            ids = [orjson.loads(text)["id"] for text in texts]
            times = pa.array([at for at, _ in rows], pa.int64()).cast(schema.field(1).type)
            writer.write_table(pa.table([ids, times, texts], schema=schema))
    return total / events


def _batches(path: Path, rows: int | None = None) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        read = 0
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            yield batch
            read += batch.num_rows
            if rows is not None and read >= rows:
                return


def _events(batch: pa.RecordBatch) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
    """The events of a raw batch, parsed one after another."""
    columns = (batch[name].to_pylist() for name in ("event_id", "created_at", "event"))
    for event_id, created_at, text in zip(*columns, strict=True):
        yield event_id, created_at, orjson.loads(text)


def _best_rates(path: Path, events: int) -> dict[str, float]:
    catalogue = catalogue_by_type()
    few = events // _FEW

    def ours(batch: Any) -> None:
        render(normalize(pa.Table.from_batches([batch]), DEVICE_ADDRESS).rows)

    def rows_only(batch: Any) -> None:
        normalize(pa.Table.from_batches([batch]), DEVICE_ADDRESS)

    def loop(batch: Any) -> None:
        lines_of(_events(batch), DEVICE_ADDRESS, catalogue)

    steps: dict[str, tuple[Callable[[Any], None], int]] = {
        "parse, normalize and render": (ours, events),
        "parse and normalize": (rows_only, few),
        "loop": (loop, few),
    }
    best: dict[str, dict[int, float]] = {name: {} for name in steps}
    for _ in range(_ROUNDS):
        for name, (step, rows) in steps.items():
            started = time.process_time()
            for number, batch in enumerate(_batches(path, rows)):
                step(batch)
                now = time.process_time()
                best[name][number] = min(best[name].get(number, now), now - started)
                started = now
    return {
        name: min(events, _BATCH_ROWS * len(best[name])) / sum(best[name].values())
        for name in steps
    }


def _microseconds_without_log_entry(events: int) -> float:
    """What deriving costs an event that has neither a log entry nor a message that tells."""
    nothing = pa.nulls(events, pa.string())
    derive(nothing, nothing)
    started = time.process_time()
    derive(nothing, nothing)
    return (time.process_time() - started) / events * 1e6


def catalogue_by_type() -> dict[str, tuple[str, str]]:
    """Signature id and category of every type that is known."""
    entry = look_up(pa.array(TYPES), pa.nulls(len(TYPES), pa.string()))
    pairs = zip(entry.signature_ids.to_pylist(), entry.categories.to_pylist(), strict=True)
    return dict(zip(TYPES, pairs, strict=True))


def _check_agreement(path: Path) -> float:
    """Compare lines with the loop's; return the share of those that it can get right.

    It cannot where an address is IPv6, a log entry or a message tells more, or a value was cut.
    """
    same = compared = 0
    for batch in _batches(path, _COMPARED_ROWS):
        table = pa.Table.from_batches([batch])
        rows = normalize(table, DEVICE_ADDRESS).rows
        ours = render(rows)
        others = lines_of(_events(batch), DEVICE_ADDRESS, catalogue_by_type())
        for row, line, cut, other in zip(
            rows.to_pylist(),
            ours.lines.to_pylist(),
            ours.truncated.to_pylist(),
            others,
            strict=True,
        ):
            compared += 1
            addresses = (row["source_address"], row["destination_address"])
            told = any(row[name] is not None for name in _TOLD)
            plain = not any(address and ":" in address for address in addresses)
            if line == other:
                same += 1
            elif plain and not told and not cut and f"src={row['source_address']}" in other:
                raise AssertionError(f"the loop differs from ours:\n{other}\n{line}")
    return same / compared
