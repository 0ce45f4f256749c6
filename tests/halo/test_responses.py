"""What an answer of the API means."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.halo.responses import excerpt, http_date, retry_after
from tasks.retry_policy import RetryableFault

# what an HTTP date is made of, in any order
DATES = st.lists(
    st.sampled_from(["Fri", "31", "Dec", "9999", "23:59:59", "GMT", ",", " ", "-"])
    | st.integers().map(str)
).map("".join)


def test_a_fault_knows_how_long_it_asks_to_wait() -> None:
    """What was asked to wait is kept with the fault."""
    fault = RetryableFault("slow down", 3.0, throttled=True)
    assert (fault.reason, fault.wait, fault.throttled) == ("slow down", 3.0, True)


@given(st.binary())
@example(b'{"error": "\x1b[2J\r\nforged \xe2\x80\xae"}')
def test_the_excerpt_an_answer_are_harmless_and_few(body: bytes) -> None:
    """Whatever an API answers, its words stay in their line, and say no key."""
    words = excerpt(body + b" 0123456789abcdef" + 300 * b" no")
    assert words.isprintable()
    assert "0123456789abcdef" not in words
    assert len(words) <= 10 * 200 + 1


@given(st.text() | DATES)
@example("Fri, 31 Dec 9999 23:59:59 -2300")
@example("Sat, 1 Jan 2022 00:00:00 +999999999999999")
def test_any_text_is_a_date_in_utc_or_none(text: str) -> None:
    """Whatever a header says, it is a time that can be reckoned with, or as good as absent."""
    moment = http_date(text)
    assert moment is None or moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("3", 3.0),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("Wed, 04 Mar 2026 12:00:07 GMT", 7.0),
        ("Wed, 04 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """Both forms of RFC 9110 are read, a date by the clock of the API; anything else is none."""
    headers = {"retry-after": text, "date": "Wed, 04 Mar 2026 12:00:00 GMT"}
    assert retry_after(httpx.Response(429, headers=headers)) == seconds
    assert http_date(headers["date"]) == datetime(2026, 3, 4, 12, tzinfo=UTC)
