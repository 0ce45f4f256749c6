"""A page's bytes → its events, no value changed and none lost.

The fast path builds no event as Python objects: msgspec cuts the page into the bytes of each
event, and decodes five fields of each. A page with anything that msgspec refuses (lone surrogates,
`NaN`, an unescaped control character, too deep nesting, a field of another type than Halo's, a
missing field) takes the lenient path, event by event.
"""

from __future__ import annotations

import hashlib
import json
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from tasks.halo.responses import excerpt
from tasks.raw_json import NotJson, elements, members
from tasks.retry_policy import RetryableFault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from typing_extensions import Buffer


LONGEST_ID = 256
"""Characters of an id; Halo's have 32."""

_LONGEST_DATE = 64
_NO_ERROR = {b"null", b"false", b'""', b"[]", b"{}"}
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Event(msgspec.Struct, gc=False):
    """The fields of an event that are columns of raw; `created_at` is the API's text."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
    created_at: str
    type: str | None = None
    name: str | None = None
    critical: bool | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """An item without a usable id or date, and the reason.

    Attributes:
        event_id: Its id, or the SHA-256 of its text in hex where it has none.
        created_at: The API's text, None where there is none.
        reason: Why it is no event.
        text: Its JSON as the API sent it.
    """

    event_id: str
    created_at: str | None
    reason: str
    text: bytes


@dataclass(slots=True)
class Page:
    """One answer to a listing.

    Attributes:
        count: How many events the whole listing has, None where the API does not say.
        keys: An id for each item of the page in the API's order: of malformed ones too.
        events: The well-formed events, in the API's order.
        texts: The JSON of each of `events`, as it was sent.
        malformed: The other items.
        size: Bytes of the answer.
        as_of: The time, by the earlier clock, until which the page can be complete; set by the
            client.
        released_dates: The `created_at` of the first and the last event, once it is released.
    """

    count: int | None
    keys: list[str]
    events: list[Event]
    texts: Sequence[Buffer]
    malformed: list[Malformed]
    size: int = field(default=0, compare=False)
    as_of: datetime | None = None
    released_dates: tuple[str, ...] = ()

    @property
    def dates(self) -> tuple[str, ...]:
        """The `created_at` of the first and the last event, as the API sent them, if any."""
        return self.released_dates or tuple(
            event.created_at for event in self.events[:1] + self.events[-1:]
        )

    def release(self) -> None:
        """Free the memory of the events; the rest of the page takes little."""
        self.released_dates = tuple(date[:_LONGEST_DATE] for date in self.dates)
        self.events, self.texts, self.malformed = [], (), []


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw]
    count: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    errors: msgspec.Raw = msgspec.Raw(b"null")


class _Columns(msgspec.Struct):
    events: list[Event]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_COLUMNS = msgspec.json.Decoder(_Columns)
_EVENT = msgspec.json.Decoder(Event)


def decode(body: bytes) -> Page:
    """Read a page.

    Raises:
        RetryableFault: The body is no page: it is not JSON, is cut off, or holds an error.
    """
    try:
        envelope = _ENVELOPE.decode(body)
        events = _COLUMNS.decode(body).events
    except _REFUSED:
        return _decode_leniently(body)
    _check(bytes(envelope.error), bytes(envelope.errors))
    keys = [event.id for event in events]
    return Page(_count(bytes(envelope.count)), keys, events, envelope.events, [], len(body))


def _check(*errors: bytes) -> None:
    for error in errors:
        if error not in _NO_ERROR:
            raise RetryableFault(f"its answer holds an error: {excerpt(error)}")


def _utf8(text: bytes) -> bytes:
    """The text; invalid UTF-8 in it becomes U+FFFD."""
    valid = text.decode("utf-8", "replace").encode()
    return text if valid == text else valid


def _count(text: bytes) -> int | None:
    """The API's count: a number, or its digits as a string."""
    digits = text.strip().strip(b'"')
    return int(digits) if digits.isdigit() and len(digits) < len(str(2**63)) else None


def _decode_leniently(body: bytes) -> Page:
    """The page, cut by its brackets only, so that an unusual event affects no other."""
    items, count = _items(body.removeprefix(BOM_UTF8))
    texts: list[bytes] = []
    page = Page(_count(count), [], [], texts, [], len(body))
    for item in map(_utf8, items):
        try:
            found: Event | Malformed = _EVENT.decode(item)
        except _REFUSED:
            found = _decode_event_leniently(item)
        if isinstance(found, Malformed):
            page.malformed.append(found)
            page.keys.append(found.event_id)
        else:
            page.events.append(found)
            page.keys.append(found.id)
            texts.append(item)
    return page


def _items(body: bytes) -> tuple[list[bytes], bytes]:
    """The items of a page and its count, by its brackets."""
    try:
        page = members(body)
        _check(page.get("error", b"null"), page.get("errors", b"null"))
        count = page.get("count", b"null")
        found = page.get("events", b"null")
        # an empty listing as null, from servers that know no empty lists
        items = [] if found == b"null" and _count(count) == 0 else elements(found)
    except NotJson as fault:
        raise RetryableFault(
            f"its answer is no page of events ({fault}): {excerpt(body)}"
        ) from None
    return items, count


def _decode_event_leniently(text: bytes) -> Event | Malformed:
    """An unusual event: well-formed if it has an id and a date."""
    try:
        value = _members(text)
    except NotJson as fault:
        return Malformed(_digest(text), None, f"it is no JSON object ({fault})", text)
    created_at = value.get("created_at")
    date = _replace_surrogates(created_at) if isinstance(created_at, str) else None
    event_id = _id(value.get("id"))
    if event_id is None:
        return Malformed(_digest(text), date, _no_id(value), text)
    if date is None:
        reason = "it has no created_at" if created_at is None else "its created_at is no text"
        return Malformed(event_id, None, reason, text)
    return Event(
        event_id, date, _text(value, "type"), _text(value, "name"), _critical(value.get("critical"))
    )


def _members(text: bytes) -> dict[str, Any]:
    """The members of an object; a value that is no JSON, or nested too deeply, as its bytes.

    Raises:
        NotJson: The text is no object, or cannot be cut into members.
    """
    try:
        value = _value(text)
    except (ValueError, RecursionError):
        return {name: _value_or_bytes(part) for name, part in members(text).items()}
    if not isinstance(value, dict):
        raise NotJson(f"it is a {type(value).__name__}")
    return value


def _value_or_bytes(text: bytes) -> Any:
    try:
        return _value(text)
    except (ValueError, RecursionError):
        return text


def _value(text: bytes) -> Any:
    return json.loads(text, strict=False, parse_int=str, parse_float=str, parse_constant=str)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _replace_surrogates(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, replaced."""
    return text.encode("utf-8", "replace").decode()


def _id(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        return None
    return value if value == _replace_surrogates(value) else None


def _no_id(event: dict[str, Any]) -> str:
    value = event.get("id")
    if value is None or value == "":
        return "it has no id"
    if isinstance(value, str):
        return f"its id has {len(value)} characters, or some that are none"
    return "its id is no text"


def _text(event: dict[str, Any], name: str) -> str | None:
    value = event.get(name)
    return _replace_surrogates(value) if isinstance(value, str) else None


def _critical(value: object) -> bool | None:
    """`critical` as a boolean, or as the strings that the oldest API sent."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None
