"""What a host remembers of its cleanups: state_directory/cleanup.json, for the hourly run and for the watcher."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.clock import format_utc, parse_utc

FILE = "cleanup.json"
TELL_AGAIN_AFTER = timedelta(hours=20)  # the hourly runs repeat a failure's message once a day

log = logging.getLogger(__name__)


class Memory:
    """What this host remembers of its cleanups, for the hourly run and the watcher. An unreadable file is no memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.succeeded: datetime | None = None
        self._first: datetime | None = None
        self._told: datetime | None = None
        self._problem = ""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            self.succeeded = _moment(document["succeeded_at"])
            self._told = _moment(document["told_at"])
            self._first = _moment(document["first_at"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read and is made anew: %s", path, error)

    def since(self, now: datetime) -> datetime:
        """The last success, or this host's first run where there was none."""
        return self.succeeded or self._first or now

    def due_to_tell(self, now: datetime) -> bool:
        """Whether people were not told lately."""
        return self._told is None or now - self._told >= TELL_AGAIN_AFTER

    def told(self, now: datetime) -> None:
        """They are told now."""
        self._told = now
        self._write(now, self._problem)

    def succeed(self, now: datetime) -> None:
        """All that was due is gone."""
        self.succeeded, self._told = now, None
        self._write(now, "")

    def save(self, now: datetime, error: BaseException | None) -> None:
        """A run that deleted nothing, or not all; without an error one that will be made up for."""
        self._write(now, "" if error is None else str(error).partition("\n")[0] or type(error).__name__)

    def _write(self, now: datetime, problem: str) -> None:
        self._problem = problem
        self._first = self._first or now
        document = {
            "at": format_utc(now),
            "refused": problem,
            "succeeded_at": self.succeeded and format_utc(self.succeeded),
            "first_at": format_utc(self._first),
            "told_at": self._told and format_utc(self._told),
        }
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            # Of a full disk people must hear, and what was deleted is deleted: only the memory of it is lost.
            log.error("%s cannot be written: %s", self._path, error)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_utc(text)
