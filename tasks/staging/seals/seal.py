"""A seal: the hashes and sums of an account's day, numbered and chained to the seal before it.

    <staging>/seals/account=<account>/<YYYY-MM-DD>.json, <YYYY-MM-DD>.2.json, …

`docs/seals.md` says what a seal proves, and checks one with none of this code.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from tasks.staging.seals.signatures import SigningKey, VerifyingKey

Count = Annotated[int, Field(ge=0, strict=True)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_NAME = r"[A-Za-z0-9_-]+"
_PATH = (
    rf"^(raw|normalized|rejected|deliveries/destination={_NAME})"
    rf"/account={_NAME}/date=\d{{4}}-\d\d-\d\d/[A-Za-z0-9_+.-]+\.parquet$"
)


_ONLY_GROWS = ("raw", "events that extract", "attempts")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SealedFile(_Part):
    """A Parquet file by its path in the staging."""

    path: Annotated[str, Field(pattern=_PATH)]
    rows: Count
    sha256: Sha256

    @property
    def tree(self) -> str:
        """The tree it lies in: `raw`, `normalized`, `rejected` or `deliveries/destination=…`."""
        return self.path.partition("/account=")[0]


class RejectedSums(_Part):
    """Rejected events by the stage that rejected them."""

    extract: Count = 0
    transform: Count = 0


class DestinationSums(_Part):
    """What the ledger of a destination tells of the day.

    Attributes:
        attempts: Its rows.
        delivered: Events whose last attempt is `confirmed` or `sent`.
    """

    attempts: Count
    delivered: Count


class Sums(_Part):
    """The events of the day, counted."""

    raw: Count
    normalized: Count
    rejected: RejectedSums
    destinations: dict[str, DestinationSums]

    @property
    def add_up(self) -> bool:
        """Whether every raw event is normalized or rejected."""
        return self.raw == self.normalized + self.rejected.transform

    def by_tree(self) -> dict[str, dict[str, int]]:
        """Each of them by the tree it is of, and by what it counts."""
        found = {
            "raw": {"raw events": self.raw},
            "normalized": {"normalized events": self.normalized},
            "rejected": {
                "events that extract rejected": self.rejected.extract,
                "events that transform rejected": self.rejected.transform,
            },
        }
        for name, sums in self.destinations.items():
            found[f"deliveries/destination={name}"] = {
                f"attempts of destination {name}": sums.attempts,
                f"delivered events of destination {name}": sums.delivered,
            }
        return found

    def less_than(self, before: Sums) -> str:
        """What they tell less of than earlier ones of the day, of what can only grow."""
        now, then = (
            {what: count for sums in one.by_tree().values() for what, count in sums.items()}
            for one in (self, before)
        )
        return ", ".join(
            f"fewer {what} ({now.get(what, 0):,} in the place of {count:,})"
            for what, count in then.items()
            if what.startswith(_ONLY_GROWS) and now.get(what, 0) < count
        )


class Seal(_Part):
    """The seal of an account's day.

    Attributes:
        format: The version of this form.
        account: Whose events they are.
        number: 1, 2, … for each account, in the order of writing.
        previous: The SHA-256 of the file of the seal before it; None in the first.
        day: The UTC date of the events.
        files: The files of the day that count, in the order of their paths.
        sums: What is in them.
        mapping_versions: The versions of the mapping that made the normalized files.
        program_version: The version of the program that wrote the seal.
        sealed_at: When it did.
        public_key_sha256: Names the key that signed it, where one did.
        signature: Its Ed25519 signature of `signed_bytes`, in hex.
    """

    format: Literal[1] = 1
    account: Annotated[str, Field(pattern=rf"^{_NAME}$")]
    number: Annotated[int, Field(ge=1, strict=True)]
    previous: Sha256 | None
    day: date
    files: tuple[SealedFile, ...]
    sums: Sums
    mapping_versions: tuple[str, ...]
    program_version: str
    sealed_at: AwareDatetime
    public_key_sha256: Sha256 | None = None
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")] | None = None

    @property
    def paths(self) -> set[str]:
        """Its files by their paths."""
        return {file.path for file in self.files}

    @property
    def signed_bytes(self) -> bytes:
        """What is signed: all but the signature, as JSON on one line, keys sorted, no spaces."""
        content = self._content()
        del content["signature"]
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    def signed(self, key: SigningKey) -> Self:
        """The seal with a signature."""
        named = self.model_copy(update={"public_key_sha256": key.name})
        return named.model_copy(update={"signature": key.sign(named.signed_bytes)})

    def is_signed_by(self, key: VerifyingKey) -> bool:
        """Whether it bears a signature of that key."""
        return self.signature is not None and key.has_signed(self.signed_bytes, self.signature)

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return (json.dumps(self._content(), sort_keys=True, indent=1) + "\n").encode()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def parse_seal(content: bytes) -> Seal | None:
    """The seal that `Seal.to_bytes` wrote; None for any other bytes."""
    try:
        seal = Seal.model_validate_json(content)
    except ValidationError:
        return None
    place = f"/account={seal.account}/date={seal.day}/"
    ours = all(place in file.path for file in seal.files)
    return seal if ours and seal.to_bytes() == content else None


def sha256_of(content: bytes) -> str:
    """The SHA-256 of the bytes of a seal's file: what the next seal calls `previous`."""
    return hashlib.sha256(content).hexdigest()
