"""What an account's day comes to: the files that count, and the sums of what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.staging import day_files
from tasks.staging.deliveries.last_attempts import last_of
from tasks.staging.deliveries.ledger import Ledger, ledger_names
from tasks.staging.footers import Footer, read_slice, slices
from tasks.staging.seals.seal import DestinationSums, RejectedSums, Sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from tasks.staging.day_files import DayFiles
    from tasks.staging.store import Store

_LEDGER = "deliveries/destination="
_ATTEMPTS = ["event_id", "created_at", "attempt", "status", "error", "attempted_at"]
_TEMPORARY = ("range", "dropped-")
"""The marks that go or move although nothing of the day changes; see `file_names.RawFile`."""


def rows_of_files(
    store: Store,
    account: str,
    day: date,
    state: DayFiles,
    ledgers: Mapping[str, Iterable[str]],
) -> dict[str, int]:
    """The rows that names tell of each file of a day that counts, by its path, sorted.

    Notes of the ledger and marks that come and go are left out.

    Args:
        store: The staging.
        account: Whose day it is.
        day: The day.
        state: Its raw, normalized and rejected files.
        ledgers: Names of the ledger's files of each destination.

    Raises:
        StagingError: A name is not one of ours.
    """
    found: dict[str, int] = {}
    for tree, files in (
        ("raw", [file for file in state.raw if not file.mark.startswith(_TEMPORARY)]),
        ("normalized", [*state.current.values()]),
        ("rejected", [*state.rejected, *state.malformed]),
    ):
        folder = store.folder(tree, account, day)
        found |= {f"{folder}/{file.name}": file.rows for file in files}
    for destination, names in ledgers.items():
        ledger = Ledger(store, destination, account, day)
        attempts, _ = ledger.files(names)
        found |= {f"{ledger.folder}/{file.name}": file.rows for file in attempts}
    return dict(sorted(found.items()))


def rows_of_files_now(store: Store, account: str, day: date) -> dict[str, int]:
    """What `rows_of_files` tells of a day as it is now.

    Raises:
        StagingError: The day cannot be listed.
    """
    ledgers = ledger_names(store, account, day)
    return rows_of_files(store, account, day, day_files.day_of(store, account, day), ledgers)


def sums_of(store: Store, day: date, files: Iterable[Footer]) -> Sums:
    """What files of a day come to.

    Raises:
        FileGone: A file is not there any more.
        StagingError: One cannot be read.
    """
    trees = by_tree(files)
    rejected = trees.get("rejected", [])
    extract = sum(file.rows for file in rejected if "/extract-" in file.path)
    return Sums(
        raw=_rows(trees.get("raw", [])),
        normalized=_rows(trees.get("normalized", [])),
        rejected=RejectedSums(extract=extract, transform=_rows(rejected) - extract),
        destinations={
            tree.removeprefix(_LEDGER): DestinationSums(
                attempts=_rows(found), delivered=_delivered(store, day, found)
            )
            for tree, found in sorted(trees.items())
            if tree.startswith(_LEDGER)
        },
    )


def by_tree(files: Iterable[Footer]) -> dict[str, list[Footer]]:
    """Files by the tree they lie in: `raw`, …, `deliveries/destination=…`."""
    trees: dict[str, list[Footer]] = {}
    for file in files:
        trees.setdefault(file.path.partition("/account=")[0], []).append(file)
    return trees


def _rows(files: Iterable[Footer]) -> int:
    return sum(file.rows for file in files)


def _delivered(store: Store, day: date, files: list[Footer]) -> int:
    """Events whose last attempt is `confirmed` or `sent`."""
    delivered = 0
    for window in slices(day, files):
        rows = read_slice(store, "deliveries", files, _ATTEMPTS, window)
        tried = rows.group_by("event_id").aggregate([])
        delivered += int(last_of(rows, tried).delivered.sum())
    return delivered
