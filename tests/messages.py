"""Collects the messages of the program from its source, for the page that explains them.

A message is a text of four words or more that is no docstring, no help and no description. Where
it has values in it, its longest piece between them is what the page must hold.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VALUE = "\0"
_NO_MESSAGES = {"help", "description", "help_epilogue"}
"""Keyword arguments whose texts are shown by `--help` or stand in a table of the README."""
_LEAST_WORDS = 4


class Message(NamedTuple):
    """A text that the program may show.

    Attributes:
        place: Where it is, as `path:line`.
        pieces: What stands between its values.
    """

    place: str
    pieces: tuple[str, ...]

    @property
    def longest(self) -> str:
        """The piece by which it is found."""
        return max(self.pieces, key=len)

    def __str__(self) -> str:
        return "…".join(self.pieces)


def messages() -> Iterator[Message]:
    """Every text of `flows/` and `tasks/` that looks like a message."""
    for folder in ("flows", "tasks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from _of_module(path)


def _of_module(path: Path) -> Iterator[Message]:
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.keyword) and node.arg in _NO_MESSAGES:
            continue
        text = _text(node)
        if text is None:
            todo += ast.iter_child_nodes(node)
            continue
        if isinstance(node, ast.JoinedStr):  # values may hold texts of their own
            todo += [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        pieces = tuple(re.sub(r"\s+", " ", piece) for piece in text.split(_VALUE))
        if len(re.findall(r"[A-Za-z]{2,}", " ".join(pieces))) >= _LEAST_WORDS and " " in text:
            line = getattr(node, "lineno", 0)
            yield Message(f"{path.relative_to(ROOT)}:{line}", pieces)


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_text(part) if isinstance(part, ast.Constant) else _VALUE for part in node.values]
        return "".join(part or "" for part in parts)
    return None


if __name__ == "__main__":
    for message in messages():
        print(f"{message.place}: {message}")
