"""The servers that flows speak to: Prefect's, Halo's stand-in, a sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flows.prefect_server import prefect_server, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server of these tests' own.

    What uses it is in the group `prefect`, so that one process runs it all.
    """
    with prefect_server(tmp_path_factory.mktemp("prefect")) as environment:
        wait_until_ready(environment)
        yield environment
