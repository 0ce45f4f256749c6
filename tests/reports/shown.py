"""Answers of `status` and `audit` as `--json` shows them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tasks.reports.answer import as_json

if TYPE_CHECKING:
    from tasks.reports.answer import Answer


def shown(answer: Answer) -> dict[str, Any]:
    """What machines get of an answer."""
    found: dict[str, Any] = json.loads(json.dumps(answer, default=as_json))
    return found
