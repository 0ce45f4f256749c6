"""What syslog-ng's own parsers make of the lines."""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tasks.cef.export_formats import export_lines
from tasks.cef.render import render
from tasks.plugin.fields import CEF_ORDER, FIELDS
from tests import syslog_ng
from tests.cef.decode import decode
from tests.cef.events import NASTY, Row, event, table
from tests.cef.test_properties import escaped

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 300

_CONFIG = """\
@version: 3.35
options {{ stats-freq(0); log-msg-size(262144); }};
source s {{ stdin(flags(no-parse)); }};
{parsers}
destination d {{ file("{file}" template("$(format-json --scope none --key .read.*)\\n")); }};
log {{ source(s); {parser} destination(d); }};
"""
_KEY_VALUE = 'parser p { kv-parser(prefix(".read.") template("${MESSAGE}")); };'
_CEF = """\
parser p_bars {
    csv-parser(columns("1", "2", "3", "4", "5", "6", "7", "rest") delimiters("|") flags(greedy));
};
parser p_pairs { kv-parser(prefix(".read.") template("${rest}")); };
"""


def nasty_rows(columns: list[str], pieces: list[str]) -> list[Row]:
    """Make events with the worst of texts in some of the columns, the same ones every time."""
    chance = random.Random(1)
    return [
        event(
            **{
                column: "".join(chance.choices(pieces, k=chance.randint(1, 6)))
                for column in chance.sample(columns, 4)
            }
        )
        for _ in range(ROWS)
    ]


def by_syslog_ng(folder: Path, lines: list[str], parsers: str, parser: str) -> list[dict[str, str]]:
    """Pass lines through a parser of syslog-ng; returns its keys and values, line by line."""
    syslog_ng.require()
    program = syslog_ng.find()
    assert program is not None
    read = folder / "read.json"
    config = folder / "syslog-ng.conf"
    config.write_text(_CONFIG.format(parsers=parsers, parser=parser, file=read))
    files = {"-f": config, "-R": folder / "persist", "-c": folder / "control", "-p": folder / "pid"}
    options = [part for flag, file in files.items() for part in (flag, str(file))]
    subprocess.run(
        [program, "--foreground", "--no-caps", "--stderr", *options],
        input="".join(f"{line}\n" for line in lines).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    records = [json.loads(line) for line in read.read_text("utf-8").split("\n")[:-1]]
    return [record.get("_read", {}) for record in records]


@pytest.mark.syslog_ng
def test_key_value_by_syslog_ng(tmp_path: Path) -> None:
    """syslog-ng's `kv-parser` gives every text of a key=value line back."""
    columns = [field.name for field in FIELDS if field.type == "string"]
    plain = [piece for piece in NASTY if piece.isprintable() or piece in "\t\r\n"]
    rows = nasty_rows(columns, plain)
    lines = export_lines(table(*rows), "kv").to_pylist()
    read = by_syslog_ng(tmp_path, lines, _KEY_VALUE, "parser(p);")
    assert len(read) == len(rows)
    for row, values in zip(rows, read, strict=True):
        texts = {column: row[column] for column in columns if row.get(column) is not None}
        assert {key: value for key, value in values.items() if key in columns} == texts


@pytest.mark.syslog_ng
def test_cef_by_syslog_ng(tmp_path: Path) -> None:
    """syslog-ng's parsers, which know nothing of CEF, find no key in a value, and lose none.

    Their rules: a value that begins with a quotation mark ends at the next; outer spaces go.
    """
    columns = [field.name for field in CEF_ORDER if field.type == "string"]
    for pieces in NASTY, [piece for piece in NASTY if piece not in "'\""]:
        rows = nasty_rows(columns, pieces)
        lines = render(table(*rows)).lines.to_pylist()
        read = by_syslog_ng(tmp_path, lines, _CEF, "parser(p_bars); parser(p_pairs);")
        assert len(read) == len(rows)
        for line, values in zip(lines, read, strict=True):
            pairs = {key: escaped(value).strip(" ") for key, value in decode(line).pairs}
            assert values.keys() <= pairs.keys()
            if pieces is not NASTY:
                assert values == pairs
        (tmp_path / "read.json").unlink()
