"""Types of flow parameters, chosen for the form in which Prefect's pages ask for them.

The form is made from the parameters' JSON schema, and the server checks a run against the schema
when it is created. For a parameter that may be None, Prefect 3.8 shows no field but `Property is
type "None"`; and where the schema has None as the default, its form sends a null that the server
then refuses. So the schema of an optional parameter is that of its value, without a default.
"""

from __future__ import annotations

import functools
import inspect
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, validate_call

from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.time_window import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

T = TypeVar("T")
P = ParamSpec("P")

_DAY_IN_MINUTES = 24 * 60


class _WithoutDefault(dict[str, Any]):
    """A JSON schema to which pydantic, which builds the rest around it, adds no default."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "default":
            super().__setitem__(key, value)


class _OfItsValue:
    """Gives `T | None` the JSON schema of `T`."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        [schema] = [one for one in handler(core_schema)["anyOf"] if one != {"type": "null"}]
        return _WithoutDefault(schema)


def _none_if_empty(value: object) -> object:
    """A field of the form that was filled in and emptied again."""
    return None if value in ("", []) else value


def _time(value: object) -> object:
    """A time in UTC; one without an offset is in UTC."""
    try:
        return parse_time(value.isoformat() if isinstance(value, datetime) else str(value))
    except SettingsError:
        raise ValueError(
            "it is no ISO 8601 time; write one such as 2026-03-01 or 2026-03-01T12:30:00Z"
        ) from None


OrEmpty = Annotated[T | None, BeforeValidator(_none_if_empty), _OfItsValue()]
"""A parameter that may be left out: its field stays empty."""
Time = Annotated[
    datetime,
    BeforeValidator(_time),
    Field(json_schema_extra={"pattern": r"^\d{4}-\d{2}-\d{2}"}),
]
"""A time, picked from a calendar."""
BlockNames = OrEmpty[list[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]]]
"""Names of Prefect blocks, which Prefect makes of nothing else."""
WaitMinutes = Annotated[float, Field(ge=0, le=_DAY_IN_MINUTES)]
"""How long to wait for another run."""


def validated(body: Callable[P, T]) -> Callable[P, T]:
    """Let the body of a flow check and convert its own arguments.

    Prefect does so, too, unless told not to, and logs a stack trace where one cannot be used. Such
    a value comes from a run that was created past the form, or was changed afterwards.

    Raises:
        SettingsError: By the function that is returned: an argument cannot be used.
    """
    names = [*inspect.signature(body).parameters]

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            # made here: Prefect pickles a flow for other processes, and this it cannot
            return validate_call(body)(*args, **kwargs)
        except ValidationError as error:
            if error.title != body.__name__:  # not of the arguments
                raise
            faults = []
            for fault in error.errors(include_url=False):
                first, *_ = fault["loc"]
                name = names[first] if isinstance(first, int) else first
                reason = fault["msg"].removeprefix("Value error, ")
                faults.append(f"{name}: '{foreign_text(fault['input'])}' cannot be used: {reason}")
            raise SettingsError(*faults) from None

    return run
