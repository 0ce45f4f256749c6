"""What an answer of the API means."""

from __future__ import annotations

from tasks.halo.answers import AnswerFault


def test_a_fault_knows_how_long_it_asks_to_wait() -> None:
    """What was asked to wait is kept with the fault."""
    fault = AnswerFault("slow down", 3.0, crowded=True)
    assert (fault.reason, fault.wait, fault.crowded) == ("slow down", 3.0, True)
