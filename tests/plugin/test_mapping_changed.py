"""The mapping is data: a change of a source in `fields.toml` is all that it takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.flows.command import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, sys
import pyarrow as pa
from datetime import UTC, datetime
from tasks.plugin.normalize import normalize
events = json.load(sys.stdin)
raw = pa.table({
    "event_id": [event["id"] for event in events],
    "created_at": pa.array([datetime.now(UTC)] * len(events), pa.timestamp("us", tz="UTC")),
    "event": [json.dumps(event) for event in events],
})
rows = normalize(raw, "192.0.2.1").rows.to_pylist()
print(json.dumps([[row["server_group_name"], row["extras"]] for row in rows]))
"""
BEFORE = 'source = ["server_group_name"]'
AFTER = 'source = ["server_label", "server_group_name", "server_group_path"]'
EXPECTED: list[tuple[dict[str, Any], str, dict[str, Any] | None]] = [
    ({"server_label": "a", "server_group_name": "b"}, "a", {"server_group_name": "b"}),
    ({"server_label": 7}, "7", None),
    ({"server_label": "", "server_group_name": "b"}, "b", None),
    ({"server_group_path": "c", "cpe": 1}, "c", {"cpe": 1}),
    ({"server_group_path": ["c"]}, '["c"]', None),
]


def test_a_column_is_read_from_other_fields(tmp_path: Path) -> None:
    """From the first of any number of fields that is present; what is not read stays in extras."""
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks")
    mapping = tmp_path / "tasks" / "plugin" / "fields.toml"
    text = mapping.read_text()
    assert BEFORE in text
    mapping.write_text(text.replace(BEFORE, AFTER))
    events = [{"id": str(number)} | event for number, (event, *_) in enumerate(EXPECTED)]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(events),
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = [(name, extras and json.loads(extras)) for name, extras in json.loads(ran.stdout)]
    assert found == [(name, extras) for _, name, extras in EXPECTED]
