"""Where a promotion, a restore or a salvage ended a line of GTIDs: objects state/lines/<utc>-<kind>.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.errors import StorageError
from holdfast.gtid import GtidSet

SCHEMA_VERSION = 1
FOLDER = "state/lines"
KINDS = ("promotion", "restore", "salvage")


@dataclass(frozen=True)
class Line:
    """The transactions that were given up at a moment (UTC), and why."""

    kind: str
    at: datetime
    abandoned: GtidSet
    note: str

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{FOLDER}/{self.at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.kind}.json"

    def to_json(self) -> bytes:
        """The line as it is stored."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "at": f"{self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "abandoned_gtids": str(self.abandoned),
            "note": self.note,
        }
        return (json.dumps(document, indent=1) + "\n").encode()

    @staticmethod
    def from_json(data: bytes, name: str) -> Line:
        """Read a stored line. Raises StorageError: a plan that ignored one could bring back what was given up."""
        try:
            document = json.loads(data)
            if document["schema_version"] > SCHEMA_VERSION:
                raise ValueError(f"schema_version {document['schema_version']} is newer than {SCHEMA_VERSION}")
            if document["kind"] not in KINDS:
                raise ValueError(f"kind {document['kind']!r}")
            at = datetime.strptime(document["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            return Line(document["kind"], at, GtidSet.parse(document["abandoned_gtids"]), str(document.get("note", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{name} cannot be read: {type(error).__name__} {error}",
                meaning="It says which transactions were given up; without it a plan could bring them back.",
                remedy="Restore the object's earlier version, or update the programs on this host.",
            ) from None
