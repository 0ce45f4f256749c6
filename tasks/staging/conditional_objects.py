"""Single objects beside the Parquet files of a staging, written under a condition.

pyarrow's file systems put no condition on a write. So these few objects are written by `obstore`,
which is told what pyarrow was told: where the bucket is and whose keys open it.
"""

from __future__ import annotations

import os
import re
from configparser import ConfigParser, Error
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import SettingsError, StagingError
from tasks.redaction import foreign_text, redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from obstore import UpdateVersion
    from obstore.store import (
        AzureStore,
        ClientConfig,
        GCSStore,
        RetryConfig,
        S3Credential,
        S3Store,
    )

    Replaces = UpdateVersion | Literal["nothing", "anything"]

_ANSWER_WITHIN = timedelta(seconds=10)
_RETRIES = 3
_NO_PROXY: ClientConfig = {
    "proxy_url": "http://127.0.0.1:9",
    "proxy_excludes": "0.0.0.0/0,::/0,*",
}
"""A proxy for no address: pyarrow heeds none of the environment for S3."""
_ADDRESS = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?")
_TIMES = re.compile(r" in \S+(, after \d+ retries, max_retries: \d+, retry_timeout: \S+)? +- ")
_CAUSE = re.compile(r'(?<=message: ")[^"]+|(?<=error: ")[^"]+|TimedOut|InvalidCertificate')
_NO_OTHER_RUN = "HALO_STAGING_LOCKS=none, if never more than one run works on this staging"


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
                f"leases: pip install 'halo-usm[object-storage]'; or set {_NO_OTHER_RUN}"
            ) from None
        try:
            return _open(self.filesystem, self.root)
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
        f"If-Match), or set {_NO_OTHER_RUN}"
    )


def _version(told: Any) -> UpdateVersion:
    version: UpdateVersion = {}
    if told["e_tag"]:
        version["e_tag"] = told["e_tag"]
    if told["version"]:
        version["version"] = told["version"]
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


def _open(filesystem: Any, root: str) -> S3Store | GCSStore | AzureStore:
    """The bucket that a file system of pyarrow's has, through obstore.

    Raises:
        SettingsError: It is another kind of file system.
        ValueError: The library cannot open it.
    """
    from obstore.store import AzureStore, GCSStore, S3Store

    kind = filesystem.type_name
    if kind not in {"s3", "gcs", "abfs"}:
        raise SettingsError(
            f"HALO_STAGING: a staging on {kind}:// has no leases that could keep two runs apart; "
            f"use a folder, s3://, gs:// or abfss://, or set {_NO_OTHER_RUN}"
        )
    # No accessor tells what a file system was opened with; what it is pickled by does.
    _, (told,) = filesystem.__reduce__()
    bucket, _, folder = root.partition("/")
    prefix = folder or None
    client: ClientConfig = {"allow_http": True, "timeout": _ANSWER_WITHIN}
    retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _ANSWER_WITHIN}
    if kind == "s3":
        keys = _aws_keys(told)
        return S3Store(
            bucket,
            prefix=prefix,
            client_options=client | _NO_PROXY,
            retry_config=retry,
            region=filesystem.region,
            credential_provider=(lambda: keys) if keys else None,
            **_if_any("aws_endpoint_url_s3", _endpoint(told)),
        )
    if kind == "gcs":
        return GCSStore(
            bucket,
            prefix=prefix,
            client_options=client,
            retry_config=retry,
            # writes are never anonymous with this library; an emulator reads no token
            **_if_any("bearer_token", told["access_token"] or (told["anonymous"] and "none")),
            **_if_any("base_url", _endpoint(told)),
        )
    authority = told["blob_storage_authority"]
    own = "" if authority.startswith(".") else f"{told['blob_storage_scheme']}://{authority}"
    return AzureStore(
        bucket,
        prefix=prefix,
        client_options=client,
        retry_config=retry,
        account_name=told["account_name"],
        **_if_any("account_key", told["account_key"]),
        **_if_any("endpoint", own and f"{_checked(own)}/{told['account_name']}"),
    )


def _if_any(name: str, value: str) -> Any:
    return {name: value} if value else {}


def _endpoint(told: dict[str, Any]) -> str:
    """The server's address as a URL; none for the cloud's own."""
    address: str = told["endpoint_override"]
    if not address:
        return ""
    return _checked(address if "://" in address else f"{told['scheme'] or 'https'}://{address}")


def _checked(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if not match or int((match[2] or ":443")[1:]) not in range(1, 65_536):
        raise ValueError("its endpoint_override is no address such as https://host:9000")
    return address


def _aws_keys(told: dict[str, Any]) -> S3Credential | None:
    """The keys of the URI or of the AWS profile; others (environment, role) obstore finds."""
    if told["access_key"]:
        return _keys(told["access_key"], told["secret_key"], told["session_token"])
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    default = os.path.expanduser("~/.aws/credentials")  # noqa: PTH111 - never an error
    profiles = ConfigParser(interpolation=None)
    try:
        profiles.read(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or default, "utf-8")
    except (Error, OSError, UnicodeDecodeError):
        return None
    name = os.environ.get("AWS_PROFILE") or "default"
    if not profiles.has_option(name, "aws_access_key_id"):
        return None
    profile = profiles[name]
    return _keys(
        profile["aws_access_key_id"],
        profile.get("aws_secret_access_key", ""),
        profile.get("aws_session_token"),
    )


def _keys(key: str, secret: str, token: str | None) -> S3Credential:
    return {
        "access_key_id": key,
        "secret_access_key": secret,
        "token": token or None,
        "expires_at": None,
    }
