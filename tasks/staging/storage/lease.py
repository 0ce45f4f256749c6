"""Leases: what lets one run alone work on an account or a destination on object storage.

A lease is an object, `<staging>/.locks/<owner>.json`, that says who holds it. Its holder writes it
again and again while it works; one that was not written for its time has lapsed, so that a killed
holder stops nobody for longer. Every write names the version that it replaces (`If-None-Match: *`,
`If-Match: <ETag>`): of two runs that take a lease at the same time, the server refuses one.

Only the server's clock counts: it says when a lease was written, and it says when another object
is written now. A lease is given back by a last write, not by a delete, because a delete would not
ask whether the lease is still ours.
"""

from __future__ import annotations

import math
import os
import re
import socket
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.errors import StagingError
from tasks.staging.storage.conditional_objects import (
    Changed,
    ConditionalObjects,
    Found,
    ObjectError,
    without_conditions,
)
from tasks.staging.storage.files import in_use
from tasks.staging.storage.lease_holder import Holder, holder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import UpdateVersion

    from tasks.staging.storage.conditional_objects import Replaces

SECONDS = 120.0
"""After how many seconds without a write a lease lapses."""
PROBE = ".locks/probe"
_RENEWED_EVERY = 1 / 6
_GIVEN_UP_AFTER = 2 / 3
_WRITTEN_UNDER = 5 / 6
"""Of its seconds: what is put into the staging later may arrive when the lease has lapsed."""
_TRY_AGAIN = 1 / 24
_CLOCK_STEP = 1.0  # seconds: servers tell whole ones
_FROZEN = "this process did not run meanwhile"
_TAKEN = "another run has taken it"
_ENDED: set[str] = set()
"""Holdings of this process that are over, and could not be given back."""


class Leases:
    """The leases of one staging. Picklable.

    Attributes:
        objects: Where they are.
        seconds: After how many seconds without a write they lapse.
    """

    def __init__(self, objects: ConditionalObjects, seconds: float | None = None) -> None:
        self.objects = objects
        self.seconds = SECONDS if seconds is None else seconds
        self._checked = False

    @property
    def probe(self) -> str:
        """The object that `check` and `now` write."""
        return self.objects.where(PROBE)

    def check(self) -> None:
        """See, by writing `PROBE`, that the server puts objects under a condition.

        Raises:
            SettingsError: It does not, or cannot be used at all.
            ObjectError: It does not answer, or not to these credentials.
        """
        if self._checked:
            return
        stale: UpdateVersion = {"e_tag": '"0"', "version": "1"}
        # the very first one is created; whoever comes later finds it
        creates = self._refused("nothing") or self._refused("nothing")
        if not creates or not self._refused(stale):
            ignored = "If-Match" if creates else "If-None-Match"
            raise without_conditions(self.probe, f"it ignores {ignored}")
        self._checked = True

    def _refused(self, replaces: Replaces) -> bool:
        try:
            self.objects.put(PROBE, uuid.uuid4().bytes, replaces)
        except Changed:
            return True
        return False

    def now(self) -> datetime:
        """The server's time: when it says that an object was written that is written now.

        Raises:
            StagingError: It does not answer.
        """
        self.objects.put(PROBE, uuid.uuid4().bytes, "anything")
        found = self.objects.read(PROBE)
        if found is None:
            raise StagingError(f"{self.probe} is gone; let nobody remove it")
        return found.written

    @contextmanager
    def hold(
        self, owner: str, *, run_id: str = "", stop: threading.Event | None = None
    ) -> Iterator[Lease]:
        """Hold the lease of an owner, such as `account=alpha`, for the body.

        Args:
            owner: What it is of.
            run_id: Shown to other runs that want the lease.
            stop: Set when the lease could not be renewed: the body is to end in order.

        Raises:
            InUseError: Another run holds it.
            SettingsError: The server gives no leases.
            StagingError: The server does not answer, or the lease could not be renewed.
        """
        self.check()
        lease = Lease(self, owner, run_id, stop or threading.Event())
        lease.take()
        renewing = threading.Thread(target=lease.keep, name=f"lease {owner}", daemon=True)
        renewing.start()
        try:
            yield lease
        except StagingError:
            if not lease.lost:  # else that is the cause, and said below
                raise
        finally:
            lease.done.set()
            renewing.join()
            lease.release()
        if lease.lost:
            raise lease.fault()


