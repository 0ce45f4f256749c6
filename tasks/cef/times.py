"""Points in time as text, without `strftime` a row: days and minutes are looked up in tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECONDS_A_DAY = 86_400
_YEARS_OF_FOUR_DIGITS = (-719_528, 2_932_896)  # 0000-01-01 and 9999-12-31, in days since 1970

Text = npt.NDArray[np.bytes_]


def receipt_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` (UTC) as CEF's `rt`: `Aug 02 2016 16:24:30 UTC`.

    Null stays null, and so does a year that four digits can't hold.
    """
    seconds, valid = _seconds(times)
    return _fixed_width({"day": _days(seconds, "cef"), **_clock(seconds), "zone": b" UTC"}, valid)


def device_times(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` as LEEF's `devTime`, in the format `MMM dd yyyy HH:mm:ss.SSS z`."""
    seconds, valid = _seconds(times)
    parts = {"day": _days(seconds, "cef"), **_clock(seconds)}
    return _fixed_width({**parts, "fraction": _fraction(times, 3), "zone": b" UTC"}, valid)


def rfc3339(times: pa.TimestampArray) -> pa.StringArray:
    """Write `times` as RFC 3339 has it, to the microsecond: `2016-08-02T16:24:30.726000Z`."""
    seconds, valid = _seconds(times)
    parts = {"day": _days(seconds, "iso"), **_clock(seconds)}
    return _fixed_width({**parts, "fraction": _fraction(times, 6), "zone": b"Z"}, valid)


def _microseconds(times: pa.TimestampArray) -> npt.NDArray[np.int64]:
    micros = times.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
    filled: npt.NDArray[np.int64] = micros.fill_null(0).to_numpy()
    return filled


def _seconds(times: pa.TimestampArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    seconds = _microseconds(times) // 1_000_000
    first, last = (day * _SECONDS_A_DAY for day in _YEARS_OF_FOUR_DIGITS)
    valid = (seconds >= first) & (seconds < last + _SECONDS_A_DAY)
    if times.null_count:
        valid &= times.is_valid().to_numpy(zero_copy_only=False)
    return np.where(valid, seconds, 0), valid


def _days(seconds: npt.NDArray[np.int64], style: str) -> Text:
    days, codes = np.unique(seconds // _SECONDS_A_DAY, return_inverse=True)
    parts = [day.split("-") for day in np.datetime_as_string(days.astype("M8[D]")).tolist()]
    if style == "iso":
        texts = [f"{year}-{month}-{day}T" for year, month, day in parts]
    else:
        texts = [f"{_MONTHS[int(month) - 1]} {day} {year} " for year, month, day in parts]
    return np.array(texts, bytes).take(codes)


def _clock(seconds: npt.NDArray[np.int64]) -> dict[str, Text]:
    minutes, second = np.divmod(seconds % _SECONDS_A_DAY, 60)
    return {"minute": _minute_texts().take(minutes), "second": _numbers(60, 2).take(second)}


def _fraction(times: pa.TimestampArray, digits: int) -> Text:
    micros = _microseconds(times) % 1_000_000
    return np.char.add(b".", _numbers(10**digits, digits)[micros // 10 ** (6 - digits)])


@cache
def _minute_texts() -> Text:
    return np.array(
        [f"{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60)], bytes
    )


@cache
def _numbers(count: int, digits: int) -> Text:
    return np.array([f"{number:0{digits}}" for number in range(count)], bytes)


def _fixed_width(parts: dict[str, Text | bytes], valid: npt.NDArray[np.bool_]) -> pa.StringArray:
    """Put the parts, each of one width, side by side in every row."""
    arrays: dict[str, Any] = {name: np.asarray(part) for name, part in parts.items()}
    rows = np.empty(len(valid), [(name, part.dtype) for name, part in arrays.items()])
    for name, part in arrays.items():
        rows[name] = part
    width = rows.dtype.itemsize
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(width)
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.StringArray.from_buffers(
        len(rows), pa.py_buffer(offsets), pa.py_buffer(rows.view(np.uint8)), bitmap
    )
