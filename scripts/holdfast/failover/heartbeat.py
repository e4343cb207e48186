"""A commit each second on the writable primary: proof that it can still write, a clock in the data, and the marker.

In a thread and a session of its own, so that a commit that hangs hangs nobody else. Its session may be killed by anyone
at any time; it comes back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.database import Connection, DatabaseError
from holdfast.errors import HoldfastError

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
NO_SUCH_DATABASE, NO_SUCH_TABLE = 1049, 1146
DATABASE = "CREATE DATABASE IF NOT EXISTS holdfast"
TABLE = (
    "CREATE TABLE IF NOT EXISTS holdfast.heartbeat (host VARCHAR(255) PRIMARY KEY, at DATETIME(6) NOT NULL,"
    " term BIGINT UNSIGNED NOT NULL)"
)
COMMIT = "REPLACE INTO holdfast.heartbeat (host, at, term) VALUES (%s, UTC_TIMESTAMP(6), %s)"
STATE = "SELECT COALESCE(STATE, '') FROM performance_schema.processlist WHERE ID = %s"
# below this a commit waits for a person to make room; to kill the server would make it worse
FREE_BYTES = 64 * 1024 * 1024
# MySQL looks each minute whether there is room again ("Retry in 60 secs", in its log)
ROOM_SECONDS = 60.0
# a commit that takes so long may wait for room: from then on the disk is looked at
ASK_FOR_ROOM_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Beat:
    """How the heartbeat goes; times on the monotonic clock, in seconds, 0 for never.

    `committed_began`: when the last commit that returned had begun. `waiting_since`: since when one is under way, None
    between two. `session_id` is its session, `error` why the last one failed.
    """

    committed_began: float = 0.0
    waiting_since: float | None = None
    session_id: int = 0
    error: str = ""


class Heartbeat:
    """The thread. It writes while `term` is not None; `beat` is how it goes."""

    def __init__(self, host: str, dial: Callable[[], Connection], clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._dial = dial
        self._clock = clock
        self._soon = threading.Event()
        self._connection: Connection | None = None
        self._session_id = 0
        self.term: int | None = None
        self.beat = Beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def poke(self) -> None:
        """Commit now, not within a second."""
        self._soon.set()

    def _run(self) -> None:
        while True:
            self._soon.wait(INTERVAL_SECONDS)
            self._soon.clear()
            if self.term is None:
                self._hang_up()
                self.beat = Beat(self.beat.committed_began)
            else:
                self.once(self.term)

    def once(self, term: int) -> None:
        """Commit once; never raises an Exception."""
        try:
            if self._connection is None:
                self._connection = self._dial()
                self._session_id = int(self._connection.value("SELECT CONNECTION_ID()"))
            began = self._clock()
            self.beat = Beat(self.beat.committed_began, began, self._session_id, self.beat.error)
            self._commit(self._connection, term)
            self.beat = Beat(began, None, self._session_id)
        except HoldfastError as error:
            self._hang_up()
            if str(error) != self.beat.error:
                log.info("heartbeat: %s", error.what)
            self.beat = Beat(self.beat.committed_began, error=str(error))

    def _commit(self, connection: Connection, term: int) -> None:
        try:
            connection.execute(COMMIT, (self._host, term))
        except DatabaseError as error:
            if error.number not in (NO_SUCH_DATABASE, NO_SUCH_TABLE):
                raise
            connection.execute(DATABASE)
            connection.execute(TABLE)
            connection.execute(COMMIT, (self._host, term))

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Room:
    """Since when there has been room on the disk, as far as it was looked at."""

    def __init__(self) -> None:
        self._none_at = float("-inf")

    def seconds(self, now: float, free_bytes: int) -> float:
        """Take note of a look; for how many seconds there has been room, 0 when there is none."""
        if free_bytes < FREE_BYTES:
            self._none_at = now
        return now - self._none_at


def is_grey(beat: Beat, now: float, limit_seconds: float, *, waiting: int, state: str, room_seconds: float) -> bool:
    """Whether a server that answers can no longer write (pure).

    Not while commits wait for a replica (`waiting`), for a lock that somebody holds (`state` of the session), or for
    room on the disk; nor as long as MySQL may not have noticed that there is room again.
    """
    if beat.waiting_since is None or now - beat.waiting_since < limit_seconds:
        return False
    noticed = room_seconds >= ROOM_SECONDS + limit_seconds
    return not waiting and "lock" not in state.lower() and "semi-sync" not in state and noticed


def free_bytes(data_directory: Path) -> int:
    """Room on the disk of the data directory; 0 when it cannot be told, which speaks against a kill."""
    try:
        room = os.statvfs(data_directory)
    except OSError:
        return 0
    return room.f_bavail * room.f_frsize
