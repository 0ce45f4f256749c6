"""The families of log entries as data: what `families.toml` declares, typed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Pattern:
    """One form of line.

    Attributes:
        regex: RE2; its groups are named after columns.
        line: instead, RE2 of the line that each of `each` is looked for in.
        each: column to RE2 with one group, `value`.
        set: what the match itself tells, by column.
    """

    regex: str = ""
    line: str = ""
    each: tuple[tuple[str, str], ...] = ()
    set: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Family:
    """Lines of one program.

    Attributes:
        name: for people.
        marker: plain texts of which an entry of this family has at least one.
        source: `log` for the log entry, `message` for the event's message.
        patterns: in the order they are tried.
        xml: column by the name of a Windows event's data; such a family has no patterns.
        examples: text, and the columns it must give.
    """

    name: str
    marker: tuple[str, ...]
    source: str
    patterns: tuple[Pattern, ...]
    xml: dict[str, str]
    examples: tuple[tuple[str, dict[str, str | int]], ...]


@cache
def families() -> tuple[Family, ...]:
    """Every declared family, in the order they are tried."""
    declared = tomllib.loads((files(__package__) / "families.toml").read_text("utf-8"))
    fragments: dict[str, str] = declared["fragments"]

    def pattern(table: dict[str, Any]) -> Pattern:
        return Pattern(
            regex=_expanded(table.get("regex", ""), fragments),
            line=_expanded(table.get("line", ""), fragments),
            each=tuple(table.get("each", {}).items()),
            set=tuple(table.get("set", {}).items()),
        )

    return tuple(
        Family(
            name=table["name"],
            marker=tuple(table["marker"]),
            source=table.get("source", "log"),
            patterns=tuple(pattern(each) for each in table.get("pattern", ())),
            xml=table.get("xml", {}),
            examples=tuple((example.pop("text"), example) for example in table["example"]),
        )
        for table in declared["family"]
    )


def _expanded(regex: str, fragments: dict[str, str]) -> str:
    for name, fragment in fragments.items():
        regex = regex.replace(f"{{{{{name}}}}}", fragment)
    return regex
