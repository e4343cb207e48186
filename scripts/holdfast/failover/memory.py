"""What the manager host remembers besides the record: a pause, the last failover, since when who is in sync, events.

None of it decides who may be promoted. Small JSON files in <state_directory>/failover; one that cannot be read counts
as missing, with a line in the log, except the pause: that one counts as set.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast.clock import format_utc, parse_utc
from holdfast.errors import ToolError

log = logging.getLogger(__name__)
UNREADABLE = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pause:
    """No automatic failover until then (UTC); who asked for it."""

    until: datetime
    since: datetime
    by: str


class Memory:
    """The files. Writing raises ToolError when the disk is full."""

    def __init__(self, state_directory: Path) -> None:
        self._folder = state_directory / "failover"

    def pause(self, now: datetime) -> Pause | None:
        """Return the pause that stands now."""
        try:
            found = self._read("pause")
            if not found:
                return None
            pause = Pause(parse_utc(found["until"]), parse_utc(found["since"]), str(found["by"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("pause: cannot be read (%s): it counts as set; mysql-failover resume ends it", error)
            return Pause(UNREADABLE, now, "an unreadable file")
        return pause if pause.until > now else None

    def set_pause(self, now: datetime, duration: timedelta, by: str) -> Pause:
        """Pause for a while."""
        pause = Pause(now + duration, now, by)
        self._write("pause", {"until": format_utc(pause.until), "since": format_utc(now), "by": by})
        return pause

    def end_pause(self) -> None:
        """Resume."""
        (self._folder / "pause.json").unlink(missing_ok=True)

    def get(self, name: str) -> Mapping[str, Any]:
        """Return one of the other files; empty when it is missing or damaged."""
        try:
            return self._read(name)
        except (OSError, ValueError) as error:
            log.warning("%s: cannot be read: %s", self._folder / f"{name}.json", error)
            return {}

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one of them, if it says something new."""
        if self.get(name) != document:
            self._write(name, document)

    def _read(self, name: str) -> Mapping[str, Any]:
        try:
            text = (self._folder / f"{name}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        path = self._folder / f"{name}.json"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.new")
            temporary.write_text(json.dumps(document), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise ToolError(f"{path}: cannot be written: {error}", remedy="Make room on that disk.") from None
