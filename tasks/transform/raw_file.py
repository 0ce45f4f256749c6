"""What becomes of one raw file: a normalized file, and a rejected one where there are rejects."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import StagingError
from tasks.staging import file_names
from tasks.staging.rejected_file_names import rejected_files, rejected_name
from tasks.staging.repair import how_to_repair
from tasks.staging.schemas import REJECTED_SCHEMA, TIME
from tasks.transform import processes

if TYPE_CHECKING:
    from datetime import date

    from tasks.staging.file_names import NormalizedFile, RawFile
    from tasks.staging.store import Store
    from tasks.staging.writer import Writer

_RAW_COLUMNS = ["event_id", "created_at", "type", "name", "critical", "event"]


@dataclass(frozen=True)
class FileToNormalize:
    """A raw file to be normalized.

    Attributes:
        store: The staging.
        account: Whose events.
        day: Their day.
        device_address: HALO_DEVICE_ADDRESS, the CEF `dvc`.
        run_id: Kept with what is rejected.
        raw: The file.
        previous: What became of it before.
        dropped: Whether retention has dropped its day.
    """

    store: Store
    account: str
    day: date
    device_address: str
    run_id: str
    raw: RawFile
    previous: NormalizedFile | None
    dropped: bool

    @property
    def generation(self) -> int:
        """Of what comes of it now."""
        return self.previous.generation + 1 if self.previous else 1

    def path(self, stage: str, name: str) -> str:
        """The path of a file of its day."""
        return f"{self.store.folder(stage, self.account, self.day)}/{name}"


@dataclass
class Made:
    """What came of one raw file.

    Attributes:
        rows: Events that were normalized.
        rejected: Events that could not be.
        unknown_types: Events of each type that the catalogue does not know.
        warnings: What went wrong on the way and did no harm.
    """

    rows: int = 0
    rejected: int = 0
    unknown_types: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def publish(file: FileToNormalize) -> Made:
    """Write the rejected, then the normalized file of a raw file, then remove older ones.

    Raises:
        StagingError: The raw file cannot be read or was altered, or a file cannot be written.
    """
    from tasks.plugin.fields import NORMALIZED_SCHEMA

    made = Made()
    ids: list[pa.ChunkedArray] = []
    with file.store.writer(NORMALIZED_SCHEMA, "normalized", file.account, file.day) as rows:
        with ExitStack() as stack:  # entered last, the rejected file is published first
            _fill(file, rows, made, ids, stack)
        rows.name = file_names.normalized_name(
            file.raw.key,
            file.generation,
            made.rows,
            lost=_lost(file, ids),
            unknown=bool(made.unknown_types),
        )
    if file.previous:
        _remove_older(file, file.previous)
    return made


def _fill(
    file: FileToNormalize, rows: Writer, made: Made, ids: list[pa.ChunkedArray], stack: ExitStack
) -> None:
    """Normalize a raw file, some rows at a time, into `rows` and a rejected file if need be."""
    from tasks.plugin.catalogue import unknown_types

    rejects: Writer | None = None
    for batch in file.store.batches(file.path("raw", file.raw.name), _RAW_COLUMNS):
        raw = pa.Table.from_batches([batch])
        result = processes.normalize(raw, file.device_address, made.warnings)
        rows.write(result.rows)
        made.rows += result.rows.num_rows
        made.unknown_types.update(unknown_types(result.rows))
        if file.previous:
            ids.append(result.rows["event_id"])
        if result.rejected.num_rows:
            if rejects is None:
                rejects = stack.enter_context(
                    file.store.writer(REJECTED_SCHEMA, "rejected", file.account, file.day)
                )
            rejects.write(_rejected(result.rejected, file.run_id))
            made.rejected += result.rejected.num_rows
    if made.rows + made.rejected != file.raw.rows:
        raise StagingError(
            f"{file.path('raw', file.raw.name)} has {file.raw.rows} events by its name, and "
            f"{made.rows} normalized and {made.rejected} rejected ones came of it: the file was "
            f"altered; {how_to_repair(file.path('raw', file.raw.name))}"
        )
    if rejects is not None:
        rejects.name = rejected_name(file.raw.key, file.generation, made.rejected)


def _rejected(rejected: pa.Table, run_id: str) -> pa.Table:
    """What the normalizer rejected, in `REJECTED_SCHEMA`."""
    count = rejected.num_rows
    now = pa.scalar(datetime.now(UTC), TIME)
    return pa.table(
        {
            "event_id": rejected["event_id"],
            "created_at": rejected["created_at"],
            "stage": pa.repeat("transform", count),
            "reason": rejected["reason"],
            "event": rejected["event"],
            "rejected_at": pa.repeat(now, count),
            "run_id": pa.repeat(run_id, count),
        }
    ).cast(REJECTED_SCHEMA)


def _lost(file: FileToNormalize, normalized_ids: list[pa.ChunkedArray]) -> int:
    """Events that were normalized once and are rejected now, over all generations.

    Counts tell which days are settled. Without these events in the count, a later event would take
    the place of one that was delivered and is no longer there, and would never be sent.
    """
    import pyarrow.compute as pc

    from tasks.staging.ledger import most_delivered

    if file.previous is None:
        return most_delivered(file.store, file.account, file.day) if file.dropped else 0
    path = file.path("normalized", file.previous.name)
    try:
        before = file.store.read(path, ["event_id"])["event_id"]
    except StagingError:  # it is damaged, and replaced: none of its events is known to be kept
        return file.previous.lost + file.previous.rows
    chunks = [chunk for column in normalized_ids for chunk in column.chunks]
    ids = pa.chunked_array(chunks, pa.string())
    kept = int(pc.sum(pc.is_in(before, value_set=ids)).as_py() or 0)
    return file.previous.lost + len(before) - kept


def _remove_older(file: FileToNormalize, previous: NormalizedFile) -> None:
    """Remove the generation that was replaced: normalized, then rejected."""
    file.store.remove(file.path("normalized", previous.name))
    names = file.store.files("rejected", file.account, file.day)
    for old in rejected_files(names, file_names.partition(file.account, file.day)):
        if old.key == file.raw.key and old.generation <= previous.generation:
            file.store.remove(file.path("rejected", old.name))
