"""A restore drill: the newest backup and all binlogs become a scratch instance, which is compared and thrown away.

It runs on a healthy replica, with little memory, and only where the disk has room to spare. What came out goes to the
store (state/drills), where the cleanup and the watcher read it, and to people in one line.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from holdfast.backup import lease
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.drills import Drill
from holdfast.backup.engine import Engine
from holdfast.backup.fingerprint import TABLES, of_table, quoted
from holdfast.backup.manifest import TableFingerprint
from holdfast.backup.store import Store
from holdfast.backup.take import connect_to_own
from holdfast.clock import utc_now
from holdfast.cluster import assess_source, observe
from holdfast.config import Config
from holdfast.database import Connection, DatabaseError
from holdfast.errors import HoldfastError, NotThisHostError, ToolError
from holdfast.gtid import GtidSet
from holdfast.notify import Job, Succeeded, reported
from holdfast.recovery import instance as side
from holdfast.recovery.catalog import load_catalog
from holdfast.recovery.drill_judge import Seen, differences, line, problem, split
from holdfast.recovery.estimate import reaches
from holdfast.recovery.fetch import fetch_binlogs, stream_of
from holdfast.recovery.instance import Instance
from holdfast.recovery.marker import clear, refuse_foreign, write_marker
from holdfast.recovery.plan import Plan, make_plan
from holdfast.recovery.replay import cut_relay_logs, executed_on, replay
from holdfast.recovery.run import base_of, refuse_engine, require_room, step
from holdfast.recovery.target import Last, Target, ToSet
from holdfast.service import Service

NAME = "drill"
RUNBOOK = "drill_failed.md"
MEMORY_BYTES = 1 << 30
# A drill must not be what fills a replica's disk.
ROOM_TO_SPARE = 0.1

log = logging.getLogger(__name__)


def run_drill(config: Config, store: Store, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> Drill:
    """Do the drill if it is this host's turn, tell people, and leave it in the store.

    Raises NotThisHostError on any other host than a healthy replica; what failed, after a message and an object.
    """
    with connect_to_own(config) as connection:
        verdict = assess_source(observe(connection), last_backup_age_hours=0.0, config=config.backup)
    if not verdict.work:
        raise NotThisHostError(verdict.reason)
    job, began = Job("restore drill", config.cluster, config.host, RUNBOOK), now()
    with reported(job, config.notifications) as report:
        catalog = load_catalog(store)
        plan = make_plan(catalog.manifests, catalog.entries, catalog.lines, Last(), catalog.problems)
        tip = plan.chain[-1].id
        try:
            seen, measured = Scratch(config, store, engine, plan).drill(now)
            if why := problem(seen):
                raise ToolError(f"{tip} restores, but not what was backed up: {why}")
        except HoldfastError as error:
            store.put_bytes(*_stored(Drill(began, tip, False, config.host, error.what)))
            raise
        drill = Drill(began, tip, True, config.host, line(tip, seen, measured), measured)
        store.put_bytes(*_stored(drill))
        report.message = Succeeded("restore drill", config.cluster, config.host, measured["seconds"], drill.note)
    return drill


@contextlib.contextmanager
def timed(measured: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of the block under that name."""
    began = time.monotonic()
    yield
    measured[name] = measured.get(name, 0.0) + time.monotonic() - began


def tables_of(connection: Connection) -> list[str]:
    """Every user table, as database.table."""
    return [f"{row['db']}.{row['name']}" for row in connection.rows(TABLES)]


def damaged_of(connection: Connection, tables: Sequence[str]) -> tuple[str, ...]:
    """What CHECK TABLE complains of."""
    found = []
    for name in tables:
        schema, _, table = name.partition(".")
        rows = connection.rows(f"CHECK TABLE {quoted(schema)}.{quoted(table)}")
        said = [f"{row['Msg_type']} {row['Msg_text']}" for row in rows if str(row["Msg_type"]).lower() == "error"]
        if said or str(rows[-1]["Msg_text"]).upper() != "OK":
            found.append(f"{name}: {'; '.join(said) or rows[-1]['Msg_text']}")
    return tuple(found)


def age_of(connection: Connection, now: datetime, plan: Plan) -> float:
    """Seconds since the newest data: by the heartbeat, and on a site without guards by the last binlog."""
    try:
        beat = connection.value("SELECT MAX(at) FROM holdfast.heartbeat")
    except DatabaseError:
        beat = None
    newest = beat.replace(tzinfo=UTC) if beat is not None else reaches(plan)
    return max((now - newest).total_seconds(), 0.0)


