"""How a delivery ends before all was sent; neither exception leaves `tasks.load.delivery`."""

from __future__ import annotations


class GivenUp(Exception):  # noqa: N818 - reads as a sentence
    """The destination is given up for this run; the message says what happened."""


class Stopped(Exception):  # noqa: N818 - reads as a sentence
    """The run was asked to end, between two attempts: nothing was sent."""
