"""The errors a user can meet. Each message names the fault, the value and the remedy.

HaloUsmError
├── SettingsError        wrong usage or settings; nothing was touched (exit code 2)
├── HaloError            the Halo API
│   ├── HaloUnavailable  it may answer later: network, 429, 5xx, a body cut off
│   ├── HaloRefused      it will not answer this key: 401, 403
│   └── HaloInvalid      it answered, and the answer makes no sense, or the query did not to it
├── SensorError          a destination that cannot be used, before any event was sent
├── StagingError         the staging cannot be read or written
└── InUseError           an account or a destination is in the hands of another run
"""

from __future__ import annotations


class HaloUsmError(Exception):
    """Base of every expected fault: shown as one message, never as a stack trace."""


class SettingsError(HaloUsmError):
    """A setting, flag or file that cannot be used; raised before anything is touched."""


class HaloError(HaloUsmError):
    """A request to the Halo API that failed for good, after the client's own retries."""


class HaloUnavailable(HaloError):  # noqa: N818 - reads as a sentence, as httpx's errors do
    """The API did not answer, or asked for patience for longer than the client has."""


class HaloRefused(HaloError):  # noqa: N818
    """The API does not accept this key, or not from this address."""


class HaloInvalid(HaloError):  # noqa: N818
    """The API's answer cannot be understood, or it does not understand the query."""


class SensorError(HaloUsmError):
    """A destination that cannot be used: its name, its certificate, its address."""


class StagingError(HaloUsmError):
    """The staging cannot be read or written."""


class InUseError(HaloUsmError):
    """Another run holds the lock of this account or destination."""
