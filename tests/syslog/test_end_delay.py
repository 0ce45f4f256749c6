"""How long our end is held back after the last byte, by how the receiver answered before."""

from __future__ import annotations

import pytest

from tasks.syslog.end_delay import LEAST_SECONDS, MOST_SECONDS, PROVEN_SECONDS, EndDelay

LONG_AGO = -60.0


def wait(delay: EndDelay) -> float:
    """Seconds after the last byte, on a connection that was made long ago."""
    return delay.until(LONG_AGO, 0.0)


def test_a_prompt_receiver_is_waited_for_least_and_a_busy_one_longer() -> None:
    """Until it has answered, and after a failure, it is taken for busy."""
    delay = EndDelay(1)
    assert wait(delay) == MOST_SECONDS
    for _ in range(20):
        delay.confirmed(0.0001)
    assert wait(delay) == LEAST_SECONDS
    for _ in range(20):
        delay.confirmed(0.003)
    assert wait(delay) == pytest.approx(0.012)
    for _ in range(20):
        delay.confirmed(0.05)
    assert wait(delay) == MOST_SECONDS
    for _ in range(20):
        delay.confirmed(0.0001)
    delay.failed()
    assert wait(delay) == MOST_SECONDS


def test_several_connections_may_be_accepted_one_after_another() -> None:
    """The close grace of a proven receiver holds for each of them."""
    delay = EndDelay(8)
    delay.confirmed(0.0001)
    assert delay.until(0.0, 0.0) == pytest.approx(8 * PROVEN_SECONDS)
