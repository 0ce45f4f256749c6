"""What a step of a pipeline says when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar


@dataclass
class StageResult:
    """What a step did for one account or destination; each stage adds its counts.

    Attributes:
        DONE: What such a step has done, in one word.
        subject: The account or destination.
        problems: What failed or stays pending: a sentence each, with who, how many, what to do.
        warnings: What is no failure and should be looked at.
        notes: What is worth knowing.
        held: Whether another run holds the subject, so that nothing was done.
        held_by: The id of that run, where it is known.
        interrupted: Whether it ended early because it was asked to; the next run goes on.
        seconds: How long it took, waiting for another run included.
    """

    DONE: ClassVar[str] = "done"

    subject: str
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held: bool = False
    held_by: str = ""
    interrupted: bool = False
    seconds: float = 0.0

    def counts(self) -> dict[str, int]:
        """Its counts by name, those that are not zero."""
        found = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if type(value) is int and value}
