"""Whether a day agrees with its seal: its files, the sums of them, and the lines they give."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from tasks.errors import StagingError
from tasks.plugin.fields import MAPPING_VERSION
from tasks.reports.line_check import check_lines
from tasks.staging.footers import footer_of, sha256_of_file
from tasks.staging.seals.day_sums import by_tree, sums_of
from tasks.staging.storage.files import FileGone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tasks.staging.footers import Footer
    from tasks.staging.seals.seal import Seal, SealedFile
    from tasks.staging.store import Store


@dataclass
class DayCounts:
    """What was verified, added up over days.

    Attributes:
        days: Days of which everything agrees with their newest seal.
        files: Files whose SHA-256 agrees.
        lines: Attempts whose line, rendered anew from raw, agrees.
        lines_not_comparable: Attempts of which that cannot be told: another version of the mapping
            made the line, or the day was normalized anew.
        changed_days: Days with files that no seal names: they came since.
        replaced_days: Those of them whose sealed files were replaced, so that nothing was compared.
        dropped_days: Days that retention dropped.
    """

    days: int = 0
    files: int = 0
    lines: int = 0
    lines_not_comparable: int = 0
    changed_days: int = 0
    replaced_days: int = 0
    dropped_days: int = 0

    def add(self, part: DayCounts) -> None:
        """Add the counts of a part."""
        for one in fields(DayCounts):
            setattr(self, one.name, getattr(self, one.name) + getattr(part, one.name))


def verify_day(
    store: Store,
    seal: Seal,
    counts: DayCounts,
    list_now: Callable[[], Mapping[str, int]],
    is_dropped: Callable[[], bool],
) -> None:
    """Verify a day against its newest seal.

    Args:
        store: The staging.
        seal: The seal.
        counts: What is verified is counted here.
        list_now: Lists the files of the day that count now, with the rows that their names tell.
        is_dropped: Whether retention has dropped the day; asked where files are missing.

    Raises:
        FileGone: A file was replaced meanwhile.
        StagingError: Something does not agree, or cannot be read.
    """
    missing = _hash(store, seal, counts)
    current = list_now()  # after that: what replaces a file is there before the file goes
    dropped = bool(missing) and is_dropped()
    if dropped:
        counts.dropped_days += 1
    else:
        if missing and not _are_replaced(missing, seal, current):
            raise StagingError(f"{missing[0].path} is not there any more; restore it from a backup")
        counts.changed_days += current.keys() != seal.paths
        if missing:
            counts.replaced_days += 1
            return
    footers = [footer_of(store, file.path) for file in seal.files if file not in missing]
    _compare_sums(store, seal, footers, {file.tree for file in missing})
    if not dropped:
        _compare_lines(store, seal, by_tree(footers), counts)
        counts.days += 1


def _hash(store: Store, seal: Seal, counts: DayCounts) -> list[SealedFile]:
    """Compare the hashes of the sealed files, and return the files that are missing."""
    missing = []
    for file in seal.files:
        try:
            found = sha256_of_file(store, file.path)
        except FileGone:
            missing.append(file)
            continue
        if found != file.sha256:
            raise StagingError(
                f"{file.path} was changed: its SHA-256 is {found}, not {file.sha256}; restore it "
                "from a backup"
            )
        counts.files += 1
    return missing


def _are_replaced(missing: Collection[SealedFile], seal: Seal, current: Mapping[str, int]) -> bool:
    """Whether other files have come in the place of all that are missing, with as many rows.

    Compaction does that, and normalizing anew.
    """
    sealed = {file.path: file.rows for file in seal.files}
    for kind in {_kind(file.path) for file in missing}:
        before, now = (
            {path: rows for path, rows in files.items() if _kind(path) == kind}
            for files in (sealed, current)
        )
        if not now.keys() - before.keys() or sum(now.values()) < sum(before.values()):
            return False
    return True


def _kind(path: str) -> str:
    """Whose rows a file has: an event is in raw, and either normalized or rejected."""
    tree = path.partition("/account=")[0]
    if tree == "rejected" and "/extract-" in path:
        return "malformed"
    return "normalized" if tree == "rejected" else tree


def _compare_sums(
    store: Store, seal: Seal, footers: Collection[Footer], gone: Collection[str]
) -> None:
    """Compare the rows of files and the sums of all trees, except those that are gone."""
    sealed = {file.path: file.rows for file in seal.files}
    for footer in footers:
        if footer.rows != sealed[footer.path]:
            raise StagingError(
                f"{footer.path} has {footer.rows:,} rows, its seal tells of {sealed[footer.path]:,}"
            )
    found, told = sums_of(store, seal.day, footers).by_tree(), seal.sums.by_tree()
    for tree in sorted({*found, *told} - {*gone}):
        for what in sorted({*found.get(tree, {}), *told.get(tree, {})}):
            counted, said = (sums.get(tree, {}).get(what, 0) for sums in (found, told))
            if counted != said:
                raise StagingError(f"its files have {counted:,} {what}, it tells of {said:,}")
    if not gone and not seal.sums.add_up:
        raise StagingError("its raw events are not its normalized and rejected ones")


def _compare_lines(
    store: Store, seal: Seal, trees: dict[str, list[Footer]], counts: DayCounts
) -> None:
    """Compare the lines of the ledgers with those that raw gives."""
    attempts = sum(sums.attempts for sums in seal.sums.destinations.values())
    if any(version != MAPPING_VERSION for version in seal.mapping_versions):
        counts.lines_not_comparable += attempts
        return
    check = check_lines(store, seal.day, trees)
    counts.lines += check.agree
    counts.lines_not_comparable += check.not_comparable
    if check.fault:
        raise StagingError(check.fault)
