"""The query of `GET /v1/events`, read as the Halo API reads it (source: the Halo clients)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FILTERS = ("type", "group_id", "server_id", "server_platform", "critical")
SORTS = {"created_at.asc": "asc", "created_at.desc": "desc"}


class QueryError(Exception):
    """A parameter that the API refuses.

    Args:
        status: the HTTP status it answers with (400: not understood, 422: out of range).
        message: what is wrong, as the answer's body says it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Query:
    """One listing's parameters.

    Attributes:
        since, until: microseconds since 1970 (UTC), None where not given.
        per_page: as asked for, None where not given.
        page: from 1.
        sort: "asc", "desc" or "" (no order asked for).
        filters: (parameter, lower-case accepted values), in a fixed order.
        rest: the query string without `page`, for `pagination.next`.
    """

    since: int | None
    until: int | None
    per_page: int | None
    page: int
    sort: str
    filters: tuple[tuple[str, frozenset[str]], ...]
    rest: str


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of a time; one without an offset is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def parse_query(raw: bytes) -> Query:
    """Read a raw query string; a repeated parameter keeps its last value.

    Raises:
        QueryError: a time, number or order that the API does not understand.
    """
    given = dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True))
    sort = given.get("sort_by", "")
    if sort and sort not in SORTS:
        raise QueryError(400, f"sort_by {sort!r} is not one of {', '.join(SORTS)}")
    return Query(
        since=_time(given, "since"),
        until=_time(given, "until"),
        per_page=_number(given, "per_page"),
        page=_number(given, "page") or 1,
        sort=SORTS.get(sort, ""),
        filters=tuple(
            (name, frozenset(value.lower() for value in given[name].split(",")))
            for name in FILTERS
            if given.get(name)
        ),
        rest=urlencode({name: value for name, value in given.items() if name != "page"}),
    )


def _time(given: dict[str, str], name: str) -> int | None:
    if not (text := given.get(name)):
        return None
    try:
        return microseconds(datetime.fromisoformat(text))
    except ValueError:
        raise QueryError(400, f"{name} {text!r} is not an ISO 8601 time") from None


def _number(given: dict[str, str], name: str) -> int | None:
    if (text := given.get(name)) is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise QueryError(422, f"{name} {text!r} is not a number from 1")
    return int(text)
