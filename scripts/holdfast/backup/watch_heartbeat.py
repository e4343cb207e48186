"""Each watcher's sign of life in the store, state/watch/<host>.json, and who speaks when one is missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from holdfast.backup.schedule import CLOCKS_DIFFER
from holdfast.backup.sealed import seal, unseal
from holdfast.backup.store import Store
from holdfast.clock import format_utc, parse_utc
from holdfast.config_watch import LimitsConfig, WatchConfig
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet

SCHEMA_VERSION = 1
FOLDER = "state/watch"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heartbeat:
    """A watcher was at work at `at` (UTC, its own clock); `alarms` are the keys that stood, `unsent` those not told.

    `gtid_executed` is what its server had then; empty on a host without one, or with one that did not answer.
    """

    host: str
    at: datetime
    alarms: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    gtid_executed: GtidSet = field(default_factory=GtidSet)

    def to_json(self) -> bytes:
        """The heartbeat as it is stored."""
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "host": self.host,
            "at": format_utc(self.at),
            "alarms": list(self.alarms),
            "unsent": list(self.unsent),
            "gtid_executed": str(self.gtid_executed),
        }
        return seal(document)

    @staticmethod
    def from_json(data: bytes, name: str) -> Heartbeat:
        """Read a stored heartbeat. Raises StorageError naming `name` if it is damaged or too new."""
        document = unseal(data, name, schema_version=SCHEMA_VERSION)
        try:
            return Heartbeat(
                host=str(document["host"]),
                at=parse_utc(document["at"]),
                alarms=tuple(document["alarms"]),
                unsent=tuple(document["unsent"]),
                gtid_executed=GtidSet.parse(document["gtid_executed"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{name} is not a watcher's heartbeat: {error}", meaning="That host counts as silent."
            ) from None


def name_of_heartbeat(host: str) -> str:
    """The host's object in the store. It alone is replaced: only the last sign matters."""
    return f"{FOLDER}/{host}.json"


def is_silent(heartbeat: Heartbeat | None, born: datetime, now: datetime, limits: LimitsConfig) -> bool:
    """Whether a host's sign is too old, or says that its messages do not go out (pure).

    One that never came is waited for as long, from `born` on. One from the future says nothing: its host's clock was
    wrong, and it would count as alive until then.
    """
    if heartbeat is not None and heartbeat.unsent:
        return True
    since = born if heartbeat is None else heartbeat.at
    return not -CLOCKS_DIFFER <= now - since <= timedelta(hours=limits.heartbeat_maximum_age_hours)


def speaks(config: WatchConfig, host: str, heartbeats: Mapping[str, Heartbeat], born: datetime, now: datetime) -> bool:
    """Whether this host judges the store now (pure).

    The speaker does; while it is silent the first database host that is not. A host does not wait for its own
    heartbeat: it is at work.
    """
    if host == config.speaker:
        return True

    def silent(other: str) -> bool:
        return is_silent(heartbeats.get(other), born, now, config.limits)

    if not silent(config.speaker):
        return False
    return next((other for other in config.database_hosts if other == host or not silent(other)), "") == host


def load_heartbeats(store: Store) -> dict[str, Heartbeat]:
    """Every host's last sign; one that is damaged counts as none. Raises StorageError when the store fails."""
    found = {}
    for name, data in store.bulk.fetch([item.name for item in store.list(FOLDER)]).items():
        try:
            heartbeat = Heartbeat.from_json(data, name)
        except StorageError as error:
            log.warning("%s", error)
            continue
        if name == name_of_heartbeat(heartbeat.host):
            found[heartbeat.host] = heartbeat
    return found
