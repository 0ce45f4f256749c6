"""Failed SSH logins: what a source address that guesses passwords leaves in a server's log."""

from __future__ import annotations

from datetime import datetime
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Any

from sandbox.event_times import calendar
from sandbox.events import LOG_TYPE, generate
from sandbox.halo_query import microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGINS = (
    "administrator",
    "admin",
    "oracle",
    "test",
    "ubuntu",
    "postgres",
    "git",
    "backup",
    "deploy",
)
_DRAWN = 12
_DRAWN_FIRST = 500
"""Of so many generated events for each, and these, enough are about the log of a Linux server."""


def password_guesses(
    n: int,
    since: datetime,
    until: datetime,
    source: str,
    *,
    seed: int = 0,
    account: str = "alpha",
    last_is_right: bool = False,
) -> Iterator[dict[str, Any]]:
    """Failed logins at one Linux server of an account, oldest first; always the same ones.

    Args:
        n: how many.
        since: the earliest of them.
        until: none is so late.
        source: the address that guesses.
        seed: of the generator.
        account: whose server.
        last_is_right: whether the last one gets in.
    """
    random = Random(f"{seed}/{account}/{source}")
    drawn = generate(_DRAWN * n + _DRAWN_FIRST, since, until, seed, account, burst=0)
    matches = [
        event
        for event in drawn
        if event["type"] == LOG_TYPE and event["server_platform"] == "Linux"
    ]
    server = {name: value for name, value in matches[0].items() if name.startswith("server_")}
    # evenly over the range, not only its beginning
    chosen = sorted(random.sample(range(len(matches)), n))
    for at, login in zip(chosen, cycle(_LOGINS), strict=False):
        match = matches[at]
        port, process = random.randrange(1024, 65_536), random.randrange(300, 32_000)
        _, day, clock = calendar(microseconds(datetime.fromisoformat(match["created_at"])))
        stamp = f"{day.syslog} {clock}"
        host = server["server_hostname"]
        right = last_is_right and at == chosen[-1]
        said = "Accepted password for" if right else "Failed password for invalid user"
        rule, policy = "SSH login", "Core System Linux v3.1"
        yield (
            match
            | server
            | {
                "message": f"Rule <strong>{rule}</strong> of policy <strong>{policy}</strong> "
                f"matched on {host} ({server['server_ip_address']})",
                "policy_name": policy,
                "rule_name": rule,
                "original_log_entry": f"{stamp} {host} sshd[{process}]: "
                f"{said} {login} from {source} port {port} ssh2",
                "additional_details": {"family": "sshd", "matches": 1},
            }
        )
