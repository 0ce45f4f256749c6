"""Locks that the Prefect server keeps: one holder, for as long as it lives."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import httpx
import pytest

from flows.server_locks import ServerLocks
from tasks.errors import InUseError, StagingError


@pytest.mark.usefixtures("on_server")
def test_a_lock_of_the_server_has_one_holder() -> None:
    """While it is held others are refused; other locks and other stagings are free."""
    held, other = (ServerLocks(staging, threading.Event()) for staging in ("s3://a", "s3://b"))
    with held("account=alpha"):
        with (
            pytest.raises(InUseError, match="account alpha is in the hands of another run"),
            held("account=alpha"),
        ):
            pass
        with held("account=beta"), other("account=alpha"):
            pass
    with held("account=alpha"):
        pass


@pytest.mark.usefixtures("on_server")
def test_a_lock_that_is_renewed_does_not_lapse() -> None:
    """A holder that lives keeps its lock for longer than a lease."""
    locks = ServerLocks("s3://renewed", threading.Event(), lease=3)
    with locks("account=alpha"):
        time.sleep(6)
        with pytest.raises(InUseError), locks("account=alpha"):
            pass
    assert not locks.stop.is_set()


def test_a_killed_holder_stops_nobody_for_longer_than_a_lease(on_server: dict[str, str]) -> None:
    """The lock of a process ended by SIGKILL is refused at first, and taken over in the end."""
    program = (
        "import threading, time\n"
        "from flows.server_locks import ServerLocks\n"
        "with ServerLocks('s3://killed', threading.Event())('account=alpha'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(100)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | on_server,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    locks = ServerLocks("s3://killed", threading.Event(), lease=4)
    with pytest.raises(InUseError), locks("account=alpha"):
        pass
    until = time.monotonic() + 30
    while True:
        try:
            with locks("account=alpha"):
                break
        except InUseError:
            assert time.monotonic() < until
            time.sleep(0.5)


def test_a_holder_that_lost_its_lock_ends_its_run_in_order(on_server: dict[str, str]) -> None:
    """Where somebody else has removed it, the run is told to stop, and the fault is said."""
    locks = ServerLocks("s3://lost", threading.Event(), lease=3)
    url = f"{on_server['PREFECT_API_URL']}/variables"

    def lose() -> None:
        with locks("account=alpha"):
            for row in httpx.post(f"{url}/filter", json={}).json():
                # the server answers 503 while its database is busy
                while (gone := httpx.delete(f"{url}/{row['id']}")).is_server_error:
                    continue
                gone.raise_for_status()
            assert locks.stop.wait(10)

    with pytest.raises(StagingError, match="could not be renewed"):
        lose()
