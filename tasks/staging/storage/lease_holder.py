"""Who holds a lease, as its object says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tasks.time_window import isoformat

if TYPE_CHECKING:
    from tasks.staging.storage.conditional_objects import Found

_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,128}$")]


class Holder(BaseModel):
    """What a lease's object says. No two writes are alike: an ETag may be a sum of the content.

    Attributes:
        id: Of this one holding, known to nobody else.
        host: The machine.
        process: The process there.
        run: The run, as in the ledger.
        since: When it was taken, by that machine's clock.
        seconds: After so many without a write it lapses.
        writes: How often it was written.
        released: Whether it was given back.
    """

    model_config = ConfigDict(frozen=True)

    id: _Word
    host: _Word
    process: int
    run: _Word
    since: AwareDatetime
    seconds: Annotated[float, Field(gt=0, le=3600)]
    writes: int = 0
    released: bool = False

    def __str__(self) -> str:
        run = f", run {self.run}" if self.run else ""
        return f"host {self.host}, process {self.process}{run}, since {isoformat(self.since)}"


def holder_of(found: Found | None) -> Holder | None:
    """Who an object says holds it; None where it says nothing that can be understood."""
    if found is None:
        return None
    try:
        return Holder.model_validate_json(found.content)
    except ValidationError:
        return None
