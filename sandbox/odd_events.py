"""Events that are hard to swallow, for one time each, as JSON bytes to give to an account.

Some are malformed: nothing can be staged of them but their text. The others are JSON that a fast
decoder refuses or changes, strict or not, and must be kept as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_LONG = 200_000
_DEEP = 200
_TOO_DEEP = 5000


def malformed(created_at: datetime) -> dict[str, bytes]:
    """By the name of what is wrong; give them to `Account.add` with `created_at=`."""
    whole = _event(created_at, "malformed")
    dated = {
        "null date": None,
        "date that is none": "yesterday",
        "impossible date": "2026-02-30T00:00:00Z",
        "number for a date": 1_700_000_000,
    }
    return {
        "no id": _json({key: value for key, value in whole.items() if key != "id"}),
        "no date": _json({key: value for key, value in whole.items() if key != "created_at"}),
        "null id": _json(whole | {"id": None}),
        "empty id": _json(whole | {"id": ""}),
        **{
            fault: _json(_event(created_at, fault) | {"created_at": value})
            for fault, value in dated.items()
        },
        "a number": b"7",
        "a string": b'"event"',
        "null": b"null",
        "a list": b'["id","created_at"]',
    }


def odd(created_at: datetime) -> dict[str, bytes]:
    """By the name of what is odd; each has an id of 32 hex digits and the date given."""
    appended = {
        "duplicate key": '"message":"first","message":"second"',
        "exact decimals": '"CVSS":7.50,"tiny":1E-400',
        "deep": f'"nested":{_nested(_DEEP)}',
        "deeper than any parser goes": f'"nested":{_nested(_TOO_DEEP)},"after":"it"',
        "controls that are not escaped": '"message":"tab\tbell\x07line\r\nend","k\te\ty":"v"',
        "value that is none": '"message":undefined,"after":"it"',
    }
    changed: dict[str, dict[str, object]] = {
        "integer beyond 64 bits": {"finding": 2**70, "low": -(2**64)},
        "lone surrogate": {"message": "half \ud83d of a face"},
        "escaped controls": {"message": "a\x00b\x1b[31mc\r\nd\u2028"},
        "long": {"message": "ö|=\\" * (_LONG // 4)},
        "unknown": {"type": "quantum_scan_completed", "name": "Quantum scan?"},
    }
    return {
        name: _json(_event(created_at, name))[:-1] + f",{text}}}".encode()
        for name, text in appended.items()
    } | {name: _json(_event(created_at, name) | fields) for name, fields in changed.items()}


def _nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def _event(created_at: datetime, name: str) -> dict[str, object]:
    return {
        "id": name.encode().hex().ljust(32, "0")[:32],
        "type": "lids_rule_failed",
        "name": "Log-based intrusion detection rule matched",
        "message": "odd",
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "critical": False,
    }


def _json(event: object) -> bytes:
    return json.dumps(event).encode("ascii")
