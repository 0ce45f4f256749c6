"""Points in time as text, without `strftime` a row: days and minutes are looked up in tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECONDS_A_DAY = 86_400
_YEARS_OF_FOUR_DIGITS = (-719_528, 2_932_896)  # 0000-01-01 and 9999-12-31, in days since 1970
_ISO_DAY = "{year}-{month}-{day}T"
_CEF_DAY = "{name} {day} {year} "
_SYSLOG_DAY = "{name} {number:2} "

Text = npt.NDArray[np.bytes_]


def cef_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` (UTC) as CEF's `rt`: `Aug 02 2016 16:24:30 UTC`.

    Null stays null, and so does a year that four digits can't hold: here and below.
    """
    return _text(times, _CEF_DAY, 0, " UTC")


def leef_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` as LEEF's `devTime`, in the format `MMM dd yyyy HH:mm:ss.SSS z`."""
    return _text(times, _CEF_DAY, 3, " UTC")


def rfc3339_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` as RFC 3339 has it, to the microsecond: `2016-08-02T16:24:30.726000Z`."""
    return _text(times, _ISO_DAY, 6, "Z")


def rfc3164_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` as RFC 3164 has it, without year and zone: `Aug  2 16:24:30`."""
    return _text(times, _SYSLOG_DAY, 0, "")


def rfc5424_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` as RFC 5424 has it (6.2.3): `2016-08-02T16:24:30.726Z`.

    Three decimals, as Halo gives them; six where there is more to say.
    """
    text = _text(times, _ISO_DAY, 3, "Z")
    finer = _microseconds(times) % 1000 > 0
    return pc.if_else(pa.array(finer), rfc3339_times(times), text) if finer.any() else text


def _text(times: pa.TimestampArray, day: str, decimals: int, zone: str) -> pa.StringArray:
    micros = _microseconds(times)
    seconds = micros // 1_000_000
    first, last = (day * _SECONDS_A_DAY for day in _YEARS_OF_FOUR_DIGITS)
    valid = (seconds >= first) & (seconds < last + _SECONDS_A_DAY)
    if times.null_count:
        valid &= times.is_valid().to_numpy(zero_copy_only=False)
    seconds = np.where(valid, seconds, 0)
    minutes, second = np.divmod(seconds % _SECONDS_A_DAY, 60)
    parts = [_days(seconds, day), _minutes().take(minutes), _numbers(2).take(second)]
    if decimals:
        fraction = micros % 1_000_000 // 10 ** (6 - decimals)
        parts += [np.array(b"."), _numbers(decimals).take(fraction)]
    if zone:  # numpy has no bytes of length 0
        parts.append(np.array(zone.encode()))
    return _side_by_side(parts, valid)


def _microseconds(times: pa.TimestampArray) -> npt.NDArray[np.int64]:
    micros = times.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
    filled: npt.NDArray[np.int64] = micros.fill_null(0).to_numpy()
    return filled


def _days(seconds: npt.NDArray[np.int64], style: str) -> Text:
    encoded: Any = pa.array(seconds // _SECONDS_A_DAY).dictionary_encode()
    days = np.datetime_as_string(encoded.dictionary.to_numpy().astype("M8[D]")).tolist()
    texts = [
        style.format(year=year, month=month, day=day, name=_MONTHS[int(month) - 1], number=int(day))
        for year, month, day in (day.split("-") for day in days)
    ]
    indices: npt.NDArray[np.int32] = encoded.indices.to_numpy()
    return np.array(texts, bytes).take(indices)


@cache
def _minutes() -> Text:
    return np.array(
        [f"{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60)], bytes
    )


@cache
def _numbers(digits: int) -> Text:
    return np.array([f"{number:0{digits}}" for number in range(10**digits)], bytes)


def _side_by_side(parts: list[Text], valid: npt.NDArray[np.bool_]) -> pa.StringArray:
    """Put the parts, each of one width, side by side in every row."""
    rows: Any = np.empty(len(valid), [(f"f{at}", part.dtype) for at, part in enumerate(parts)])
    for at, part in enumerate(parts):
        rows[f"f{at}"] = part
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.dtype.itemsize)
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.StringArray.from_buffers(
        len(rows), pa.py_buffer(offsets), pa.py_buffer(rows.view(np.uint8)), bitmap
    )