class Lease:
    """One holding of a lease.

    Attributes:
        done: Set when it is not needed any more.
        lost: Whether it could not be renewed in time.
    """

    def __init__(self, leases: Leases, owner: str, run_id: str, stop: threading.Event) -> None:
        self.done = threading.Event()
        self.lost = False
        self._leases = leases
        self._owner = owner
        self._stop = stop
        self._path = f".locks/{owner}.json"
        self._version: UpdateVersion = {}
        self._written = 0.0  # by `_clock`, before the last write was sent
        self._why = _FROZEN
        self._holder = Holder(
            id=uuid.uuid4().hex,
            host=re.sub(r"[^A-Za-z0-9_.-]", "_", socket.gethostname())[:128],
            process=os.getpid(),
            run=run_id,
            since=datetime.now(UTC),
            seconds=leases.seconds,
        )

    def take(self) -> None:
        """Take the lease: one that nobody has, that was given back, or that has lapsed.

        Raises:
            InUseError: Another run holds it, or was faster.
            ObjectError: The server does not answer.
        """
        found = self._leases.objects.read(self._path)
        if found is not None and not self._is_free(found):
            raise in_use(self._owner, holder_of(found))
        try:
            taken = self._write(found.version if found else "nothing")
        except ObjectError:
            _ENDED.add(self._holder.id)  # it may be ours all the same
            raise
        if not taken:
            raise in_use(self._owner, holder_of(self._leases.objects.read(self._path)))

    def _is_free(self, found: Found) -> bool:
        holder = holder_of(found)
        if holder is not None and (holder.released or holder.id in _ENDED):
            return True
        seconds = holder.seconds if holder is not None else self._leases.seconds
        age = (self._leases.now() - found.written).total_seconds()
        return age >= seconds + _CLOCK_STEP

    def keep(self) -> None:
        """Renew the lease until `done`; where that cannot be, set the run's stop event."""
        try:
            self._renew()
        finally:
            if not self.done.is_set():
                self.lost = True
                self._stop.set()

    def _renew(self) -> None:
        """Return when the lease is not needed any more, or lost."""
        seconds = self._leases.seconds
        pause = _RENEWED_EVERY
        while not self.done.wait(seconds * pause):
            # first of all: a process that was frozen must not believe what it knew before
            if self._age() > seconds * _GIVEN_UP_AFTER:
                return
            try:
                ours = self._write(self._version)
            except ObjectError as fault:
                pause, self._why = _TRY_AGAIN, fault.said
                continue
            if not ours:
                self._written, self._why = -math.inf, _TAKEN
                return
            pause, self._why = _RENEWED_EVERY, _FROZEN

    def ensure(self) -> None:
        """See that nobody else can hold the lease yet, nor soon, as far as this machine can tell.

        Raises:
            StagingError: It was not renewed in time, and is lost.
        """
        if self._age() > self._leases.seconds * _WRITTEN_UNDER:
            self.lost = True
            self._stop.set()
            raise StagingError(f"the lease of {self._owner} was lost: nothing is written without")

    def fault(self) -> StagingError:
        """What is said of a lease that was lost."""
        return StagingError(
            f"the lease {self._leases.objects.where(self._path)} could not be renewed "
            f"({self._why}); the next run goes on"
        )

    def _age(self) -> float:
        return _clock() - self._written

    def release(self) -> None:
        """Give the lease back; one that cannot be given back lapses, and another's stays so."""
        if self.lost:
            return
        self._holder = self._holder.model_copy(update={"released": True})
        try:
            self.lost = not self._write(self._version)
            self._why = _TAKEN
        except ObjectError:
            _ENDED.add(self._holder.id)

    def _write(self, replaces: Replaces) -> bool:
        """Write the lease; False where it is another's.

        Raises:
            ObjectError: The server does not answer.
        """
        self._holder = self._holder.model_copy(update={"writes": self._holder.writes + 1})
        content = self._holder.model_dump_json().encode()
        sent = _clock()
        try:
            self._version = self._leases.objects.put(self._path, content, replaces)
        except Changed:
            # it may have been changed by a write of our own whose answer was lost
            found = self._leases.objects.read(self._path)
            holder = holder_of(found)
            if found is None or holder is None or holder.id != self._holder.id:
                return False
            self._version = found.version
            if holder.writes < self._holder.writes:
                return self._write(self._version)
        self._written = sent
        return True


def _clock() -> float:
    """Seconds of this machine, which pass while it sleeps, too, where it can tell."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
