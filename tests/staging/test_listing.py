"""Trees that change while their names are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tasks.staging import day_files
from tasks.staging.store import open_store
from tasks.staging.unfinished import unfinished
from tests.staging.staged_data import DAY, at, stage, transform, window

if TYPE_CHECKING:
    from tasks.staging.store import Store

EVENTS = [(f"e{n}", at(2 + n / 20)) for n in range(10)]


@pytest.mark.parametrize("listing", ["names_by_folder", "names"])
def test_what_appears_while_names_are_listed_is_no_orphan(
    store: Store, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However trees change meanwhile, each normalized file is seen with its raw file."""
    stage(store, window(2, 3), EVENTS[:1])
    transform(store)
    other = open_store(str(store.root))
    list_it, appeared = getattr(store.backend, listing), 1

    def list_and_go_on(*arguments: Any) -> Any:
        nonlocal appeared
        found = list_it(*arguments)
        stage(other, window(2, 3), EVENTS[: appeared + 1])
        transform(other)
        appeared += 1
        return found

    monkeypatch.setattr(store.backend, listing, list_and_go_on)
    day = DAY.date()
    if listing == "names_by_folder":
        days = [day_files.days(store, "alpha")[day], unfinished(store, "alpha")[day]]
    else:
        days = [day_files.day_of(store, "alpha", day)]
        assert not any(file.gone for file in day_files.current_files(store, "alpha", day))
    for state in days:
        assert not state.orphans
        assert state.leftovers == []
    assert appeared > 3
