"""What the answers of `status` and `audit` have in common, and how JSON shows them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date, datetime

from tasks.time_window import Window, isoformat


@dataclass(kw_only=True)
class Answer:
    """An answer about a staging; JSON shows only what each kind of answer adds.

    Attributes:
        problems: What cannot be read, is foreign or does not add up: where, and what to do.
        notes: What is worth knowing.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def as_json(value: object) -> object:
    """What `json.dumps` cannot show by itself: its `default`. Times are ISO 8601 text in UTC."""
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Window):
        return [value.since, value.until]
    common = {field.name for field in fields(Answer)}
    return {name: part for name, part in vars(value).items() if name not in common}
