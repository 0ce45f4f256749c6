"""The mapping as data: what `fields.toml` declares, typed.

Transform, renderers, documentation and tests all read this one declaration.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import pyarrow as pa

PLUGIN_FIELD_COUNT = 22

_ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "timestamp[us, UTC]": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Field:
    """One column of normalized Parquet and the CEF key that carries it.

    Attributes are described at the top of `fields.toml`.
    """

    name: str
    type: str
    source: tuple[str, ...]
    doc: str
    derived: bool = False
    html: bool = False
    cef: str | None = None
    label: str | None = None
    ipv6: tuple[str, str] | None = None
    limit: int | None = None
    constant: str | bool | None = None
    leef: str | None = None
    rule: str | None = None

    @cached_property
    def arrow_type(self) -> pa.DataType:
        """The column's Arrow type."""
        return _ARROW_TYPES[self.type]

    @property
    def header(self) -> str | None:
        """The position in the CEF header, where the field is part of it."""
        kind, _, position = (self.cef or "").partition(":")
        return position if kind == "header" else None


def _field(declared: dict[str, Any]) -> Field:
    lists = {key: tuple(value) for key, value in declared.items() if isinstance(value, list)}
    return Field(**(declared | lists))


_DECLARED = tomllib.loads((files(__package__) / "fields.toml").read_text("utf-8"))

MAPPING_VERSION: str = _DECLARED["version"]
"""Version of the mapping: kept in the metadata of every normalized file."""
MAPPING_VERSION_KEY = "halo_usm.mapping_version"
"""Where in the metadata."""

FIELDS: tuple[Field, ...] = tuple(_field(declared) for declared in _DECLARED["field"])
"""Every column of normalized Parquet, in order; the first 22 are the plugin's."""

BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}

CEF_PREFIX: tuple[Field, ...] = tuple(BY_NAME[name] for name in _DECLARED["cef_prefix"])
"""The fields whose keys come first in the CEF extension, with no other key in between."""

CEF_ORDER: tuple[Field, ...] = (
    *CEF_PREFIX,
    *(BY_NAME[name] for name in _DECLARED["cef_order"]),
)
"""The fields of the CEF extension, in the order of their keys."""

PRODUCT: str = _DECLARED["product"]
"""The product in the headers of CEF and LEEF."""

NORMALIZED_SCHEMA: pa.Schema = pa.schema(
    [pa.field(field.name, field.arrow_type) for field in FIELDS],
    metadata={MAPPING_VERSION_KEY: MAPPING_VERSION},
)
"""Schema of normalized Parquet, with the mapping's version in its metadata."""
