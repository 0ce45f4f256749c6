"""Collects the messages of the program from its source, for the page that explains them.

A message is a text of four words or more that is no docstring, no help and no description. Where
it has values in it, its longest piece between them is what the page must hold.
"""

from __future__ import annotations

import ast
import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGES_PAGE = ROOT / "docs" / "messages.md"
INTERNAL = (
    # faults of the program itself, never of what it is given
    "is not within one UTC day",
    "window bounds are in UTC, not ",
    "is empty or backward",
    "an event without id or date is malformed and cannot be staged as raw",
    "no such tree: ",
    "hosts: one of each an event is needed",
    "the commands of halo-usm do without ",
    # patterns and names
    "max_retries:",
    "InvalidCertificate",
    "MMM dd yyyy HH:mm:ss.SSS z",
    "actor_country actor_key_label",
    "a abbr acronym address",
)
"""Texts that are no messages to anybody, by a piece of each."""
_OUTSIDE = {
    "deployments/alert_rules.py",
    "flows/artifacts.py",
    "flows/cli/demo.py",
    "flows/cli/demo_live.py",
    "flows/coverage_picture.py",
    "tasks/reports/audit_report/charts.py",
    "tasks/reports/metrics.py",
}
"""Where texts are no messages: alerts, the demo's story, pages, pictures, help of metrics."""
_COMMAND = re.compile(r"halo-usm \w+")
_VALUE = "\0"
_FORMAT = re.compile(r"%(?:\.\d)?[sdf]")
_NO_MESSAGES = {"help", "description", "help_epilogue"}
"""Keyword arguments whose texts are shown by `--help` or stand in a table of the documentation."""
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

    @property
    def whole(self) -> str:
        """The text, with an ellipsis for each value."""
        return "…".join(self.pieces)


def messages() -> Iterator[Message]:
    """Every text that looks like a message."""
    for text in texts():
        words = re.findall(r"[A-Za-z]{2,}", text.whole)
        if (
            len(words) >= _LEAST_WORDS
            and " " in text.whole
            and not _COMMAND.match(text.whole)
            and not any(piece in text.whole for piece in INTERNAL)
        ):
            yield text


def texts() -> Iterator[Message]:
    """Every text of the source but docstrings, help and descriptions."""
    for folder in ("deployments", "flows", "tasks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if str(path.relative_to(ROOT)) not in _OUTSIDE:
                yield from _of_module(path)


@functools.cache
def _page() -> str:
    return " ".join(MESSAGES_PAGE.read_text("utf-8").replace("\\|", "|").split())


def is_on_the_page(message: Message) -> bool:
    """Whether the page of messages has the longest piece of this one."""
    return message.longest.strip(" ;,:.") in _page()


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
        pieces = tuple(
            re.sub(r"\s+", " ", piece) for piece in _FORMAT.sub(_VALUE, text).split(_VALUE)
        )
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
        print(f"{message.place}: {message.whole}")
