"""Recovery in place: the restored data takes the place of a stopped server's own, which is kept aside."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import datetime
from pathlib import Path

from holdfast.backup.engine import Engine
from holdfast.backup.store import Store
from holdfast.binlog import BinlogError, summarise
from holdfast.clock import compact_utc
from holdfast.config import Config
from holdfast.database import DatabaseError, connect
from holdfast.errors import HoldfastError, StorageError, ToolError, UsageError
from holdfast.gtid import GtidSet
from holdfast.recovery.catalog import Catalog
from holdfast.recovery.instance import in_use, own_like
from holdfast.recovery.lines import Line
from holdfast.recovery.plan import Plan
from holdfast.recovery.run import Restored, restore, step

log = logging.getLogger(__name__)

# InnoDB and SHOW DATABASES pass over hidden directories (seen on 9.7.4), so it may lie within a data directory.
ASIDE = ".holdfast-before-restore-"
WORK = ".holdfast-restore"


def refuse_other_host(named: str, confirmed: str | None, host: str) -> None:
    """Raise UsageError unless the host was named twice, and is this one (pure)."""
    if named != host:
        raise UsageError(
            f"--over-server {named}, but this host is {host}",
            meaning="Nothing was touched.",
            remedy=f"Run it on {named}.",
        )
    if confirmed != named:
        raise UsageError(
            f"--over-server {named} replaces the data of {named} and was not confirmed",
            meaning="Nothing was touched.",
            remedy=f"Say it again: --confirm {named}",
        )


def refuse_running(config: Config) -> None:
    """Raise UsageError while the host's server runs."""
    running = in_use(config.mysql.data_directory)
    if not running:
        try:
            with connect(socket=config.mysql.socket, user="holdfast_probe", connect_timeout_seconds=3):
                running = True
        except DatabaseError as error:
            running = error.number not in (2002, 2003)  # any other is an answer of a server
    if running:
        raise UsageError(
            f"mysqld runs on {config.host}",
            meaning="Its data cannot be replaced under it. Nothing was touched.",
            remedy="Make sure that no client needs it, then: systemctl stop mysql",
        )


def given_up(catalog: Catalog, local: GtidSet, restored: GtidSet) -> GtidSet:
    """All that the store knows of, or was on this server, and that the restored one does not have (pure)."""
    known = [entry.gtids | entry.previous_gtids for entry in catalog.entries]
    known += [manifest.gtid_upper for manifest in catalog.manifests]
    return GtidSet.union_of((*known, local)) - restored


def local_gtids(data: Path) -> GtidSet:
    """What the binlogs and relay logs of a stopped server tell that it had; archived or not, it is given up too."""
    found = GtidSet()
    for index in sorted(data.glob("*.index")):
        files = [line for line in index.read_text().splitlines() if line]
        try:
            newest = summarise(data / files[-1]) if files else None
        except (BinlogError, OSError) as error:
            log.warning("%s cannot be read, so what was not archived of it is not recorded: %s", files[-1], error)
            continue
        if newest is not None:
            found = found | newest.previous_gtids | newest.gtids_in_file
    return found


def work_directory(data_directory: Path, *, is_mount: bool) -> Path:
    """On the data directory's own file system, so that the exchange is a rename (pure)."""
    return data_directory / WORK if is_mount else data_directory.with_name(f"{WORK}-{data_directory.name}")


