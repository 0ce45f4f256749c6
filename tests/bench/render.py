"""Rendering alone, side by side in one run: normalized rows in memory in, CEF lines out.

The others apply the same escapes and key order, and give the same lines for these rows (checked
before anything is measured); lengths, control characters and IPv6 keys only ours looks at.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from cefevent import CEFEvent

from tasks.cef.render import render
from tasks.plugin.fields import CEF_ORDER, FIELDS, NORMALIZED_SCHEMA, PRODUCT, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = 1_000_000
_CHUNK_ROWS = 65_536
_LOOP_ROWS = 100_000
_CEFEVENT_ROWS = 20_000

_TIMES_LOOP = 12.0
_TIMES_POLARS = 1.5
_EVENTS_PER_CPU_SECOND = 250_000.0

# what no rule of the format can touch needs no escape: the others may know that, too
_CLEAN = {"rep_device_address", "source_address", "destination_address", "event_id", "server_id",
          "destination_translated_address", "actor_key_id", "transport_protocol"}


def measure(rows: int = ROWS) -> Iterator[tuple[str, float, float | None, str, str]]:
    """Yield `(name, figure, target or None, unit, note)` for each renderer and each ratio.

    Figures are events per second of CPU time of the whole process, pyarrow on one thread.
    """
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        events = synthetic_events(rows)
        _check_agreement(events.slice(0, 5_000))
        ours = _rate(lambda chunk: render(chunk).lines, events)
        loop = _rate(render_loop, events.slice(0, _LOOP_ROWS))
        cefevent = _rate(render_cefevent, events.slice(0, _CEFEVENT_ROWS))
        polars = _rate(render_polars, events)
        duck = _rate(_DuckDB(), events)
    finally:
        pa.set_cpu_count(threads)
    unit = "events per CPU-second"
    size = pc.mean(pc.binary_length(render(events.slice(0, 5_000)).lines)).as_py()
    yield "render: ours", ours, _EVENTS_PER_CPU_SECOND, unit, f"{rows:,} rows, {size:.0f} B a line"
    yield "render: f-string loop", loop, None, unit, f"{min(rows, _LOOP_ROWS):,} rows"
    yield "render: cefevent", cefevent, None, unit, f"{min(rows, _CEFEVENT_ROWS):,} rows"
    yield "render: polars concat_str", polars, None, unit, f"{rows:,} rows"
    yield "render: duckdb concat_ws", duck, None, unit, f"{rows:,} rows"
    yield "render: ours / loop", ours / loop, _TIMES_LOOP, "times", ""
    yield "render: ours / polars", ours / polars, _TIMES_POLARS, "times", ""


def _rate(renderer: Callable[[pa.RecordBatch], Any], events: pa.Table) -> float:
    """Events per CPU-second of `renderer` over chunks of `events`, after one to warm up."""
    chunks = events.combine_chunks().to_batches(max_chunksize=_CHUNK_ROWS)
    renderer(chunks[0])
    started = time.process_time()
    for chunk in chunks:
        renderer(chunk)
    return events.num_rows / (time.process_time() - started)


def _check_agreement(events: pa.Table) -> None:
    batch = events.combine_chunks().to_batches()[0]
    ours = render(batch).lines.to_pylist()
    for other in (render_loop, render_polars, _DuckDB()):
        lines = list(other(batch))
        if lines != ours:
            at = next(at for at, pair in enumerate(zip(lines, ours, strict=True)) if len(set(pair)) > 1)
            message = f"{other} renders row {at} differently:\n{lines[at]}\n{ours[at]}"
            raise AssertionError(message)


def synthetic_events(rows: int, seed: int = 1) -> pa.Table:
    """Make `rows` normalized events as Halo's traffic has them: 20 % with a log entry."""
    random = np.random.default_rng(seed)

    def pick(values: list[str | None], weights: list[float] | None = None) -> pa.StringArray:
        codes = random.choice(len(values), rows, p=weights)
        return pa.array(values, pa.string()).take(pa.array(codes))

    def hexadecimal(digits: int) -> pa.StringArray:
        data = np.frombuffer(random.bytes(rows * digits // 2).hex().encode(), np.uint8)
        offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(digits)
        return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))

    def numbers(low: int, high: int, kind: str, share: float) -> pa.Array:
        values = random.integers(low, high, rows)
        return pa.array(values, mask=random.random(rows) >= share).cast(kind)

    def address(prefix: str, share: float) -> pa.StringArray:
        parts = [numbers(0, 256, "string", 1) for _ in range(2)]
        return some(pc.binary_join_element_wise(prefix, *parts, "."), share)

    def join(*parts: Any) -> pa.StringArray:
        return pc.binary_join_element_wise(*parts, "")

    def only(chosen: npt.NDArray[np.bool_], values: pa.Array) -> pa.Array:
        # not `if_else`: that leaves a null's bytes in place, which no Parquet reader does
        return values.take(pa.array(np.arange(rows), mask=~chosen))

    def some(values: pa.Array, share: float) -> pa.Array:
        return only(random.random(rows) < share, values)

    hosts = [f"ip-10-2-{n // 250}-{n % 250}.ec2.internal" for n in range(1_000)]
    users: list[str | None] = [*(f"operator{n}@example.com" for n in range(40)), "ACME\\admin"]
    host, user = pick([*hosts]), pick(users)
    types = [(f"event_type_number_{n}", f"Event type number {n} seen", str(100 + n)) for n in range(182)]
    kind = random.integers(0, len(types), rows)
    kind_name, kind_text, kind_id = (pa.array(column).take(pa.array(kind)) for column in zip(*types, strict=True))
    source, port = address("203.0", 0.6), numbers(1024, 65536, "int32", 0.2)
    logged = random.random(rows) < 0.2
    entry = join(
        pick(["Aug 22 16:24:30 web kernel: [UFW BLOCK] IN=eth0 OUT= MAC=06:3a:9b:5a:ff SRC=203.0.113.",
              "Aug 22 16:24:30 web sshd[2211]: Failed password for invalid user root from 203.0.113.",
              "<Event><System><EventID>4625</EventID></System>\r\n\t<Data Name='IpAddress'>203.0.113."]),
        numbers(0, 256, "string", 1),
        " DST=10.2.20.76 LEN=40 TOS=0x00 PREC=0x00 TTL=243 ID=54321 PROTO=TCP port ",
        numbers(1024, 65536, "string", 1),
    )
    micros = 1_471_000_000_000_000 + np.sort(random.integers(0, 90 * 86_400_000_000, rows))
    created = pa.array(micros, pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {
        "bytes_in": only(logged, numbers(40, 1500, "int64", 0.5)),
        "destination_address": address("54.183", 0.95),
        "destination_fqdn": host,
        "destination_hostname": host,
        "destination_port": only(logged, numbers(1, 1024, "int32", 0.7)),
        "device_direction": numbers(0, 2, "int8", 1),
        "event_action": kind_name,
        "event_description": join(
            kind_text, " on Linux server ", host, " (", source.fill_null("unknown"), "), policy checked by ",
            user, pick([" (source: Scan)", " (source=API)", " with mode=0755", ""], [0.6, 0.05, 0.05, 0.3]),
        ),
        "event_name": kind_text,
        "event_receipt_time": created,
        "event_severity": pc.if_else(pa.array(random.random(rows) < 0.1), pa.scalar(9, pa.int8()), pa.scalar(3, pa.int8())),
        "operating_system": pick(["Linux", "Windows", None], [0.7, 0.2, 0.1]),
        "policy": some(pick([f"FIM policy {n} for web tier" for n in range(60)]), 0.6),
        "rep_device_address": pick(["50.57.180.190"]),
        "rep_device_rule_id": kind_id,
        "rep_device_type": pick(["Unified threat management"]),
        "rep_device_vendor": pick(["CloudPassage"]),
        "rep_device_version": pick(["1.0"]),
        "source_address": source,
        "source_port": only(logged, port),
        "transient": pa.array(np.zeros(rows, bool)),
        "transport_protocol": only(logged, pick(["TCP", "UDP"])),
        "event_id": hexadecimal(32),
        "created_at": created,
        "event_type": kind_name,
        "event_category": pick(["Server Events", "Halo Users and Authentication", None], [0.6, 0.3, 0.1]),
        "actor_username": some(user, 0.5),
        "actor_key_id": some(hexadecimal(8), 0.05),
        "object_name": some(pick([f"/opt/cloudpassage/etc/file-{n}.conf" for n in range(500)]), 0.2),
        "destination_translated_address": address("10.2", 0.8),
        "server_id": some(hexadecimal(32), 0.9),
        "server_group_name": some(pick([f"group-{n}" for n in range(30)]), 0.9),
        "extras": join('{"scan_id":"', hexadecimal(32), '","server_label":"', host, '","finding_id":"',
                       hexadecimal(32), '","server_ostype":"linux"}'),
        "original_log_entry": only(logged, entry),
    }
    return pa.table([columns[field.name] for field in FIELDS], names=[field.name for field in FIELDS]).cast(NORMALIZED_SCHEMA)


def _escape(text: str) -> str:
    return (
        text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r").replace("\t", " ")
    )


def render_loop(batch: pa.RecordBatch) -> list[str]:
    """Render with one f-string an event and value, over `to_pylist`."""
    plan = [
        (field.name, field.cef, f" {field.cef}Label={field.label}" if field.label else "", field.type == "string" and field.name not in _CLEAN)
        for field in CEF_ORDER
    ]
    lines = []
    for row in batch.to_pylist():
        name = row["event_name"].replace("\\", "\\\\").replace("|", "\\|")
        pairs = []
        for column, key, label, text in plan:
            value = row[column]
            if value is None:
                continue
            if text:
                value = _escape(value)
            elif column == "event_receipt_time":
                value = value.strftime("%b %d %Y %H:%M:%S UTC")
            pairs.append(f"{key}={value}{label}")
        lines.append(
            f"CEF:0|{row['rep_device_vendor']}|{PRODUCT}|{row['rep_device_version']}|{row['rep_device_rule_id']}"
            f"|{name}|{row['event_severity']}|{' '.join(pairs)}"
        )
    return lines


def render_cefevent(batch: pa.RecordBatch) -> list[str]:
    """Render with PyPI's `cefevent` (its own order of keys; it drops what it finds invalid)."""
    lines = []
    for row in batch.to_pylist():
        event = CEFEvent()
        event.set_prefix("deviceVendor", row["rep_device_vendor"])
        event.set_prefix("deviceProduct", PRODUCT)
        event.set_prefix("deviceVersion", row["rep_device_version"])
        event.set_prefix("signatureId", row["rep_device_rule_id"])
        event.set_prefix("name", row["event_name"])
        event.set_prefix("severity", row["event_severity"])
        for field in CEF_ORDER:
            value = row[field.name]
            if value is None:
                continue
            if field.name == "event_receipt_time":
                value = value.strftime("%b %d %Y %H:%M:%S UTC")
            event.set_field(field.cef, value)
            if field.label:
                event.set_field(f"{field.cef}Label", field.label)
        lines.append(event.build_cef())
    return lines


def _label(field: Field) -> str:
    return f" {field.cef}Label={field.label}" if field.label else ""


def render_polars(batch: pa.RecordBatch) -> pl.Series:
    """Render with polars: one `concat_str` that ignores nulls."""
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    pairs = []
    for at, field in enumerate(CEF_ORDER):
        column = pl.col(field.name)
        if field.name == "event_receipt_time":
            column = column.dt.strftime("%b %d %Y %H:%M:%S UTC")
        elif field.type == "string" and field.name not in _CLEAN:
            for character, replacement in (("\\", "\\\\"), ("=", "\\="), ("\n", "\\n"), ("\r", "\\r"), ("\t", " ")):
                column = column.str.replace_all(character, replacement, literal=True)
        pairs.append(pl.concat_str(pl.lit(f"{' ' if at else ''}{field.cef}="), column, pl.lit(_label(field))))
    name = pl.col("event_name").str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True)
    line = pl.concat_str(
        pl.lit("CEF:0|"), pl.col("rep_device_vendor"), pl.lit(f"|{PRODUCT}|"), pl.col("rep_device_version"),
        pl.lit("|"), pl.col("rep_device_rule_id"), pl.lit("|"), name, pl.lit("|"), pl.col("event_severity"),
        pl.lit("|"), *pairs, ignore_nulls=True,
    )
    return frame.select(line.alias("line"))["line"]


