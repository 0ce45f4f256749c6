"""Opening through obstore the bucket that pyarrow has opened, with the same address and keys."""

from __future__ import annotations

import os
import re
from configparser import ConfigParser, Error
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tasks.errors import SettingsError

if TYPE_CHECKING:
    from obstore.store import (
        AzureStore,
        ClientConfig,
        GCSStore,
        RetryConfig,
        S3Credential,
        S3Store,
    )

_ANSWER_WITHIN = timedelta(seconds=10)
_RETRIES = 3
_NO_PROXY: ClientConfig = {
    "proxy_url": "http://127.0.0.1:9",
    "proxy_excludes": "0.0.0.0/0,::/0,*",
}
"""A proxy for no address: pyarrow heeds none of the environment for S3."""
_ADDRESS = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?")
NO_OTHER_RUN = "HALO_STAGING_LOCKS=none, if never more than one run works on this staging"


def open_bucket(filesystem: Any, root: str) -> S3Store | GCSStore | AzureStore:
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
            f"use a folder, s3://, gs:// or abfss://, or set {NO_OTHER_RUN}"
        )
    # No accessor tells what a file system was opened with; what it is pickled by does.
    _, (options,) = filesystem.__reduce__()
    bucket, _, folder = root.partition("/")
    prefix = folder or None
    client: ClientConfig = {"allow_http": True, "timeout": _ANSWER_WITHIN}
    retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _ANSWER_WITHIN}
    if kind == "s3":
        keys = _aws_keys(options)
        return S3Store(
            bucket,
            prefix=prefix,
            client_options=client | _NO_PROXY,
            retry_config=retry,
            region=filesystem.region,
            credential_provider=(lambda: keys) if keys else None,
            **_if_any("aws_endpoint_url_s3", _endpoint(options)),
        )
    if kind == "gcs":
        return GCSStore(
            bucket,
            prefix=prefix,
            client_options=client,
            retry_config=retry,
            # writes are never anonymous with this library; an emulator reads no token
            **_if_any("bearer_token", options["access_token"] or (options["anonymous"] and "none")),
            **_if_any("base_url", _endpoint(options)),
        )
    authority = options["blob_storage_authority"]
    own = "" if authority.startswith(".") else f"{options['blob_storage_scheme']}://{authority}"
    return AzureStore(
        bucket,
        prefix=prefix,
        client_options=client,
        retry_config=retry,
        account_name=options["account_name"],
        **_if_any("account_key", options["account_key"]),
        **_if_any("endpoint", own and f"{_checked(own)}/{options['account_name']}"),
    )


def _if_any(name: str, value: str) -> Any:
    return {name: value} if value else {}


def _endpoint(options: dict[str, Any]) -> str:
    """The server's address as a URL; none for the cloud's own."""
    address: str = options["endpoint_override"]
    if not address:
        return ""
    return _checked(address if "://" in address else f"{options['scheme'] or 'https'}://{address}")


def _checked(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if not match or int((match[2] or ":443")[1:]) not in range(1, 65_536):
        raise ValueError("its endpoint_override is no address such as https://host:9000")
    return address


def _aws_keys(options: dict[str, Any]) -> S3Credential | None:
    """The keys of the URI or of the AWS profile; others (environment, role) obstore finds."""
    if options["access_key"]:
        return _keys(options["access_key"], options["secret_key"], options["session_token"])
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
