"""The days of an account of which something is left to be normalized or cleared away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.staging.day_cache import DayCache
from tasks.staging.day_files import day_from_listing, list_days, plainly_done
from tasks.staging.names.file_names import TREES

if TYPE_CHECKING:
    from datetime import date

    from tasks.staging.day_files import DayFiles
    from tasks.staging.store import Store


def unfinished(store: Store, account: str) -> dict[date, DayFiles]:
    """The days of an account that have raw files waiting, leftovers or orphans; by names alone.

    Days on which nothing was left, and which have not changed since, are not listed. The caller
    holds the account's lock.

    Raises:
        StagingError: A name is not one of ours.
    """
    parents = [store.folder(tree, account) for tree in TREES[:3]]
    cache = DayCache(store, f"account={account}", "unfinished", parents)
    found = {}
    for day, dropped, names in list_days(store, account, changed=cache.must_list):
        raw, normalized, rejected = names
        if not rejected and plainly_done(raw, normalized):
            cache.keep(day, answer=True)
            continue
        state = day_from_listing(store, account, day, names, dropped=dropped)
        if state.waiting or state.leftovers or state.orphans:
            found[day] = state
        # every mark that a day was dropped is to be listed
        elif not (dropped or state.replaced or state.compacted_meanwhile):
            cache.keep(day, answer=True)
    cache.save()
    return found
