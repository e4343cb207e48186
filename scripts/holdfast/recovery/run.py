"""The run of a plan: a chain becomes a data directory, binlogs are replayed in it, people are told how to use it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.backup import lease
from holdfast.backup.engine import Engine
from holdfast.backup.store import Store
from holdfast.config import Config
from holdfast.database import Connection
from holdfast.errors import ToolError, UsageError
from holdfast.gtid import GtidSet
from holdfast.recovery import instance as side
from holdfast.recovery.estimate import estimate, human_bytes
from holdfast.recovery.fetch import fetch_binlogs, stream_of
from holdfast.recovery.instance import Instance
from holdfast.recovery.marker import clear, refuse_foreign, write_marker
from holdfast.recovery.plan import Plan
from holdfast.recovery.replay import Cut, cut_relay_logs, executed_on, replay

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What a run made: the instance, what it has, how many transactions were replayed and how long it took."""

    instance: Instance
    gtids: GtidSet
    replayed: int
    seconds: float


def restore(
    plan: Plan,
    directory: Path,
    *,
    config: Config,
    store: Store,
    engine: Engine,
    now: datetime,
    for_people: bool,
    owner_of: Path,
    leave_running: bool = False,
) -> Restored:
    """Do the plan in `directory`, which is owned as `owner_of` is; after a failure it may be run again.

    `for_people` keeps the administrator's account, `leave_running` also the server. Raises UsageError for a directory
    that is not ours, ToolError, StorageError.
    """
    began = time.monotonic()
    instance = Instance(directory, config.mysql.mysqld)
    side.refuse_long_path(instance)
    refuse_foreign(directory, plan)
    refuse_engine(plan, engine)
    if instance.running():
        raise UsageError(
            f"a server runs in {directory}",
            meaning="It is from an earlier run of this plan.",
            remedy=f"Use it, or stop it first: mysql-restore stop {directory}",
        )
    clear(directory, owner_of)
    require_room(plan, directory)
    write_marker(directory, plan, now, finished=False)
    spool = directory / "spool"
    with lease.held(store, "restore", config.host):
        with step(f"backup {plan.chain[-1].id}: fetch and unpack {len(plan.chain)} of the chain"):
            spool.mkdir(mode=0o700)
            engine.materialise(plan.chain, instance.data, stream_of(store, spool, config.recovery.fetch_parallel))
        with step(f"fetch {len(plan.binlogs)} binlogs"):
            binlogs = fetch_binlogs(plan.binlogs, store, directory / "binlogs", config.recovery.fetch_parallel)
    side.prepare(instance, workers=config.recovery.replay_workers)
    cut = _replay_all(plan, instance, binlogs, keep_account=for_people)
    for folder in (spool, directory / "binlogs", instance.relay):
        shutil.rmtree(folder, ignore_errors=True)
    instance.relay.mkdir(mode=0o750)
    side.own_like(instance.relay, directory)
    if leave_running:
        with step("start the server for use"):
            side.start_for_people(instance)
    write_marker(directory, plan, now, finished=True)
    return Restored(instance, cut.expected, cut.transactions, time.monotonic() - began)


def _replay_all(plan: Plan, instance: Instance, binlogs: list[Path], *, keep_account: bool) -> Cut:
    log.info("start the side server")
    with side.started(instance) as service, instance.connect() as connection:
        have = base_of(plan, connection)
        with step("cut the binlogs at the target"):
            cut = cut_relay_logs(binlogs, instance.relay, have, plan.abandoned, plan.target)
        if cut.stopped_at:
            log.info("the replay ends before %s of %s", cut.stopped_at.gtid, cut.stopped_at.commit_time_utc)
        with step(f"replay {cut.transactions} transactions"):
            replay(instance, service, connection, cut)
        if not keep_account:
            side.drop_account(connection)
    return cut


def base_of(plan: Plan, connection: Connection) -> GtidSet:
    """Make the started base ready for a replay; what it has. Raises ToolError when it is not what its manifest says."""
    connection.execute("RESET REPLICA ALL")  # the backup may be of a replica; this also removes relay logs
    have, tip = executed_on(connection), plan.chain[-1]
    if not (tip.gtid_contained <= have <= tip.gtid_upper):
        raise ToolError(
            f"{tip.id} does not hold the transactions that its manifest says",
            meaning=f"Missing: {(tip.gtid_contained - have).one_line() or 'none'}. "
            f"Too many: {(have - tip.gtid_upper).one_line() or 'none'}.",
            remedy="Use an earlier target, so that an older backup is taken, and report this one.",
        )
    return have


def refuse_engine(plan: Plan, engine: Engine) -> None:
    """Raise UsageError when this host is set up for the other engine."""
    if plan.chain[0].engine != engine.name:
        raise UsageError(
            f"{plan.chain[0].id} was taken by the engine {plan.chain[0].engine}, this host uses {engine.name}",
            remedy="Set backup_engine for this host, run playbooks/backups.yml, and try again.",
        )


def require_room(plan: Plan, directory: Path, *, spare: float = 0.0) -> None:
    """Raise ToolError when the plan does not fit on the disk, and leave that share of it free."""
    disk = shutil.disk_usage(directory)
    needed, free = estimate(plan).disk_bytes + int(spare * disk.total), disk.free
    if free < needed:
        raise ToolError(
            f"{directory} has {human_bytes(free)} free, this restore needs about {human_bytes(needed)}",
            meaning="It was not started.",
            remedy="Make room, or name a --directory on a larger disk.",
        )


@contextmanager
def step(name: str) -> Iterator[None]:
    """One line when it begins, one when it is done."""
    began = time.monotonic()
    log.info("%s ...", name)
    yield
    log.info("%s: done in %.1f s", name, time.monotonic() - began)


def how_to_use(restored: Restored, *, running: bool) -> str:
    """What a person needs to know now (pure)."""
    own = restored.instance
    account = f"--defaults-file={own.account_file}"
    lines = [
        f"restored in {restored.seconds:.0f} s, {restored.replayed} transactions replayed: {own.directory}",
        f"it has exactly  {restored.gtids.one_line()}",
    ]
    if not running:
        lines.append(f"start it        {own.mysqld} --defaults-file={own.cnf} --user=mysql --daemonize")
    lines += [
        f"connect         mysql {account}",
        f"dump a table    mysqldump {account} --set-gtid-purged=OFF DATABASE TABLE > table.sql",
        f"stop it         mysql-restore stop {own.directory}",
        f"remove it       stop it, then rm -r {own.directory}",
    ]
    return "\n".join(lines)