class _DuckDB:
    """Render with duckdb: one `concat_ws`, which leaves nulls out."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")
        pairs = []
        for field in CEF_ORDER:
            column = field.name
            if field.name == "event_receipt_time":
                column = f"strftime({column}, '%b %d %Y %H:%M:%S UTC')"
            elif field.type == "string" and field.name not in _CLEAN:
                column = (
                    f"replace(replace(replace(replace(replace({column}, '\\', '\\\\'), '=', '\\='),"
                    " chr(10), '\\n'), chr(13), '\\r'), chr(9), ' ')"
                )
            pairs.append(f"'{field.cef}=' || {column} || '{_label(field)}'")
        self._query = (
            f"SELECT 'CEF:0|' || rep_device_vendor || '|{PRODUCT}|' || rep_device_version || '|'"
            " || rep_device_rule_id || '|' || replace(replace(event_name, '\\', '\\\\'), '|', '\\|')"
            f" || '|' || event_severity || '|' || concat_ws(' ', {', '.join(pairs)}) AS line FROM events"
        )

    def __call__(self, batch: pa.RecordBatch) -> list[str]:
        """Lines of `batch`, as a Python list only where somebody iterates over them."""
        self._connection.register("events", pa.Table.from_batches([batch]))
        lines: Any = self._connection.execute(self._query).to_arrow_table()["line"]
        return lines if batch.num_rows > 5_000 else lines.to_pylist()
