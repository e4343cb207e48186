"""The hourly job of mysql-backup-binlogs: from every server, whatever its role."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from holdfast.backup import lineage
from holdfast.backup.binlog_index import due, is_index, read_entries
from holdfast.backup.binlogs import FOLDER, archive
from holdfast.backup.catalog_cache import Cache
from holdfast.backup.indexed_day import DAYS
from holdfast.backup.store import Store
from holdfast.clock import utc_now
from holdfast.config import Config
from holdfast.database import connect
from holdfast.entry_point import add_to_summary
from holdfast.errors import ExitCode, StorageError
from holdfast.lock import hold
from holdfast.notify import Job, failure_of, tell

LOCK = "binlogs"
INDEXED = "indexed.jsonl"
RUNBOOK = "binlog_archive_failed.md"
ALARM_AFTER = 2  # runs in a row: one lost hour is made up by the next
READ_TIMEOUT_SECONDS = 300  # FLUSH waits for commits that wait for their replica

log = logging.getLogger(__name__)


def run_binlogs(config: Config, *, now: Callable[[], datetime] = utc_now) -> ExitCode:
    """Archive what is closed; the second failure in a row sends a message.

    Raises LockedError and what archive() raises.
    """
    with hold(LOCK, config.state_directory):
        counter = config.state_directory / "binlogs-failures.json"
        try:
            store = Store(config.store, config.cluster)
            account, socket = config.mysql.backup_account_file, config.mysql.socket
            with connect(account, socket=socket, read_timeout_seconds=READ_TIMEOUT_SECONDS) as connection:
                made = archive(config, store, connection, now)
            indexes = write_indexes(config, store, now())
        except Exception as error:
            failures = failures_in_a_row(counter) + 1
            try:
                _write(counter, failures)
            except OSError as problem:
                # What cannot be counted is told: a full disk does not mend itself by the next hour.
                log.warning("%s cannot be written: %s", counter, problem)
                failures = ALARM_AFTER
            if failures >= ALARM_AFTER:
                job = Job("binlog archive", config.cluster, config.host, RUNBOOK)
                tell(config.notifications, failure_of(job, config.notifications, error))
            else:
                log.warning("no message yet: the next hour's run makes up for it")
            raise
        _write(counter, 0)
        add_to_summary(indexes=indexes, files=len(made), stored_bytes=sum(entry.stored_size for entry in made))
    return ExitCode.DONE


def write_indexes(config: Config, store: Store, now: datetime) -> int:
    """Store an index of each day that is over and has none; how many. One that cannot be made only costs time later.

    Of this host's own lineage, and a day later of others, whose servers may be gone.
    """
    cache = Cache(config.state_directory / INDEXED, store.address)
    try:
        listed = store.bulk.listing(FOLDER)
        cache.fetch(store.bulk, [item for item in listed if is_index(item.name)])
        found = read_entries(listed, cache, store.bulk, DAYS)
        cache.save(found.names)
        stored = {item.name for item in listed}
        indexes = due(found.loose, stored, lineage.remembered(config.state_directory), now)
        for index in indexes:
            store.put_bytes(index.name, index.to_json())
            log.info("stored %s: %d entries", index.name, len(index.entries))
    except StorageError as error:
        log.warning("no index of the archived binlogs was stored: %s", error)
        return 0
    except (KeyError, TypeError, ValueError, AttributeError):
        cache.forget()
        cache.save([])
        return 0
    return len(indexes)


def failures_in_a_row(counter: Path) -> int:
    """How many runs failed since the last good one; an unreadable counter is none."""
    try:
        return int(json.loads(counter.read_text(encoding="ascii"))["failures"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _write(counter: Path, failures: int) -> None:
    counter.write_text(json.dumps({"failures": failures}) + "\n", encoding="ascii")
