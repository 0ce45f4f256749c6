"""A syslog-ng for the tests of a module, and certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.certificates import Authority
from sandbox.receiver import Receiver
from tests.syslog.helpers import server_context
from tests.syslog_ng import SyslogNG, require

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def sensor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyslogNG]:
    """A real syslog-ng with the sensor's five listeners."""
    require()
    with SyslogNG(tmp_path_factory.mktemp("syslog-ng")) as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A throw-away certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    """A TLS server's side with a right certificate."""
    return server_context(authority.issue("127.0.0.1", "localhost"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An honest receiver."""
    with Receiver("tcp") as running:
        yield running
