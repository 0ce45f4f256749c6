"""Single objects beside the Parquet files of a staging, written under a condition.

pyarrow's file systems put no condition on a write. So `obstore` writes these few objects; see
`tasks.staging.storage.bucket` for how it opens the bucket.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import SettingsError, StagingError
from tasks.redaction import foreign_text, redact
from tasks.staging.storage.bucket import NO_OTHER_RUN, open_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from obstore import UpdateVersion
    from obstore.store import AzureStore, GCSStore, S3Store

    Replaces = UpdateVersion | Literal["nothing", "anything"]

_TIMES = re.compile(r" in \S+(, after \d+ retries, max_retries: \d+, retry_timeout: \S+)? +- ")
_CAUSE = re.compile(r'(?<=message: ")[^"]+|(?<=error: ")[^"]+|TimedOut|InvalidCertificate')


class Changed(Exception):  # noqa: N818 - an outcome, not a fault
    """The object is not the version that was to be replaced, or exists and was to be created."""


class ObjectError(StagingError):
    """An object could not be read or written; `said` is the reason alone."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


@dataclass(frozen=True)
class Found:
    """An object as it was read: `written` is the server's time of the last write."""

    content: bytes
    version: UpdateVersion
    written: datetime


class ConditionalObjects:
    """The objects of a staging, by their paths in it. Picklable; nothing is opened before its use.

    Args:
        filesystem: A file system of pyarrow's for S3, Google Cloud Storage or Azure.
        root: The staging in it, `bucket/prefix`.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem = filesystem
        self.root = root

    def __reduce__(self) -> tuple[type[ConditionalObjects], tuple[Any, str]]:
        return ConditionalObjects, (self.filesystem, self.root)

    def where(self, path: str) -> str:
        """An object's name in messages."""
        return f"{self.filesystem.type_name}://{self.root}/{path}"

    def read(self, path: str) -> Found | None:
        """An object, or None where there is none.

        Raises:
            ObjectError: The server does not answer, or not to these credentials.
        """
        store = self._store
        with self._faults(path):
            try:
                result = store.get(path)
            except FileNotFoundError:
                return None
            meta = result.meta
            return Found(bytes(result.bytes()), _version(meta), meta["last_modified"])

    def put(self, path: str, content: bytes, replaces: Replaces) -> UpdateVersion:
        """Write an object if it is the version `replaces`, and return its new version.

        Raises:
            Changed: It is another version.
            SettingsError: The server knows no such condition.
            ObjectError: The server does not answer, or not to these credentials. It may have
                written the object all the same.
        """
        store = self._store
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: UpdateVersion | Literal["create", "overwrite"]
        if isinstance(replaces, dict):
            mode = replaces
        else:
            mode = "create" if replaces == "nothing" else "overwrite"
        with self._faults(path):
            try:
                return _version(store.put(path, content, mode=mode))
            except (AlreadyExistsError, PreconditionError) as fault:
                raise Changed from fault

    @cached_property
    def _store(self) -> S3Store | GCSStore | AzureStore:
        try:
            import obstore  # noqa: F401
        except ImportError:
            raise SettingsError(
                "HALO_STAGING: a staging on object storage needs one more library for its "
                f"leases: pip install 'halo-usm[object-storage]'; or set {NO_OTHER_RUN}"
            ) from None
        try:
            return open_bucket(self.filesystem, self.root)
        except ValueError as fault:
            raise SettingsError(
                f"HALO_STAGING: {self.where('')} cannot be opened for its leases "
                f"({foreign_text(redact(str(fault)))})"
            ) from None

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as fault:
            said = _said(fault)
            if "501 Not Implemented" in said:
                raise without_conditions(self.where(path), said) from None
            raise ObjectError(
                f"{self.where(path)} cannot be read or written ({said}); "
                f"{_remedy(said)}, and run the command again",
                said,
            ) from None


def without_conditions(where: str, said: str) -> SettingsError:
    """What is said of a server that gives no conditional puts."""
    return SettingsError(
        f"HALO_STAGING: the server does not put {where} under a condition ({said}), so two runs "
        "could not be kept apart; use a server with conditional puts (If-None-Match and "
        f"If-Match), or set {NO_OTHER_RUN}"
    )


def _version(meta: Any) -> UpdateVersion:
    version: UpdateVersion = {}
    if meta["e_tag"]:
        version["e_tag"] = meta["e_tag"]
    if meta["version"]:
        version["version"] = meta["version"]
    return version


def _said(fault: Exception) -> str:
    """What the library says, on one line, without its own internals and the server's page."""
    text, _, internals = str(fault).partition("\n\nDebug source")
    said, _, page = text.partition("<")
    said = re.sub(r"[^ -~]+", " ", _TIMES.sub(": ", said)).rstrip(" :")
    if "HTTP error" in said:
        causes = _CAUSE.findall(internals)
    else:
        causes = re.findall(r"<Code>(\w+)</Code>", page)
    return ": ".join([redact(said), *causes[-1:]])


def _remedy(said: str) -> str:
    if "169.254." in said or "metadata.google" in said:
        return (
            "no key was found: set one in the environment (such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY), or give this machine a role"
        )
    if "NoSuchBucket" in said or "ContainerNotFound" in said:
        return "make the bucket"
    return "see to it that the server answers, and lets this key read and write there"
