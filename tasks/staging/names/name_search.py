"""Searching names for the parts they consist of, and refusing those that are not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.errors import StagingError

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence


def foreign_name(name: str, tree: str, folder: str) -> StagingError:
    """The error for a name that is not one of ours."""
    path = f"{tree}/{folder}/{name}" if folder else name
    return StagingError(
        f"{path!r} is no name of a {tree} file of this version; "
        "move it out of the staging, or use the version that wrote it"
    )


def find_all(
    pattern: re.Pattern[str], names: Sequence[str], tree: str, folder: str
) -> list[tuple[str, ...]]:
    """The groups of a `names_pattern` in each name, which begins with `SPAN`.

    All are searched at once, which takes a fifth of the time of searching one after the other.

    Raises:
        StagingError: A name is not one of ours.
    """
    found: list[tuple[str, ...]] = pattern.findall("/".join([*names, ""]))
    since = pattern.groupindex["since"] - 1
    backward = [parts for parts in found if parts[since] >= parts[since + 1]]
    if backward or len(found) < len(names):
        for name in names:
            parts = pattern.findall(f"{name}/")
            if not parts or parts[0] in backward:
                raise foreign_name(name, tree, folder)
    return found
