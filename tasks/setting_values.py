"""Validators of settings that are paths and addresses.

Each function returns the value in the form in which it is used, or raises `ValueError` with the
fault and the remedy. The message does not hold the value: `shown` gives it without secrets.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from tasks.errors import explain
from tasks.redaction import HIDDEN, foreign_text, redact_address

_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
_URI = re.compile(r"(?![/.~])[^:@?]*[:@?]|.*://|//", re.DOTALL)


def is_loopback(host: str | None) -> bool:
    """Whether a URL's host can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_uri(staging: str) -> bool:
    """Whether a staging is, or was meant to be, a URI and not a folder; it may be malformed."""
    return _URI.match(staging) is not None


def _is_host(host: str) -> bool:
    """Whether a name or an address can be asked for: the parts of a name have 1 to 63 letters."""
    try:
        host.encode("idna")  # as the resolver does
    except UnicodeError:
        return False
    return _HOST.fullmatch(host) is not None


def base_url(text: str, example: str, keys: str) -> SplitResult:
    """Split a base URL, to which paths are appended.

    Args:
        text: The URL.
        example: A correct one, for the message.
        keys: Where a user and a password belong, for the message.

    Raises:
        ValueError: It is no base URL, or it holds parts that may be secret. The message holds
            nothing of it.
    """
    if "@" in text:
        raise ValueError(f"it holds a user or a password, which belong in {keys}")
    no_url = f"it is no base URL; write one such as {example}"
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(no_url) from None
    try:
        no_port = url.port == 0
    except ValueError:
        no_port = True
    if url.scheme not in {"http", "https"} or not _is_host(url.hostname or ""):
        raise ValueError(no_url)
    if no_port:
        raise ValueError("its port is no number from 1 to 65535")
    if not text.isascii() or redact_address(text) != text or "=" in text:
        raise ValueError(no_url)
    return url


def api_url(text: str) -> str:
    """The base URL of the Halo API, without a slash at its end; the key goes there."""
    url = base_url(text, "https://api.cloudpassage.com", "HALO_AUTH_FILE")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise ValueError("http:// would show the key to the network; write https://")
    return text.rstrip("/")


def dask_address(text: str) -> str:
    """The address of a Dask scheduler."""
    fault = "it is no address of a Dask scheduler; write one such as tcp://scheduler:8786"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(fault) from None
    bare = f"{url.scheme}://{url.netloc}" == text and "@" not in text
    if url.scheme not in {"tcp", "tls"} or not (_is_host(url.hostname or "") and port and bare):
        raise ValueError(fault)
    return text


def _path(path: Path | str) -> Path:
    """A path of the settings, with the home folder in place of `~`.

    Raises:
        ValueError: It cannot be a path.
    """
    if "\0" in str(path):
        raise ValueError("it holds a NUL character, which no path can; write it anew")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError("no home folder is known for its ~; write the path in full") from None


def auth_file(path: Path) -> Path:
    """The path of the auth file. A key in its place is refused, because paths are shown."""
    if "|" in str(path):
        raise ValueError("it is no path but a key; write the key into a file, and name that")
    return _path(path)


def staging(text: str) -> str:
    """A folder's path, or a URI. A malformed URI is refused: it would be an odd folder."""
    if not is_uri(text):
        return _folder(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(
            "it is neither a folder nor a URI; write a URI such as s3://bucket/prefix, or ./ in "
            "front of a folder's name"
        )
    if "@" in rest.partition("?")[2]:
        raise ValueError(
            "its query holds an @; a key stands before the bucket, s3://ID:SECRET@bucket, with "
            "what is special in it percent-encoded"
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("the path behind file:// is not absolute; write file:///srv/staging")
        return _folder(unquote(rest))
    if not rest.strip("/"):
        raise ValueError("it names no bucket; write one such as s3://bucket/prefix")
    _, found, bucket = redact_address(text).partition("://")
    if not found or HIDDEN in bucket.removeprefix(f"{HIDDEN}@").removesuffix(f"?{HIDDEN}"):
        raise ValueError(
            "its bucket or prefix is malformed, which may hold letters, digits and ._~+=-/; write "
            "one such as s3://ID:SECRET@bucket/prefix?region=eu-west-1"
        )
    return text


def _folder(text: str) -> str:
    """The path of a staging folder, which need not exist.

    Raises:
        ValueError: It cannot be one.
    """
    folder = _path(text)
    try:
        full = folder.absolute()
        str(full).encode()  # pyarrow opens no other names
        there = next(place for place in (full, *full.parents) if place.exists())
    except (OSError, UnicodeError) as error:
        raise ValueError(explain(error)) from None
    if not there.is_dir():
        raise ValueError(
            f"{foreign_text(there)} is no folder; name one, it is made where there is none"
        )
    return str(folder)


def address(text: str) -> str:
    """An IP address in its shortest form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("it is no IPv4 or IPv6 address") from None


def shown(name: str, value: str) -> str:
    """The value of a setting as a message may show it."""
    is_address = name in {"halo_api_url", "halo_dask_address"}
    if is_address or (name == "halo_staging" and is_uri(value)):
        return redact_address(value)
    return HIDDEN if name == "halo_auth_file" and "|" in value else foreign_text(value)
