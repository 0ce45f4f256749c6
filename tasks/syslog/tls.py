"""A destination that is reached through TLS (RFC 5425), and the options of its URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from tasks.errors import explain
from tasks.redaction import LONGEST_PATH, foreign_text
from tasks.syslog.destination import Destination, StreamDestination, one_of

if TYPE_CHECKING:
    from tasks.syslog.connection import Connection
    from tasks.syslog.transport import StreamTransport


def _file_or_folder(path: Path, info: ValidationInfo) -> Path:
    """The path of what is there; the validation's context is where a relative one starts."""
    base = info.context or Path()
    try:
        if (base / path).is_file() or (base / path).is_dir():
            return base / path
    except OSError as error:
        # Without its file name: a key that was pasted here in place of a path is not shown.
        raise ValueError(explain(OSError(error.errno, error.strerror))) from None
    raise ValueError(
        f"it names no file; correct the path (a relative one starts from "
        f"{foreign_text(base.absolute(), LONGEST_PATH)})"
    )


def _file(path: Path, info: ValidationInfo) -> Path:
    path = _file_or_folder(path, info)
    if path.is_dir():
        raise ValueError("it names no file but a folder; correct the path")
    return path


def _key(path: Path, info: ValidationInfo) -> Path:
    if info.data.get("cert", path) is None:
        raise ValueError("give cert= beside it: a private key alone proves nothing")
    return _file(path, info)


class TlsOptions(Destination):
    """A destination that is reached through TLS."""

    ca: Annotated[Path, AfterValidator(_file_or_folder)] | None = Field(
        None,
        description="PEM file or folder of the only authorities to trust; the system's by default.",
    )
    cert: Annotated[Path, AfterValidator(_file)] | None = Field(
        None, description="PEM file of the client certificate and its chain."
    )
    key: Annotated[Path, AfterValidator(_key)] | None = Field(
        None, description="PEM file of its private key, unless `cert` holds both."
    )
    close_notify: Annotated[bool, one_of({"on": True, "off": False})] = Field(
        "on",
        validate_default=True,
        description="`off` for receivers that never end TLS with a close_notify, though RFC 5425 "
        "requires it. RELP does not depend on it.",
    )

    def check_files(self) -> None:
        """See :class:`Destination`."""
        if self.ca is not None or self.cert is not None:
            from tasks.syslog.tls_transport import client_context

            client_context(self)


class TlsDestination(TlsOptions, StreamDestination):
    """One TLS listener."""

    def open_transport(self) -> StreamTransport[Connection]:
        """See :class:`Destination`."""
        # A run that has nothing to deliver does not pay for ssl.
        from tasks.syslog.tls_transport import TlsTransport

        return TlsTransport(self, self.connections)
