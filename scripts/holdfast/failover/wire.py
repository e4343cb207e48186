"""What keeper, guards and managers send each other, as JSON and back (pure).

A peer is authenticated, yet it may be of another release or broken: whatever does not fit is refused by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from holdfast.config_reader import section
from holdfast.errors import ConfigurationError, ToolError
from holdfast.failover.protocol import Server

T = TypeVar("T")


class WireError(ToolError):
    """A document that is not what it should be; the message names the key."""


@dataclass(frozen=True, slots=True)
class GuardReport:
    """What a guard says of its server.

    `server_uuid` is empty when SQL has never answered, `server` None while it does not. `highest_term`: of all records
    that it saw. `received_position`: how far the replication channel has received. `io_connected`: its receiver is
    connected to `source_host`. `in_sync_view`: the instance that the record named when it was last read, for people.
    `swapped_alone`: this guard process acknowledges alone by its own swap. `seconds_since_sql`: since SQL answered.
    """

    host: str
    server_uuid: str
    highest_term: int
    server: Server | None
    gtid_executed: str
    received_position: str
    sql_error: str
    source_host: str
    io_connected: bool
    in_sync_view: str
    version: str
    swapped_alone: bool
    seconds_since_sql: float
    notices: tuple[str, ...]


def to_json(value: Any) -> Any:
    """Return a dataclass of the protocol as what json.dumps takes: enums by their name in lower case."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], document: object, name: str = "") -> T:
    """Return the dataclass in a parsed document; `name` is put before the keys that a WireError names."""
    try:
        return section(kind, document, {}, name)
    except ConfigurationError as error:
        raise WireError(f"{cast(Any, kind).__name__}: {error.what}") from None


def optional_from_json(kind: type[T], document: object, key: str) -> T | None:
    """Return what stands under a key of an answer, None for null. Raises WireError, also when the key is missing."""
    if not isinstance(document, Mapping) or key not in document:
        raise WireError(f"{key}: missing")
    return None if document[key] is None else from_json(kind, document[key], key)
