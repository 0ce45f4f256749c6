"""What becomes of one raw file: a normalized file, and a rejected one where there are rejects."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import StagingError
from tasks.staging.names import file_names
from tasks.staging.names.rejected_file_names import rejected_files, rejected_name
from tasks.staging.schemas import REJECTED_SCHEMA
from tasks.staging.storage.repair import how_to_repair
from tasks.transform import processes
from tasks.transform.conversion import RAW_COLUMNS, ConversionRequest, FileResult, fill

if TYPE_CHECKING:
    from datetime import date

    from tasks.staging.names.file_names import NormalizedFile, RawFile
    from tasks.staging.store import Store
    from tasks.transform.conversion import ConvertedFile


_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of a raw file at most that a process normalizes: it has the whole file in memory."""


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

    def path(self, tree: str, name: str) -> str:
        """The path of a file of its day."""
        return f"{self.store.folder(tree, self.account, self.day)}/{name}"


def publish(file: FileToNormalize) -> FileResult:
    """Write the rejected, then the normalized file of a raw file, then remove older ones.

    Raises:
        StagingError: The raw file cannot be read or was altered, or a file cannot be written.
    """
    converted, warnings = _from_process(file)
    result = _publish_converted(file, converted) if converted else _publish_here(file)
    if file.previous:
        _remove_older(file, file.previous)
    result.ids.clear()
    result.warnings += warnings
    return result


def _from_process(file: FileToNormalize) -> tuple[ConvertedFile | None, list[str]]:
    """What the process of this thread makes of a raw file, if it has one; and what went wrong."""
    warnings: list[str] = []
    if not processes.has_process():
        return None, warnings
    path = file.path("raw", file.raw.name)
    with file.store.backend.open(path) as source:
        if source.size() > _IN_MEMORY:
            return None, warnings
        content = source.read_buffer()
    keep_ids = file.previous is not None
    request = ConversionRequest(content, path, file.device_address, file.run_id, keep_ids)
    return processes.convert(request, warnings), warnings


def _publish_converted(file: FileToNormalize, converted: ConvertedFile) -> FileResult:
    """Publish what a process has made of a raw file."""
    result = converted.result
    _require_all(file, result)
    if converted.rejected is not None:
        with file.store.new_file("rejected", file.account, file.day) as new_file:
            new_file.sink.write(converted.rejected)
            new_file.name = rejected_name(file.raw.key, file.generation, result.rejected)
    with file.store.new_file("normalized", file.account, file.day) as new_file:
        new_file.sink.write(converted.normalized)
        new_file.name = _normalized_name(file, result)
    return result


def _publish_here(file: FileToNormalize) -> FileResult:
    """Normalize a raw file in this process, whatever its size, and publish what came of it."""
    from tasks.plugin.fields import NORMALIZED_SCHEMA

    with file.store.writer(NORMALIZED_SCHEMA, "normalized", file.account, file.day) as rows:
        with ExitStack() as stack:  # entered last, the rejected file is published first
            result, rejects = fill(
                file.store.batches(file.path("raw", file.raw.name), RAW_COLUMNS),
                rows,
                lambda: stack.enter_context(
                    file.store.writer(REJECTED_SCHEMA, "rejected", file.account, file.day)
                ),
                device_address=file.device_address,
                run_id=file.run_id,
                keep_ids=file.previous is not None,
            )
            _require_all(file, result)
            if rejects is not None:
                rejects.name = rejected_name(file.raw.key, file.generation, result.rejected)
        rows.name = _normalized_name(file, result)
    return result


def _require_all(file: FileToNormalize, result: FileResult) -> None:
    if result.normalized + result.rejected != file.raw.rows:
        raise StagingError(
            f"{file.path('raw', file.raw.name)} has {file.raw.rows} events by its name, and "
            f"{result.normalized} normalized and {result.rejected} rejected ones came of it: "
            f"the file was altered; {how_to_repair(file.path('raw', file.raw.name))}"
        )


def _normalized_name(file: FileToNormalize, result: FileResult) -> str:
    return file_names.normalized_name(
        file.raw.key,
        file.generation,
        result.normalized,
        lost=_lost(file, result.ids),
        unknown=bool(result.unknown_types),
    )


def _lost(file: FileToNormalize, normalized_ids: list[pa.ChunkedArray]) -> int:
    """Events that were normalized once and are rejected now, over all generations.

    Counts tell which days are settled. Without these events in the count, a later event would take
    the place of one that was delivered and is no longer there, and would never be sent.
    """
    import pyarrow.compute as pc

    from tasks.staging.deliveries.ledger import most_delivered

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
