"""What listens on a port in a process of its own, beside the one that is measured."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class ListeningProcess:
    """Listens while the context is entered.

    Args:
        serve: Takes a pipe's end, into which it puts its port, and `arguments`. Never returns.
        arguments: For it.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, *arguments), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.port: int = self._here.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
