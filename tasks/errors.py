"""The errors a user can meet. Each message names the fault, the value and the remedy.

HaloUsmError
├── SettingsError        wrong usage or settings; nothing was touched (exit code 2)
├── HaloError            the Halo API
│   ├── HaloUnavailable  it may answer later: network, 429, 5xx, a body cut off
│   ├── HaloRefused      it will not answer this key: 401, 403
│   └── HaloInvalid      its answer cannot be understood, or it did not understand the query
├── SensorError          a destination that cannot be used, before any event was sent
├── StagingError         the staging cannot be read or written
└── InUseError           another run holds the lock of an account or a destination
"""

from __future__ import annotations

import errno
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from tasks.redaction import LONGEST_PATH, foreign_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHECK_PATH = "check the path"
_MAKE_ROOM = "make room and run the command again"
_GIVE_RIGHTS = "give this user the right to it, or name another place"
_REMEDIES = {
    errno.EACCES: _GIVE_RIGHTS,
    errno.EPERM: _GIVE_RIGHTS,
    errno.EROFS: _GIVE_RIGHTS,
    errno.ENOENT: _CHECK_PATH,
    errno.ENOTDIR: _CHECK_PATH,
    errno.EISDIR: _CHECK_PATH,
    errno.ELOOP: _CHECK_PATH,
    errno.ENAMETOOLONG: "write a shorter path",
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EMFILE: "allow this process more open files (ulimit -n 1024)",
    errno.ENFILE: "this machine has too many files open: end what keeps them, and run again",
}


class HaloUsmError(Exception):
    """Base of every expected fault: shown as one message, never as a stack trace."""


class SettingsError(HaloUsmError):
    """Settings, flags or files that cannot be used; raised before anything is touched.

    Args:
        faults: A sentence for each of them.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)

    def __str__(self) -> str:
        return "; ".join(self.args)


class HaloError(HaloUsmError):
    """A request to the Halo API that failed for good, after the client's own retries."""


class HaloUnavailable(HaloError):  # noqa: N818 - reads as a sentence, as httpx's errors do
    """The API did not answer, or asked for a longer wait than the retry policy allows."""


class HaloRefused(HaloError):  # noqa: N818
    """The API does not accept this key, or not from this address."""


class HaloInvalid(HaloError):  # noqa: N818
    """The API's answer cannot be understood, or it does not understand the query."""


class SensorError(HaloUsmError):
    """A destination that cannot be used: its name, its certificate, its address."""


class StagingError(HaloUsmError):
    """The staging cannot be read or written."""


class InUseError(HaloUsmError):
    """Another run holds the lock of this account or destination.

    Args:
        message: What is said of it.
        run: The id of that run, where it is known.
    """

    def __init__(self, message: str, run: str = "") -> None:
        super().__init__(message)
        self.run = run


def explain(
    error: OSError | UnicodeError,
    file: object = None,
    remedies: Mapping[int, str] = MappingProxyType({}),
) -> str:
    """Describe a fault of the operating system or of an encoding: place, fault and remedy.

    Args:
        error: The fault.
        file: The file, unless the error itself names it.
        remedies: Remedies by `errno` that replace the usual ones.
    """
    name = error.filename if isinstance(error, OSError) and error.filename else file
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    where = f"{foreign_text(name, LONGEST_PATH)}: " if name else ""
    if isinstance(error, UnicodeEncodeError):
        return f"{where}'{foreign_text(error.object)}' is no UTF-8 text; write it in UTF-8"
    if isinstance(error, UnicodeError):
        what = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        return f"{where}{foreign_text(what)}; write it anew in UTF-8"
    if error.errno == errno.ENOENT and not error.filename and not _working_folder_is_there():
        return "the working folder is no longer there; change into one that is"
    known = {**_REMEDIES, **remedies}
    remedy = known.get(error.errno or 0, "put it right and run the command again")
    return f"{where}{foreign_text(error.strerror or error)}; {remedy}"


def _working_folder_is_there() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    except FileNotFoundError:
        return False
    return True