def restore_over_server(
    plan: Plan, catalog: Catalog, *, config: Config, store: Store, engine: Engine, now: datetime, joins: bool = False
) -> tuple[Restored, Path]:
    """Restore beside the old data, record the line that ends, then exchange them; returns where the old data is now.

    With `joins` the server becomes a replica of one that lives: no line ends. Raises UsageError while mysqld runs, and
    what restore() raises; until the exchange the old data is untouched.
    """
    data = config.mysql.data_directory
    refuse_running(config)
    work = work_directory(data, is_mount=data.is_mount())
    restored = restore(plan, work, config=config, store=store, engine=engine, now=now, for_people=False, owner_of=data)
    line = None
    if not joins:
        line = Line(
            "restore",
            now,
            given_up(catalog, local_gtids(data), restored.gtids),
            f"{config.host} restored in place to {plan.target} from {plan.chain[-1].id}",
        )
        refuse_running(config)
        with step(f"record what the restore gives up as {line.name}"):
            store.put_bytes(line.name, line.to_json())
    try:
        refuse_running(config)
        with step(f"exchange the data in {data}"):
            aside = exchange(data, restored.instance.data, compact_utc(now))
    except HoldfastError:
        if line is not None:
            _take_back(line, store)
        raise
    shutil.rmtree(work)
    return restored, aside


def _take_back(line: Line, store: Store) -> None:
    """The old data lives on, so nothing was given up; a line that says so would make later plans leave it out."""
    try:
        store.delete(line.name)
    except StorageError as error:
        log.error(
            "DELETE %s FROM THE STORE: the data was not exchanged, yet until then every plan leaves out %s (%s)",
            line.name,
            line.abandoned.one_line(),
            error.what,
        )


def exchange(data: Path, restored: Path, stamp: str) -> Path:
    """Put `restored` in the place of `data` by renames; where the old content is now. May be run again."""
    for name in ("auto.cnf", "mysqld-auto.cnf"):
        (restored / name).unlink(missing_ok=True)
    if restored.stat().st_dev != data.stat().st_dev:
        raise ToolError(f"{restored} and {data} are on different file systems", meaning="Nothing was exchanged.")
    if not data.is_mount():
        aside = data.with_name(f"{ASIDE}{stamp}-{data.name}")
        restored.chmod(data.stat().st_mode & 0o777)
        data.rename(aside)
        restored.rename(data)
        return aside
    aside = data / f"{ASIDE}{stamp}"
    aside.mkdir(mode=0o750, exist_ok=True)
    own_like(aside, data)
    for path in sorted(data.iterdir()):
        if not path.name.startswith((ASIDE, WORK)) and path.name != "lost+found":
            path.rename(aside / path.name)
    for path in sorted(restored.iterdir()):
        path.rename(data / path.name)
    os.sync()
    return aside


def joining(restored: Restored, aside: Path, config: Config) -> str:
    """What comes next for a server that is to be a replica (pure)."""
    return "\n".join(
        [
            f"{config.host} is restored in place in {restored.seconds:.0f} s;"
            f" it has exactly {restored.gtids.one_line()}",
            "1. systemctl start mysql: it boots read-only, with a new server_uuid and without replication.",
            "2. Let it replicate from the primary: playbooks/recover_server.yml does both.",
            f"3. When all is well, remove the old data: rm -r {aside}",
        ]
    )


def next_steps(restored: Restored, aside: Path, config: Config) -> str:
    """What the operator does now (pure)."""
    return "\n".join(
        [
            f"{config.host} is restored in place in {restored.seconds:.0f} s;"
            f" it has exactly {restored.gtids.one_line()}",
            "1. systemctl start mysql: it boots read-only, with a new server_uuid and without replication.",
            "2. Look at the data. Nothing is open for writing yet.",
            "3. Open it as the primary by your failover manager, or SET GLOBAL super_read_only=OFF, read_only=OFF.",
            "   If the backup was a replica's, its scheduled events are off: SELECT * FROM information_schema.events"
            " WHERE status = 'REPLICA_SIDE_DISABLED', then ALTER EVENT ... ENABLE.",
            "4. Rebuild the other servers from it (playbooks/rebuild_replica.yml). Delete auto.cnf on each before it"
            " starts again: a server that kept its UUID would give the numbers of the abandoned GTIDs a second time.",
            "5. Take a full backup: mysql-backup-full.",
            f"6. When all is well, remove the old data: rm -r {aside}",
        ]
    )