def _stored(drill: Drill) -> tuple[str, bytes]:
    return drill.name, drill.to_json()


class Scratch:
    """The scratch instance of one drill."""

    def __init__(self, config: Config, store: Store, engine: Engine, plan: Plan) -> None:
        self._config, self._store, self._engine, self._plan = config, store, engine, plan
        self._directory = config.recovery.directory / NAME
        self._instance = Instance(self._directory, config.mysql.mysqld)
        self._measured: dict[str, float] = {}
        self._began = time.monotonic()

    def drill(self, now: Callable[[], datetime]) -> tuple[Seen, dict[str, float]]:
        """Restore, compare, check, replay the rest; the directory is gone afterwards. Raises HoldfastError."""
        refuse_engine(self._plan, self._engine)
        refuse_foreign(self._directory, self._plan, any_plan=True)
        clear(self._directory, self._config.recovery.directory)
        try:
            require_room(self._plan, self._directory, spare=ROOM_TO_SPARE)
            write_marker(self._directory, self._plan, now(), finished=False)
            with lease.held(self._store, "drill", self._config.host):
                return self._drill(now)
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _drill(self, now: Callable[[], datetime]) -> tuple[Seen, dict[str, float]]:
        tip, prints = self._plan.chain[-1], self._plan.chain[-1].fingerprint
        wanted = prints.gtid if prints else tip.gtid_contained
        spool = self._directory / "spool"
        spool.mkdir(mode=0o700)
        with timed(self._measured, "restore_seconds"), step(f"restore {tip.id}"):
            stream = stream_of(self._store, spool, self._config.recovery.fetch_parallel)
            self._engine.materialise(self._plan.chain, self._instance.data, stream)
        side.prepare(self._instance, workers=self._config.recovery.replay_workers, memory_bytes=MEMORY_BYTES)
        first = split(self._plan.binlogs, tip.gtid_contained, wanted)
        with side.started(self._instance) as service, self._instance.connect() as connection:
            have = base_of(self._plan, connection)
            if prints:
                have = self._replay(self._plan.binlogs[:first], have, ToSet(wanted), service, connection)
            with step("compare and check every table"):
                found = tables_of(connection)
                compared = self._differences(connection, prints.tables if prints else {}, found)
                damaged = damaged_of(connection, found)
            # the last of the files before holds what comes after the fingerprint, too
            rest = self._plan.binlogs[max(first - 1, 0) :]
            have = self._replay(rest, have, Last(), service, connection)
            age = age_of(connection, now(), self._plan)
        self._measured["seconds"] = time.monotonic() - self._began
        self._measured["data_bytes"] = float(tip.data_bytes)
        self._measured["restored_bytes"] = float(sum(one.stored_bytes for one in self._plan.chain))
        counted = sum(table.checksum is not None for table in prints.tables.values()) if prints else 0
        seen = Seen(counted, len(found), compared, damaged, int(self._measured.get("transactions", 0)), age)
        self._measured["rpo_seconds"] = age
        return seen, self._measured

    def _replay(
        self,
        binlogs: Sequence[BinlogEntry],
        have: GtidSet,
        target: Target,
        service: Service,
        connection: Connection,
    ) -> GtidSet:
        with timed(self._measured, "fetch_seconds"), step(f"fetch {len(binlogs)} binlogs"):
            files = fetch_binlogs(
                binlogs, self._store, self._directory / "binlogs", self._config.recovery.fetch_parallel
            )
        plan = replace(self._plan, target=target, binlogs=tuple(binlogs))
        cut = cut_relay_logs(files, self._instance.relay, have, plan.abandoned, target)
        with timed(self._measured, "replay_seconds"), step(f"replay {cut.transactions} transactions"):
            replay(self._instance, service, connection, cut)
        for name, count in (
            ("transactions", cut.transactions),
            ("fetched_bytes", sum(entry.stored_size for entry in binlogs)),
            ("replayed_bytes", sum(entry.size for entry in binlogs)),
        ):
            self._measured[name] = self._measured.get(name, 0.0) + count
        return executed_on(connection)

    def _differences(
        self, connection: Connection, expected: Mapping[str, TableFingerprint], found: Sequence[str]
    ) -> tuple[str, ...]:
        there: dict[str, TableFingerprint | None] = {}
        for name, table in expected.items():
            schema, _, one = name.partition(".")
            counted = table.checksum is not None
            there[name] = of_table(connection, schema, one, count=counted) if name in found else None
        return tuple(differences(expected, there))
