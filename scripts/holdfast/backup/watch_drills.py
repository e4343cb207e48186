"""What restore drills left in the store, and what the cleanup left on this host, as far as a watcher asks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from holdfast.backup import drills
from holdfast.backup.watch_store import Cleanup, Drill
from holdfast.clock import parse_utc
from holdfast.errors import StorageError

CLEANUP = "cleanup.json"

log = logging.getLogger(__name__)


def drills_of(objects: Mapping[str, bytes]) -> list[Drill]:
    """The drills, oldest first. One that cannot be read failed, at the time in its name: it proves nothing."""
    found = []
    for name, data in objects.items():
        stamp = name.rpartition("/")[2].removesuffix(".json")
        try:
            at = parse_utc(stamp)
        except ValueError:
            log.warning("%s is not named after a time: it is not a drill's", name)
            continue
        found.append(Drill(at, _problem(data, name)))
    return sorted(found, key=lambda drill: drill.at)


def cleanup_of(state_directory: Path) -> Cleanup | None:
    """The last run of the cleanup; None when it never ran, or left nothing that can be read."""
    try:
        document = json.loads((state_directory / CLEANUP).read_text(encoding="utf-8"))
        return Cleanup(parse_utc(document["at"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read: %s", state_directory / CLEANUP, error)
        return None


def _problem(data: bytes, name: str) -> str:
    try:
        drill = drills.Drill.from_json(data, name)
    except StorageError as error:
        return error.what
    return "" if drill.passed else f"{drill.backup_id}: {drill.note or 'it did not pass'}"
