"""Writes what the documentation takes from declarations: `python -m tests.documents`.

A test compares, so that a declaration and its documentation cannot drift apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined

from tasks.plugin.derive.families import families
from tasks.plugin.fields import FIELDS, PLUGIN_FIELD_COUNT, Field
from tasks.settings import Settings
from tasks.syslog.sensor_url import KINDS
from tests.scale.model import Constants, constants_table, scale_table

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
FIELDS_PAGE = ROOT / "tasks" / "plugin" / "FIELDS.md"
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
"""The pages for people who use the project."""
_BEGIN = "<!-- {}: written from the models, see tests/documents.py -->\n"
_END = "<!-- /{} -->"


def fields_page() -> str:
    """Every column of normalized Parquet, as a page."""
    lines = [
        "# The columns of normalized Parquet",
        "",
        f"Written from `fields.toml` by `make golden`. The first {PLUGIN_FIELD_COUNT} are the",
        "fields of the USM Anywhere CloudPassage Halo plugin.",
        "",
        "| column | type | from the Halo event | CEF | at most | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(field) for field in FIELDS]
    lines += [
        "",
        "## What log entries and messages tell",
        "",
        "Halo's own fields win; a value that is no valid address or port stays null. Patterns and",
        "examples of each family: `derive/families.toml`.",
        "",
        "| lines of | columns |",
        "| --- | --- |",
    ]
    for family in families():
        told = {column for _, columns in family.examples for column in columns}
        columns = ", ".join(f"`{field.name}`" for field in FIELDS if field.name in told)
        lines.append(f"| {_escaped(family.name)} | {columns} |")
    return "\n".join(lines) + "\n"


def _row(field: Field) -> str:
    described = {"constant": f"always `{field.constant}`", "setting": "a setting"}
    sources = [described.get(source, source) for source in field.source]
    sources += ["the log entry or the message"] if field.derived else []
    keys = [f"header: {field.header}" if field.header else f"`{field.cef}`"] if field.cef else []
    keys += [f"`{field.cef}Label={field.label}`"] if field.label else []
    keys += [f"IPv6: `{field.ipv6[0]}`"] if field.ipv6 else []
    limit = f"{field.limit:,} characters" if field.limit else ""
    cells = [
        f"`{field.name}`",
        field.type,
        ", else ".join(sources),
        ", ".join(keys),
        limit,
        field.doc,
    ]
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str | None) -> str:
    """A text as a cell of a Markdown table."""
    return (text or "").replace("|", "\\|")


def settings_table() -> str:
    """Every setting, as a table."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{name.upper()}` | {default} | {_escaped(field.description)} |")
    return "\n".join(lines)


def options_table() -> str:
    """Every option of a sensor URL, as a table; two rows where a default differs."""
    schemes: dict[tuple[str, str, str | None], list[str]] = {}
    for scheme, kind in KINDS.items():
        for option, name in kind.options().items():
            field = kind.model_fields[name]
            default = "" if field.default in {None, PydanticUndefined} else f"{field.default}"
            row = option, default.removesuffix(".0"), field.description
            schemes.setdefault(row, []).append(f"`{scheme}://`")
    lines = ["| option | of | default | meaning |", "| --- | --- | --- | --- |"]
    for (option, default, meaning), found in schemes.items():
        kinds = "all" if len(found) == len(KINDS) else ", ".join(found)
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{option}` | {kinds} | {shown} | {_escaped(meaning)} |")
    return "\n".join(lines)


def rules_table() -> str:
    """What each of the plugin's fields is good for in a correlation rule, as a table."""
    lines = ["| field | what it says | in a rule |", "| --- | --- | --- |"]
    lines += [f"| `{field.name}` | {field.doc} | {field.rule} |" for field in FIELDS if field.rule]
    return "\n".join(lines)


_TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "sensor options": options_table,
    "rules": rules_table,
    "constants of scale": lambda: constants_table(Constants.recorded()),
    "scale": lambda: scale_table(Constants.recorded()),
}
"""The tables that are written from the models, by the name in their comments."""


def written(text: str) -> str:
    """A page with the tables that it has written anew."""
    for name, table in _TABLES.items():
        if (begin := _BEGIN.format(name)) in text:
            before, rest = text.split(begin)
            end = _END.format(name)
            text = f"{before}{begin}{table()}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    FIELDS_PAGE.write_text(fields_page(), "utf-8")
    for page in PAGES:
        page.write_text(written(page.read_text("utf-8")), "utf-8")
