"""Rendering alone, side by side in one run: normalized rows in memory in, CEF lines out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.cef.render import render
from tests.bench import Measured, one_thread
from tests.bench.render_events import synthetic_events
from tests.bench.render_peers import DuckDB, render_cefevent, render_loop, render_polars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = 1_000_000
_BATCH_ROWS = 65_536
_LOOP_ROWS = 100_000
_CEFEVENT_ROWS = 20_000
_COMPARED_ROWS = 5_000
_ROUNDS = 3

_TIMES_LOOP = 12.0
_TIMES_POLARS = 1.5

_UNIT = "events per CPU-second"


def measure(rows: int = ROWS) -> Iterator[Measured]:
    """Yield the rate of each renderer, and the ratios between them.

    Figures are events per second of CPU time of the whole process, pyarrow on one thread. The
    slow ones render the first rows only.
    """
    with one_thread():
        events = synthetic_events(rows)
        size = _check_agreement(events.slice(0, _COMPARED_ROWS))
        few, fewer = events.slice(0, _LOOP_ROWS), events.slice(0, _CEFEVENT_ROWS)
        best = _best_rates(
            {
                "ours": (lambda batch: render(batch).lines, events),
                "polars concat_str": (render_polars, events),
                "duckdb concat_ws": (DuckDB(), events),
                "f-string loop": (render_loop, few),
                "cefevent": (render_cefevent, fewer),
            }
        )
    ours = best["ours"]
    note = f"{rows:,} lines of {size:.0f} bytes"
    yield Measured("ours", ours, None, _UNIT, note)
    for name, rate in best.items():
        if name != "ours":
            yield Measured(name, rate, None, _UNIT)
    loop, polars = best["f-string loop"], best["polars concat_str"]
    yield Measured(
        "render, rows in memory before the clock", ours / loop, _TIMES_LOOP, "times f-string loop"
    )
    yield Measured(
        "render, rows in memory before the clock", ours / polars, _TIMES_POLARS, "times polars"
    )


def _best_rates(
    renderers: dict[str, tuple[Callable[[pa.RecordBatch], Any], pa.Table]],
) -> dict[str, float]:
    """Events per CPU-second of each renderer: the best of some rounds, taken in turns."""
    best = dict.fromkeys(renderers, 0.0)
    for _ in range(_ROUNDS):
        for name, (renderer, events) in renderers.items():
            batches = events.combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)
            started = time.process_time()
            for batch in batches:
                renderer(batch)
            rate = events.num_rows / (time.process_time() - started)
            best[name] = max(best[name], rate)
    return best


def _check_agreement(events: pa.Table) -> float:
    """Compare ours with the lines of the others; return the mean size of a line, in bytes."""
    batch = events.combine_chunks().to_batches()[0]
    ours = render(batch).lines
    peers: list[Callable[[pa.RecordBatch], Any]] = [render_loop, render_polars, DuckDB()]
    for peer in peers:
        for line, other in zip(ours.to_pylist(), list(map(str, peer(batch))), strict=True):
            if line != other:
                raise AssertionError(f"{peer} differs from ours:\n{other}\n{line}")
    return float(pc.mean(pc.binary_length(ours)).as_py())
