"""An S3 server for the tests of leases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.object_storage import KEYS, Proxy, s3_proxy, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before it, and keys in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with s3_proxy(server) as proxy:
        yield proxy


@pytest.fixture
def staging(s3: Proxy, request: pytest.FixtureRequest) -> str:
    """The URI of a staging of this test's own."""
    return s3.staging(re.sub(r"\W", "-", request.node.name))
