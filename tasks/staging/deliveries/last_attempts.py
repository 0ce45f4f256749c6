"""What the ledger last says of an event: whether it is delivered, and how often it failed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy.typing as npt

DELIVERED = ("confirmed", "sent")
"""The statuses of an event that needs nothing more."""

_ALONE = "failed alone"
FAILED_ALONE = f"{_ALONE}: "
"""How the error of an attempt begins that sent the event alone and failed."""
FAILED_BETWEEN = f"{_ALONE} between others that were delivered: "
"""How it begins where, in that run, others were delivered right before and right after it."""
_OLDER_FAILED_BETWEEN = f"{_ALONE}, tried again after a day: "
"""How it begins there in ledgers of earlier versions."""

_NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class LastAttempts:
    """The last attempt of each of some events; aligned numpy arrays.

    Attributes:
        number: How many attempts there were; 0 for an event never tried.
        delivered: Whether the last one is `confirmed` or `sent`.
        at: When the last one was (datetime64[us]); NaT for an event never tried.
        failed_alone: Whether the event was sent alone and failed since it was last delivered.
        faults: In how many runs since then others were delivered right before and right after it
            when it failed alone.
        fault_at: When it last did (datetime64[us]); NaT where it never did.
    """

    number: npt.NDArray[np.int32]
    delivered: npt.NDArray[np.bool_]
    at: npt.NDArray[np.datetime64]
    failed_alone: npt.NDArray[np.bool_]
    faults: npt.NDArray[np.int32]
    fault_at: npt.NDArray[np.datetime64]

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Whether the last attempt is `failed` or `unconfirmed`."""
        return (self.number > 0) & ~self.delivered

    @classmethod
    def never(cls, count: int) -> Self:
        """Those of so many events that were never tried."""
        return cls(
            number=np.zeros(count, np.int32),
            delivered=np.zeros(count, np.bool_),
            at=np.full(count, _NEVER),
            failed_alone=np.zeros(count, np.bool_),
            faults=np.zeros(count, np.int32),
            fault_at=np.full(count, _NEVER),
        )


def last_of(rows: pa.Table, events: pa.Table) -> LastAttempts:
    """What rows of the ledger last say of some events.

    Args:
        rows: `event_id`, `attempt`, `status`, `error` and `attempted_at`; of other events, too.
        events: `event_id`, each once.
    """
    last = LastAttempts.never(events.num_rows)
    position = pc.index_in(rows["event_id"], value_set=events["event_id"].combine_chunks())
    ours = pc.is_valid(position)
    rows = rows.filter(ours)
    attempt = rows["attempt"].to_numpy()
    # where an index is repeated numpy keeps the last value: the last attempt's
    order = np.argsort(attempt, kind="stable")
    where = position.filter(ours).to_numpy()[order]
    last.number[where] = attempt[order]
    delivered = pc.is_in(rows["status"], value_set=pa.array(DELIVERED)).to_numpy()
    last.delivered[where] = delivered[order]
    times = rows["attempted_at"].cast(pa.timestamp("us")).to_numpy()
    last.at[where] = times[order]
    errors = rows["error"].fill_null("")
    alone = pc.starts_with(errors, _ALONE).to_numpy()
    if alone.any():
        now, older = FAILED_BETWEEN, _OLDER_FAILED_BETWEEN
        fault = pc.or_(pc.starts_with(errors, now), pc.starts_with(errors, older)).to_numpy()
        _add_blame(
            last,
            where,
            delivered=delivered[order],
            alone=alone[order],
            fault=fault[order],
            times=times[order],
        )
    return last


def _add_blame(
    last: LastAttempts,
    where: npt.NDArray[np.intp],
    *,
    delivered: npt.NDArray[np.bool_],
    alone: npt.NDArray[np.bool_],
    fault: npt.NDArray[np.bool_],
    times: npt.NDArray[np.datetime64],
) -> None:
    """Note what speaks against single events since they were last delivered.

    `where` are their indices in `last`, the others tell about the attempt: in order of attempts.
    """
    row = np.arange(len(where))
    last_delivered = np.full(len(last.number), -1)
    last_delivered[where[delivered]] = row[delivered]
    since = row > last_delivered[where]
    last.failed_alone[where[alone & since]] = True
    np.add.at(last.faults, where[fault & since], 1)
    last.fault_at[where[fault & since]] = times[fault & since]
