from __future__ import annotations

import errno
import os
import time

import pytest

from tasks.syslog.network import SendingRate, explain
from tests.syslog.helpers import took


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ECONNREFUSED, "nothing listens there"),
        (errno.ECONNRESET, "reset the connection"),
        (errno.ENOTCONN, "reset the connection"),
        (errno.EPIPE, "had closed the connection"),
        (errno.ETIMEDOUT, "no answer within 7 s"),
        (errno.ENETUNREACH, "Network is unreachable"),
    ],
)
def test_errors_as_sentences(number: int, text: str) -> None:
    """Each network error becomes a sentence, whatever Python made of it."""
    assert text in explain(OSError(number, os.strerror(number)), 7)


def test_an_error_without_words() -> None:
    """An error that says nothing is at least named."""
    assert explain(OSError(), 7) == "OSError"


def test_pace_is_even() -> None:
    """Bursts are small, waiting makes up for what was early, and idle time earns no big burst."""
    pace = SendingRate(1000)
    assert pace.burst == 10
    start = time.monotonic()
    for _ in range(20):
        pace.wait(10)
    assert 0.15 < took(start) < 0.6
    time.sleep(0.2)
    start = time.monotonic()
    for _ in range(6):
        pace.wait(10)
    assert took(start) > 0.03


def test_no_pace() -> None:
    """Without a rate nothing waits and everything is one burst."""
    pace = SendingRate(None)
    start = time.monotonic()
    pace.wait(10**9)
    assert took(start) < 0.1
    assert pace.burst is None


def test_a_slow_pace_still_sends() -> None:
    """Below a hundred a second a burst is one message."""
    assert SendingRate(0.5).burst == 1
