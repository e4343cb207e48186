"""What a host's stream of binlogs says after each turn: state/stream/<host>.json, which alone is replaced."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.backup.sealed import seal, unseal
from holdfast.clock import format_utc, parse_utc
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet

SCHEMA_VERSION = 1
FOLDER = "state/stream"


@dataclass(frozen=True)
class StreamSign:
    """At `at` (UTC, its own clock) `host` was a healthy replica, and all that it had is in the store.

    `lag_seconds` is how far behind its source it was, `gtid_executed` what it had, `file` the binlog that was open.
    """

    host: str
    at: datetime
    lineage: str
    file: str
    lag_seconds: int
    gtid_executed: GtidSet

    @property
    def reached(self) -> datetime:
        """What was committed until then is in the store, as far as the replica's own measure of its lag tells."""
        return self.at - timedelta(seconds=self.lag_seconds)

    def to_json(self) -> bytes:
        """The sign as it is stored."""
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "host": self.host,
            "at": format_utc(self.at),
            "lineage": self.lineage,
            "file": self.file,
            "lag_seconds": self.lag_seconds,
            "gtid_executed": str(self.gtid_executed),
        }
        return seal(document)

    @staticmethod
    def from_json(data: bytes, name: str) -> StreamSign:
        """Read a stored sign. Raises StorageError naming `name` if it is damaged or too new."""
        document = unseal(data, name, schema_version=SCHEMA_VERSION)
        try:
            sign = StreamSign(
                host=str(document["host"]),
                at=parse_utc(document["at"]),
                lineage=str(document["lineage"]),
                file=str(document["file"]),
                lag_seconds=int(document["lag_seconds"]),
                gtid_executed=GtidSet.parse(document["gtid_executed"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{name} is not the sign of a stream: {error}") from None
        if name_of_sign(sign.host) != name:
            raise StorageError(f"{name} says that it is of {sign.host}")
        return sign


def name_of_sign(host: str) -> str:
    """The host's object in the store."""
    return f"{FOLDER}/{host}.json"
