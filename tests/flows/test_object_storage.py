"""A staging on object storage: an S3 server on loopback, and commands that share it."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import boto3
import pytest
from pyarrow import fs

from sandbox.halo_api import HaloStandIn
from tests.documented_commands import run
from tests.flows.command import EVENTS, ROOT, Command, command_for, wait_until
from tests.object_storage import BUCKET, KEYS, Proxy, never, s3_proxy, s3_server, staged

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.halo_api import StandInProcess
    from sandbox.receiver import Receiver

WITH_SHORT_LEASES = (
    "-c",
    (
        "from tasks.staging.storage import lease; lease.SECONDS = 6; "
        "from flows.__main__ import main; main()"
    ),
)
WITHOUT_THE_EXTRA = (
    "-c",
    "import sys; sys.modules['obstore'] = None; from flows.__main__ import main; main()",
)
IN_USE = "is held by another run (host "


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(server: str) -> Iterator[Proxy]:
    """A proxy before it."""
    with s3_proxy(server) as proxy:
        yield proxy


@pytest.fixture
def halo_usm(
    tmp_path: Path, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver, prefix: str
) -> Command:
    """The command line with its staging in the bucket, and a Halo that does not answer yet."""
    return on_object_storage(tmp_path, s3, frozen_halo, receiver, prefix)


def on_object_storage(
    folder: Path, s3: Proxy, halo: HaloStandIn | StandInProcess, receiver: Receiver, prefix: str
) -> Command:
    """The command line with its staging in the bucket."""
    command = command_for(folder, halo, receiver.url("tcp", name="sensor"), days=3)
    command.settings |= KEYS | {"HALO_STAGING": s3.staging(prefix)}
    return command


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A place in the bucket for this test alone."""
    return re.sub(r"\W", "-", request.node.name)


@pytest.fixture
def frozen_halo() -> Iterator[StandInProcess]:
    """One account, and no answer before the process is resumed."""
    with HaloStandIn.spawn(accounts=1, events=EVENTS, days=2) as halo:
        halo.process.send_signal(signal.SIGSTOP)
        try:
            yield halo
        finally:
            resume(halo)


def resume(halo: StandInProcess) -> None:
    """Let it answer."""
    halo.process.send_signal(signal.SIGCONT)


def start(halo_usm: Command, s3: Proxy) -> subprocess.Popen[str]:
    """A sync that has the account's lease, and waits for Halo."""
    process = halo_usm.popen("sync")
    wait_until(lambda: s3.count(r"PUT .*alpha\.json"), process)
    return process


def assert_once(s3: Proxy, prefix: str, receiver: Receiver) -> None:
    """Every event is staged once and delivered once."""
    ids = staged(s3, prefix)
    assert len(set(ids)) == len(ids) == len(receiver.messages("tcp")) == EVENTS


def test_every_stage_works_on_object_storage(
    tmp_path: Path, server: str, frozen_halo: StandInProcess, receiver: Receiver, prefix: str
) -> None:
    """Events are staged and delivered once, a second sync sends nothing, the audit adds up."""
    resume(frozen_halo)
    direct = Proxy(server, server)
    halo_usm = on_object_storage(tmp_path, direct, frozen_halo, receiver, prefix)
    said = halo_usm("check").stdout
    assert f"kept apart by leases (tried with s3://{BUCKET}/{prefix}/.locks/probe)" in said
    halo_usm("sync")
    halo_usm("sync")
    assert_once(direct, prefix, receiver)
    halo_usm("transform", "--since", "2020-01-01")
    halo_usm("replay", "--since", "2020-01-01", "--only", "all")
    assert len(receiver.messages("tcp")) == 2 * EVENTS
    halo_usm("audit", "--since", "2020-01-01")
    assert halo_usm.status()["destinations"]["sensor"]["delivered"] == EVENTS

    halo_usm.settings["HALO_RETENTION_DAYS"] = "1"
    assert "2 days dropped" in halo_usm("maintain").stdout
    verified = halo_usm("audit", "--verify")
    assert ("All agrees." in verified.stdout, "2 days were dropped" in verified.stderr) == (1, 1)
    found = halo_usm.status()
    assert len(found["accounts"]["alpha"]["dropped"]) == 1
    assert 0 < found["accounts"]["alpha"]["staged"] == len(staged(direct, prefix)) < EVENTS
    halo_usm("sync", "--lookback", "10000")
    assert halo_usm.status()["accounts"]["alpha"]["staged"] == len(staged(direct, prefix))
    assert "no longer staged" in halo_usm("replay", "--since", "2020-01-01", code=1).stderr


