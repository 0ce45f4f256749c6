"""Documentation: what it takes from declarations, and that its links and its names are right."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from flows.cli.app import app
from tasks.plugin.fields import FIELDS, PLUGIN_FIELD_COUNT
from tasks.syslog.sensor_url import KINDS
from tests.documents import FIELDS_PAGE, PAGES, README, ROOT, fields_page, written
from tests.messages import INTERNAL, MESSAGES_PAGE, is_on_the_page, messages, texts

if TYPE_CHECKING:
    from pathlib import Path

LINKED = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")


def test_the_page_of_fields_says_what_is_declared() -> None:
    """`make golden` was run since the declaration changed."""
    assert FIELDS_PAGE.read_text("utf-8") == fields_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_say_what_is_declared(page: Path) -> None:
    """`make golden` was run since settings, options or fields changed."""
    text = page.read_text("utf-8")
    assert written(text) == text


def test_settings_options_and_fields_are_all_documented() -> None:
    """Every option of a sensor URL and every field of the plugin has its row."""
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for kind in KINDS.values():
        assert all(f"| `{option}` |" in text for option in kind.options())
    text = (ROOT / "docs" / "usm-anywhere.md").read_text("utf-8")
    assert all(f"| `{field.name}` |" in text for field in FIELDS[:PLUGIN_FIELD_COUNT])


def test_every_message_is_on_its_page() -> None:
    """Whatever the program may say, `docs/messages.md` says what it means."""
    missing = [f"{one.place}: {one.whole}" for one in messages() if not is_on_the_page(one)]
    assert not missing, f"add to {MESSAGES_PAGE.name}: {missing}"


def test_the_page_of_messages_has_none_that_is_gone() -> None:
    """Each text in a first column, and each one that is excepted, is still in the source."""
    said = "\n".join(text.whole for text in texts())
    rows = re.findall(r"^\| (``.+?``) +\| ", MESSAGES_PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 100
    phrases = [*INTERNAL]
    for row in rows:
        for text in re.findall(r"``(.+?) ?``(?:, |$)", row):
            pieces = text.replace("\\|", "|").split("…")
            phrases.append(max(pieces, key=len).strip(" ;,:.'()"))
    assert [phrase for phrase in phrases if phrase not in said] == []


def test_the_notebook_lines_of_the_readme_open_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """They give the week of the sample that ships, and what one destination lacks of it."""
    monkeypatch.chdir(ROOT)
    [lines] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(lines, names)
    assert {field.name for field in FIELDS} < {*names["events"]}
    assert len(names["events"]) == 2_057
    assert len(names["failed"]) == 40


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """No link to a file, or to a heading of a page, that is not there."""
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text("utf-8")):
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_the_readme_links_every_page() -> None:
    """Who begins there finds all of them."""
    text = README.read_text("utf-8")
    assert [page.name for page in PAGES[1:] if f"](docs/{page.name})" not in text] == []


def test_contributing_names_files_that_are_there_and_hold_what_it_says() -> None:
    """Every path of its table exists, and defines the names behind it."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (?!to change|---)(.+) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) >= 9
    for change, answer in rows:
        paths = re.findall(r"`([a-z_]+/[\w/.]+)`(?: \(`(\w+)`\))?", answer)
        assert paths, change
        for path, name in paths:
            assert (ROOT / path).exists(), path
            if name:
                defines = rf"^(?:class |(?:async )?def )?{name}\b"
                assert re.search(defines, (ROOT / path).read_text("utf-8"), re.MULTILINE), name


def test_every_command_has_an_example_that_is_understood() -> None:
    """`--help` of each command shows one."""
    names = [name for name in app if not name.startswith("-")]
    assert {"demo", "check", "sync", "load", "replay", "status"} <= set(names)
    for name in names:
        example = str(app[name].help_epilogue).removeprefix("Example: halo-usm ")
        assert example.startswith(name)
        app.parse_args(shlex.split(example), exit_on_error=False)
