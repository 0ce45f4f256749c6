"""The days of an account of which something is left to be normalized or cleared away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.staging.day_cache import DayCache
from tasks.staging.names.file_names import STAGES
from tasks.staging.normalized import listed, plainly_done, sorted_out

if TYPE_CHECKING:
    from datetime import date

    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store


def unfinished(store: Store, account: str) -> dict[date, DayFiles]:
    """The days of an account that have raw files waiting, leftovers or orphans; by names alone.

    Days that did not change since nothing of them was left are not listed; who asks so holds the
    account's lock.

    Raises:
        StagingError: A name is not one of ours.
    """
    parents = [store.folder(stage, account) for stage in STAGES[:3]]
    cache = DayCache(store, f"account={account}", "unfinished", parents)
    found = {}
    for day, dropped, names in listed(store, account, changed=cache.must_list):
        raw, normalized, rejected = names
        if not rejected and plainly_done(raw, normalized):
            cache.keep(day, answer=True)
            continue
        state = sorted_out(store, account, day, names, dropped=dropped)
        if state.waiting or state.leftovers or state.orphans:
            found[day] = state
        # every mark that a day was dropped is to be listed
        elif not (dropped or state.replaced or state.crossed):
            cache.keep(day, answer=True)
    cache.save()
    return found