def test_two_commands_at_once_leave_accounts_to_each_other(
    halo_usm: Command, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver, prefix: str
) -> None:
    """Of two syncs at once one works on an account, the other says who does and leaves it."""
    first = start(halo_usm, s3)
    said = halo_usm("sync").stderr
    assert f"account alpha {IN_USE}" in said
    assert f"process {first.pid}, run " in said
    resume(frozen_halo)
    _, said = first.communicate(timeout=100)
    assert first.returncode == 0, said
    assert IN_USE not in said
    assert_once(s3, prefix, receiver)


@pytest.mark.soak
def test_a_killed_command_stops_the_next_for_a_lease_at_most(
    halo_usm: Command, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver, prefix: str
) -> None:
    """After SIGKILL the account is left to the dead run until its lease lapses, then taken over."""
    halo_usm.program = WITH_SHORT_LEASES
    first = start(halo_usm, s3)
    first.kill()
    first.communicate()
    resume(frozen_halo)
    assert f"account alpha {IN_USE}" in halo_usm("sync").stderr
    wait_until(lambda: IN_USE not in halo_usm("sync").stderr)
    assert_once(s3, prefix, receiver)


@pytest.mark.soak
def test_a_frozen_command_ends_in_order_when_it_wakes(
    halo_usm: Command, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver, prefix: str
) -> None:
    """Another run has done its work by then: it adds nothing, and says why it ends."""
    halo_usm.program = WITH_SHORT_LEASES
    first = start(halo_usm, s3)
    # the first write is surely answered when there is another one
    wait_until(lambda: s3.count(r"PUT .*alpha\.json") > 1, first)
    first.send_signal(signal.SIGSTOP)
    resume(frozen_halo)
    wait_until(lambda: IN_USE not in halo_usm("sync").stderr)
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=100)
    assert first.returncode == 1, said
    assert f"the lease s3://{BUCKET}/{prefix}/.locks/account=alpha.json could not be" in said
    assert "the next run goes on" in said
    assert_once(s3, prefix, receiver)


def test_a_command_whose_lease_cannot_be_renewed(
    halo_usm: Command, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver
) -> None:
    """It ends in order with exit code 1 and the reason; the next run does the work."""
    halo_usm.program = WITH_SHORT_LEASES
    first = start(halo_usm, s3)
    s3.refuses = lambda method, path: method == "PUT" and "account" in path
    _, said = first.communicate(timeout=100)
    assert first.returncode == 1, said
    assert "could not be renewed" in said
    assert "503" in said
    s3.refuses = never
    resume(frozen_halo)
    wait_until(lambda: IN_USE not in halo_usm("sync").stderr)
    assert len(receiver.messages("tcp")) == EVENTS


def test_a_server_without_conditional_puts(
    halo_usm: Command, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver
) -> None:
    """Nothing is touched, the exit code is 2; a setting says that there is never another run."""
    resume(frozen_halo)
    s3.ignored = ("If-None-Match",)
    for command in ("sync", "transform", "load"):
        said = halo_usm(command, code=2).stderr
        assert "it ignores If-None-Match" in said
        assert "HALO_STAGING_LOCKS=none" in said
    assert s3.count("^(PUT|POST|DELETE)") == s3.count(r"^PUT .*/\.locks/probe")
    assert not frozen_halo.stats()["requests"]
    assert "FAIL staging" in halo_usm("check", code=1).stdout
    halo_usm.settings["HALO_STAGING_LOCKS"] = "none"
    halo_usm("sync")
    assert len(receiver.messages("tcp")) == EVENTS
    assert "see to it that there is never another" in halo_usm("check").stdout


