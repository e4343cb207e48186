"""Leases in the store: while a backup, restore or drill of any host holds one, nothing is deleted there.

A key that may write but not delete or overwrite is enough: a lease is a series of small objects that are written once,
`state/leases/<job>-<host>-<pid>-<begun>/<expires>.json`, each later than the one before, at the end `released.json`.
Their names say all that the cleanup asks, so one listing reads them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.backup.store import Store, StoredObject
from holdfast.clock import compact_utc, format_utc, parse_utc, utc_now
from holdfast.errors import HoldfastError
from holdfast.process import CancelledError

FOLDER = "state/leases"
SCHEMA_VERSION = 1
# A killed job holds the cleanup up for no longer than this and the clocks' difference; a living one writes every hour.
DURATION = timedelta(hours=2)
RENEW_AFTER = timedelta(hours=1)
CLOCKS_DIFFER = timedelta(hours=1)  # at most, between holder and cleanup: beyond that the cleanup refuses
RELEASED = "released"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """Who holds one, since when, and the last of its ends (UTC); None once it was given back."""

    holder: str
    begun: datetime
    expires: datetime | None

    def stands(self, now: datetime) -> bool:
        """Whether nothing may be deleted because of it, its holder's clock being up to an hour off."""
        return self.expires is not None and now < self.expires + CLOCKS_DIFFER

    def __str__(self) -> str:
        """For messages."""
        until = "given back" if self.expires is None else f"until {format_utc(self.expires)}"
        return f"{self.holder}, since {format_utc(self.begun)}, {until}"


def folder_of(job: str, host: str, pid: int, begun: datetime) -> str:
    """Where one holder's objects lie."""
    return f"{FOLDER}/{job}-{host}-{pid}-{compact_utc(begun)}"


def leases_in(objects: Iterable[StoredObject]) -> list[Lease]:
    """The leases that a listing shows, each once. What is named otherwise is none (pure)."""
    ends: dict[str, list[datetime]] = {}
    released = set()
    for item in objects:
        parts = item.name.split("/")
        if len(parts) != 4 or "/".join(parts[:2]) != FOLDER or not parts[3].endswith(".json"):
            continue
        end = parts[3].removesuffix(".json")
        if end == RELEASED:
            released.add(parts[2])
            continue
        with contextlib.suppress(ValueError):
            ends.setdefault(parts[2], []).append(parse_utc(end))
    found = []
    for folder in sorted(ends.keys() | released):
        holder, _, begun = folder.rpartition("-")
        with contextlib.suppress(ValueError):
            found.append(Lease(holder, parse_utc(begun), None if folder in released else max(ends[folder])))
    return found


@contextlib.contextmanager
def held(
    store: Store,
    job: str,
    host: str,
    *,
    now: Callable[[], datetime] = utc_now,
    renew_after: timedelta = RENEW_AFTER,
) -> Iterator[None]:
    """Hold a lease inside the block, from a thread of its own, so that the job waits for no upload.

    Where it cannot be written the job goes on, and says so: what a running job needs is younger than what is deleted,
    and no store's failure may keep a person from restoring.
    """
    folder = folder_of(job, host, os.getpid(), now())
    over = threading.Event()

    def keep() -> None:
        while not over.is_set():
            _write(store, f"{folder}/{compact_utc(now() + DURATION)}.json", job, host, now, cancel=over)
            over.wait(renew_after.total_seconds())

    # The threads of a process that dies end with it, and so does the rclone that one of them started (process.py).
    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _write(store, f"{folder}/{RELEASED}.json", job, host, now)


def _write(
    store: Store,
    name: str,
    job: str,
    host: str,
    now: Callable[[], datetime],
    cancel: threading.Event | None = None,
) -> None:
    document = {
        "schema_version": SCHEMA_VERSION,
        "job": job,
        "host": host,
        "pid": os.getpid(),
        "written_at": format_utc(now()),
    }
    try:
        with tempfile.NamedTemporaryFile(prefix="holdfast-lease-") as file:
            file.write((json.dumps(document) + "\n").encode())
            file.flush()
            # A name that nobody else has: neither looked for before nor after, so that it costs one call.
            store.put(Path(file.name), name, overwrite=True, listed_later=True, cancel=cancel)
    except CancelledError:
        pass  # the job is over, and says so next
    except HoldfastError as error:
        log.warning("no lease: %s", error.what)
