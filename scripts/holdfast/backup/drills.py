"""What restore drills left in the store, state/drills/<UTC>.json: the only word on whether a backup restores."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.backup.manifest import time_from
from holdfast.clock import compact_utc, format_utc
from holdfast.errors import StorageError

if TYPE_CHECKING:
    from holdfast.backup.store import Store

SCHEMA_VERSION = 1
FOLDER = "state/drills"


@dataclass(frozen=True)
class Drill:
    """A restore that was tried at a moment (UTC): of which backup, and whether what came out was right.

    `measured` has numbers by names that end with their units; `plan` predicts from them.
    """

    at: datetime
    backup_id: str
    passed: bool
    host: str = ""
    note: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{FOLDER}/{compact_utc(self.at)}.json"

    def to_json(self) -> bytes:
        """The drill as it is stored."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "at": format_utc(self.at),
            "backup_id": self.backup_id,
            "passed": self.passed,
            "host": self.host,
            "note": self.note,
            "measured": dict(self.measured),
        }
        return (json.dumps(document, indent=1) + "\n").encode()

    @staticmethod
    def from_json(data: bytes, name: str) -> Drill:
        """Read a stored drill; keys beyond these are others' business. Raises StorageError naming `name`."""
        try:
            document = json.loads(data)
            if document["schema_version"] > SCHEMA_VERSION:
                raise ValueError(f"schema_version {document['schema_version']} is newer than {SCHEMA_VERSION}")
            if not isinstance(document["passed"], bool):
                raise TypeError("passed is neither true nor false")
            return Drill(
                time_from(document["at"]),
                str(document["backup_id"]),
                document["passed"],
                str(document.get("host", "")),
                str(document.get("note", "")),
                {str(key): float(value) for key, value in document.get("measured", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{name} cannot be read: {type(error).__name__} {error}",
                meaning="It says whether a backup could be restored.",
                remedy="Look at the object's older versions in the store, or update the programs on this host.",
            ) from None


def load_drills(store: Store) -> list[Drill]:
    """Every drill in the store, oldest first. Raises StorageError."""
    names = [item.name for item in store.list(FOLDER) if item.name.endswith(".json")]
    return sorted((Drill.from_json(store.get_bytes(name), name) for name in names), key=lambda drill: drill.at)


def last_drills(store: Store, count: int) -> list[Drill]:
    """The last few drills, oldest first; for who only wants their numbers, so what cannot be read is passed over."""
    found = []
    for name in sorted(item.name for item in store.list(FOLDER) if item.name.endswith(".json"))[-count:]:
        with contextlib.suppress(StorageError):
            found.append(Drill.from_json(store.get_bytes(name), name))
    return found


def newest_passed(drills: Iterable[Drill]) -> Drill | None:
    """The last drill that passed."""
    return max((drill for drill in drills if drill.passed), key=lambda drill: drill.at, default=None)
