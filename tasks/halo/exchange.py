"""A request to the Halo API and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Request:
    """A request without a body.

    Attributes:
        method: Such as GET.
        target: Path and query, percent-encoded, below the API's origin.
        headers: By name.
    """

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)


class Answer(NamedTuple):
    """An answer, read whole.

    Attributes:
        status: The HTTP status.
        headers: By name, in any case of its letters.
        body: Unpacked.
    """

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
