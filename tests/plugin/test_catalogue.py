"""The catalogue of event types."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.plugin.catalogue import TYPES, look_up, unknown_types
from tests.plugin.raw import normalized, row


def test_the_catalogue_has_182_types() -> None:
    """There are as many types as the reference lists, each once."""
    assert len(TYPES) == len(set(TYPES)) == 182


@pytest.mark.parametrize(
    ("kind", "name", "signature_id", "category"),
    [
        ("fim_target_integrity_changed", "whatever", "130", "Server Events"),
        ("api_login_success", None, "908", "Halo Users and Authentication"),
        ("ci_image_scan_completed", "Ci image scan completed", "999", "Image Events"),
        ("ci_image_scan_completed", "Alert profile assigned", "700", "Image Events"),
        ("brand_new_type", "Brand new", "999", None),
        ("brand_new_type", "ALERT Profile Assigned", "700", None),
        (None, "alert profile assigned", "700", None),
        (None, None, "999", None),
        ("FIM_TARGET_INTEGRITY_CHANGED", None, "999", None),
    ],
)
def test_look_up(
    kind: str | None, name: str | None, signature_id: str, category: str | None
) -> None:
    """By type; else by name in lower case; else 999. Only a known type has a category."""
    found = row({"type": kind, "name": name})
    assert (found["rep_device_rule_id"], found["event_category"]) == (signature_id, category)


def test_every_type_has_an_id_and_a_category() -> None:
    """No known type is without category, and no id is null."""
    entry = look_up(pa.array(TYPES), pa.nulls(len(TYPES), pa.string()))
    assert entry.categories.null_count == entry.signature_ids.null_count == 0


def test_unknown_types_are_counted() -> None:
    """Types that the catalogue does not know are counted, the most frequent first."""
    rows = normalized(
        *({"type": kind} for kind in ("new", "newer", "newer", "server_restarted", None))
    ).rows
    assert list(unknown_types(rows).items()) == [("newer", 2), ("new", 1)]
    assert unknown_types(rows.to_batches()[0]) == {"newer": 2, "new": 1}
    assert unknown_types(rows.slice(0, 0)) == {}