def test_without_the_extra(
    halo_usm: Command, s3: Proxy, frozen_halo: StandInProcess, receiver: Receiver
) -> None:
    """A command that writes names what to install, and exits with 2; others need no lease."""
    resume(frozen_halo)
    halo_usm.program = WITHOUT_THE_EXTRA
    assert "pip install 'halo-usm[object-storage]'" in halo_usm("sync", code=2).stderr
    assert "pip install 'halo-usm[object-storage]'" in halo_usm("check", code=1).stdout
    halo_usm("status")
    halo_usm.settings["HALO_STAGING_LOCKS"] = "none"
    halo_usm("sync")
    assert len(receiver.messages("tcp")) == EVENTS


def test_a_bucket_that_is_not_there(halo_usm: Command, s3: Proxy) -> None:
    """It is said once, with what to do."""
    halo_usm.settings["HALO_STAGING"] = s3.staging("x").replace(f"s3://{BUCKET}/", "s3://none/")
    said = halo_usm("sync", code=1).stderr
    assert said.count("\n") == 1
    assert "NoSuchBucket" in said
    assert "make the bucket" in said


def test_what_leases_cost(
    tmp_path: Path, s3: Proxy, halo: HaloStandIn, receiver: Receiver, prefix: str
) -> None:
    """A sync that finds nothing new: two requests, and three a lease."""
    halo_usm = on_object_storage(tmp_path, s3, halo, receiver, prefix)
    halo_usm("sync")
    s3.requests.clear()
    halo_usm("sync")
    accounts, destinations, stages = 3, 1, 2  # an account is held to extract and to transform
    assert s3.count(r"/\.locks/") == 2 + 3 * (accounts * stages + destinations)


def test_a_key_in_the_stagings_address_shows_nowhere(
    tmp_path: Path, s3: Proxy, halo: HaloStandIn, receiver: Receiver, prefix: str
) -> None:
    """Not in the output of any command, not in what is staged, nor in its names."""
    halo_usm = on_object_storage(tmp_path, s3, halo, receiver, prefix)
    plain = halo_usm.settings["HALO_STAGING"]
    halo_usm.settings["HALO_STAGING"] = plain.replace("s3://", "s3://testing:hunter2%2F@")
    for arguments in (
        ("check",),
        ("sync",),
        ("status", "--json"),
        ("audit", "--since", "2020-01-01", "--json"),
    ):
        done = halo_usm(*arguments)
        assert "hunter2" not in done.stdout + done.stderr
    bucket = fs.S3FileSystem(access_key="testing", secret_key="any", endpoint_override=s3.server)
    found = bucket.get_file_info(fs.FileSelector(f"{BUCKET}/{prefix}", recursive=True))
    files = [info.path for info in found if info.is_file]
    assert [path for path in files if "/deliveries/" in path]
    for path in files:
        assert "hunter2" not in path
        with bucket.open_input_file(path) as file:
            assert b"hunter2" not in file.readall()


def test_the_documentation(
    tmp_path: Path, server: str, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Its commands work as they are written, and a server takes its lifecycle rule."""
    page = ROOT / "docs" / "object-storage.md"
    (tmp_path / "elsewhere").mkdir()
    halo_usm = command_for(tmp_path / "elsewhere", halo, receiver.url("tcp"), days=3)
    halo_usm.settings["HALO_STAGING"] = f"s3://{BUCKET}/page?endpoint_override={server}"
    ended = run(page, tmp_path, halo_usm.settings)
    assert "runs are kept apart by leases" in ended.stdout
    assert len(receiver.messages("tcp")) == EVENTS
    _, rule = re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    s3 = boto3.client(
        "s3", endpoint_url=server, aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=json.loads(rule))
    [kept] = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert kept["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
