"""The operations that a place for a staging offers, and the errors they raise.

There are two: a folder of this machine (`local_files`), which is first class, and whatever pyarrow
can open (`remote_files`), object storage above all. Both offer the same few operations on paths
relative to the staging.
"""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from tasks.errors import InUseError, StagingError, explain
from tasks.redaction import foreign_text
from tasks.retry_policy import REREADS_OF_REPLACED_FILES
from tasks.staging.names.file_names import SUFFIX
from tasks.staging.storage.repair import how_to_repair

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from tasks.staging.storage.lease_holder import Holder

T = TypeVar("T")

_ROOM = "make room and run the command again: nothing is lost"
PRIVATE_FOLDER = 0o700
"""The mode of folders that we make: events tell much of a network."""
PRIVATE_FILE = 0o600
"""The mode of files that we make."""

OURS_ALONE = "move it out of the staging, which is ours alone"
_RIGHTS = "let this user write there, or change HALO_STAGING"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ELOOP: OURS_ALONE,
    errno.ENOTDIR: OURS_ALONE,
    errno.EISDIR: OURS_ALONE,
}


class FileGone(StagingError):  # noqa: N818 - reads as a sentence, as its siblings do
    """A file that was listed is not there any more: replaced by another run. List again."""


@contextlib.contextmanager
def skip_unreadable(problems: list[str], where: str = "") -> Iterator[None]:
    """Add what cannot be read in the body to `problems`, and go on after it.

    Raises:
        FileGone: The files have to be listed again.
    """
    try:
        yield
    except FileGone:
        raise
    except StagingError as fault:
        problems.append(f"{where}: {fault}" if where else str(fault))


def read_stable(work: Callable[[], T]) -> T:
    """List files and read them, again where one was replaced in between.

    Raises:
        FileGone: Files are replaced faster than they are read.
    """
    for _ in range(REREADS_OF_REPLACED_FILES):
        with contextlib.suppress(FileGone):
            return work()
    return work()


@dataclass
class NewFile:
    """A file that is being written; its `name` must be set in the end.

    Attributes:
        sink: Where its bytes go.
        name: Its name; none publishes nothing.
        content: All its bytes, where it was created with what is expected of it; instead of `sink`.
    """

    sink: Any
    name: str = ""
    content: pa.Buffer | None = None


class Files(Protocol):
    """What a place offers. Paths are relative and use `/`; folders need not exist."""

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder, sorted; none where there is no such folder."""

    def names(self, path: str, suffix: str = SUFFIX) -> list[str]:
        """Names of the files in a folder that end so, sorted; none where there is no such folder.

        Raises:
            StagingError: The folder cannot be read, or what bears such a name is no file.
        """

    def names_by_folder(self, path: str, wanted: Callable[[str], bool]) -> dict[str, list[str]]:
        """Names of the Parquet files in each wanted folder in a folder, both sorted.

        A folder whose name is not `wanted` is not listed, unless one listing of all costs less. See
        `names`.
        """

    def create(
        self, path: str, owner: str, expected: pa.Buffer | None = None
    ) -> contextlib.AbstractContextManager[NewFile]:
        """A file to be filled, published in the folder `path` when the body is done.

        `owner` names the lock under which the file is written. Where its content is `expected`, it
        is written before the body begins, and the disk has set aside room for another one, should
        the body find it to be different. Where the body raises, or gives the file no name, nothing
        is published.

        Raises:
            StagingError: It cannot be written.
        """

    def open(self, path: str) -> contextlib.AbstractContextManager[Any]:
        """A file to be read.

        Raises:
            FileGone: There is no such file.
        """

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""

    def remove_folder(self, path: str) -> None:
        """Remove a folder in which nothing is left; any other stays.

        The caller holds the lock under which files of that folder are written.
        """

    def lock(
        self,
        owner: str,
        *,
        wait: bool,
        run_id: str = "",
        stop: threading.Event | None = None,
    ) -> contextlib.AbstractContextManager[None]:
        """Hold a lock.

        `run_id` is shown to other runs that want the lock. `stop` is set where the lock is lost.

        Raises:
            InUseError: Somebody else holds it, and `wait` is off.
            StagingError: The lock cannot be taken, or was lost.
        """

    def check_locks(self) -> str:
        """See that locks keep other runs out; returns what there is to say of it.

        Raises:
            SettingsError: They cannot.
            StagingError: It is unknown whether they can.
        """


@contextlib.contextmanager
def reading(where: object, path: str) -> Iterator[None]:
    """Raise what goes wrong while a file is read as a `StagingError` that names it."""
    try:
        yield
    except FileNotFoundError as gone:
        raise FileGone(f"{where} is not there any more; run the command again") from gone
    except (OSError, pa.ArrowException, UnicodeDecodeError) as broken:
        if isinstance(broken, OSError) and broken.errno:
            raise _fault(broken, where) from broken
        # Arrow says of damaged pages that they are an OSError, too
        raise StagingError(
            f"{where} is no Parquet file that can be read ({broken}); {how_to_repair(path)}"
        ) from broken


@contextlib.contextmanager
def faults(where: object) -> Iterator[None]:
    """Raise what the operating system reports as a `StagingError` that names the file."""
    try:
        yield
    except OSError as fault:
        raise _fault(fault, where) from fault
    except pa.ArrowException as fault:  # what Azure says is no OSError
        raise StagingError(
            f"{where}: {foreign_text(fault)}; check HALO_STAGING and the rights to it"
        ) from fault


def _fault(fault: OSError, where: object) -> StagingError:
    return StagingError(explain(fault, where, _REMEDIES))


def in_use(owner: str, holder: Holder | None = None) -> InUseError:
    """The error for a lock that another run holds; `holder` says who, where that is known."""
    kind, _, name = owner.partition("=")
    who = f" ({holder})" if holder else ""
    run = holder.run if holder else ""
    return InUseError(f"{kind} {name} is held by another run{who}", run)
