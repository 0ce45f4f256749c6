"""Synthetic normalized events by the million, shaped like Halo's traffic: 20 % log entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.fields import NORMALIZED_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_DAYS = 90
_START = 1_471_000_000_000_000  # microseconds since 1970: August 2016
_LOG_ENTRIES = (
    "Aug 22 16:24:30 web kernel: [UFW BLOCK] IN=eth0 OUT= MAC=06:3a:9b:5a:ff SRC=203.0.113.9 ",
    "Aug 22 16:24:30 web sshd[2211]: Failed password for invalid user root from 203.0.113.7 ",
    "<Event><System><EventID>4625</EventID></System>\r\n\t<Data Name='IpAddress'>203.0.113.8 ",
)
_ENDINGS = (" (source: Scan)", " (source=API)", " with mode=0755", "")


class _Maker:
    """Columns of `rows` values each, reproducible by `seed`."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self.random = np.random.default_rng(seed)

    def chance(self, share: float) -> npt.NDArray[np.bool_]:
        return self.random.random(self.rows) < share

    def only(self, chosen: npt.NDArray[np.bool_] | float, values: pa.Array) -> pa.Array:
        """Null where not chosen, and as a Parquet reader makes it: with no bytes below it."""
        mask = self.chance(chosen) if isinstance(chosen, float) else chosen
        return values.take(pa.array(np.arange(self.rows), mask=~mask))

    def pick(self, values: Sequence[str], weights: Sequence[float] | None = None) -> pa.Array:
        codes = self.random.choice(len(values), self.rows, p=weights)
        return pa.array(values, pa.string()).take(pa.array(codes))

    def numbers(self, low: int, high: int, kind: str) -> pa.Array:
        return pa.array(self.random.integers(low, high, self.rows)).cast(kind)

    def address(self, prefix: str) -> pa.Array:
        parts = [self.numbers(0, 256, "string") for _ in range(2)]
        return pc.binary_join_element_wise(prefix, *parts, ".")

    def hexadecimal(self, digits: int) -> pa.Array:
        data = self.random.bytes(self.rows * digits // 2).hex().encode()
        offsets = np.arange(self.rows + 1, dtype=np.int32) * np.int32(digits)
        buffers = pa.py_buffer(offsets), pa.py_buffer(data)
        return pa.StringArray.from_buffers(self.rows, *buffers)


def synthetic_events(rows: int, seed: int = 1) -> pa.Table:
    """Make `rows` normalized events (NORMALIZED_SCHEMA), sorted by time, over 90 days."""
    make = _Maker(rows, seed)
    kinds = make.random.integers(0, 182, rows)
    kind = pa.array([f"event_type_number_{n}" for n in range(182)]).take(pa.array(kinds))
    name = pa.array([f"Event type number {n} seen" for n in range(182)]).take(pa.array(kinds))
    host = make.pick([f"ip-10-2-{n // 250}-{n % 250}.ec2.internal" for n in range(1_000)])
    user = make.pick([*(f"operator{n}@example.com" for n in range(40)), "ACME\\admin"])
    source = make.only(0.6, make.address("203.0"))
    micros = _START + np.sort(make.random.integers(0, _DAYS * 86_400_000_000, rows))
    time = pa.array(micros, pa.timestamp("us", tz="UTC"))
    logged = make.chance(0.2)
    columns: dict[str, Any] = {
        "bytes_in": make.only(logged, make.numbers(40, 1500, "int64")),
        "destination_address": make.only(0.95, make.address("54.183")),
        "destination_fqdn": make.only(0.5, host),
        "destination_hostname": host,
        "destination_port": make.only(logged, make.numbers(1, 1024, "int32")),
        "device_direction": make.numbers(0, 2, "int8"),
        "event_action": kind,
        "event_description": pc.binary_join_element_wise(
            name,
            " on Linux server ",
            host,
            " (",
            source.fill_null("unknown"),
            "), checked by ",
            user,
            make.pick(_ENDINGS, [0.6, 0.05, 0.05, 0.3]),
            "",
        ),
        "event_name": name,
        "event_receipt_time": time,
        "event_severity": make.pick(["3", "9"], [0.9, 0.1]).cast(pa.int8()),
        "operating_system": make.only(0.9, make.pick(["Linux", "Windows"])),
        "policy": make.only(0.6, make.pick([f"FIM policy {n} for web tier" for n in range(60)])),
        "rep_device_address": make.pick(["50.57.180.190"]),
        "rep_device_rule_id": pa.array([str(100 + n) for n in range(182)]).take(pa.array(kinds)),
        "rep_device_type": make.pick(["Unified threat management"]),
        "rep_device_vendor": make.pick(["CloudPassage"]),
        "rep_device_version": make.pick(["1.0"]),
        "source_address": source,
        "source_port": make.only(logged, make.numbers(1024, 65536, "int32")),
        "transient": pa.array(np.zeros(rows, bool)),
        "transport_protocol": make.only(logged, make.pick(["TCP", "UDP"])),
        "event_id": make.hexadecimal(32),
        "created_at": time,
        "event_type": kind,
        "event_category": make.only(0.9, make.pick(["Server Events", "Uncategorized"])),
        "actor_username": make.only(0.5, user),
        "actor_key_id": make.only(0.05, make.hexadecimal(8)),
        "object_name": make.only(0.2, make.pick([f"/etc/file-{n}.conf" for n in range(500)])),
        "destination_translated_address": make.only(0.8, make.address("10.2")),
        "server_id": make.only(0.9, make.hexadecimal(32)),
        "server_group_name": make.only(0.9, make.pick([f"group-{n}" for n in range(30)])),
        "extras": pc.binary_join_element_wise(
            '{"scan_id":"', make.hexadecimal(32), '","server_label":"', host, '"}', ""
        ),
        "original_log_entry": make.only(
            logged,
            pc.binary_join_element_wise(
                make.pick(_LOG_ENTRIES),
                "DST=10.2.20.76 LEN=40 TOS=0x00 PREC=0x00 TTL=243 ID=54321 PROTO=TCP port ",
                make.numbers(1024, 65536, "string"),
                "",
            ),
        ),
    }
    return pa.table([columns[name] for name in NORMALIZED_SCHEMA.names], NORMALIZED_SCHEMA)
