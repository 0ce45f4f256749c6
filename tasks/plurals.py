"""Counts in messages: one of something is not called as several are."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A count and what is counted, as text: "1 day is" or "1,200 days are".

    Args:
        count: How many.
        one: What follows the number 1.
        many: What follows any other number; by default `one` with an "s".
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
