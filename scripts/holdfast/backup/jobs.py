"""The job of mysql-backup-full and mysql-backup-incremental, from the lock to the message."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, time, timedelta
from time import monotonic
from zoneinfo import ZoneInfo

from holdfast.backup import chain, lease, lineage
from holdfast.backup.clone import CloneEngine
from holdfast.backup.engine import Engine
from holdfast.backup.manifest import BackupType, Manifest, backup_id, load_manifests, newest
from holdfast.backup.schedule import Due, due_backup
from holdfast.backup.store import Store
from holdfast.backup.take import Work, connect_to_own, evidence_of, take
from holdfast.backup.xtrabackup import XtrabackupEngine
from holdfast.clock import format_utc, utc_now
from holdfast.cluster import ServerState, Verdict, assess_source, observe
from holdfast.config import Config
from holdfast.database import Connection
from holdfast.entry_point import add_to_summary
from holdfast.errors import ExitCode, NotThisHostError
from holdfast.lock import hold
from holdfast.notify import BackupSucceeded, Job, reported

log = logging.getLogger(__name__)

LOCK = "backup"
RUNBOOK = "backup_failed.md"


def engine_of(config: Config) -> Engine:
    """The engine that the configuration names."""
    return XtrabackupEngine(config) if config.backup.engine == "xtrabackup" else CloneEngine(config)


def run_backup(
    config: Config, wanted: BackupType, *, retry_due: bool = False, now: Callable[[], datetime] = utc_now
) -> ExitCode:
    """Take a backup if it is this host's turn; with `retry_due` only one that is due and missing, of the due type.

    Raises LockedError and NotThisHostError, for which no message is sent, and what the parts raise, after a message.
    """
    began = monotonic()
    job = Job(f"{wanted} backup", config.cluster, config.host, RUNBOOK)
    with reported(job, config.notifications) as report, hold(LOCK, config.state_directory):
        with connect_to_own(config) as connection:
            started_at = now()
            state = observe(connection)
            verdict = assess_source(state, last_backup_age_hours=0.0, config=config.backup)
            if not verdict.work and not verdict.on_primary:
                raise NotThisHostError(verdict.reason)
            store = Store(config.store, config.cluster)
            manifests = _recent(store, config, started_at)
            if retry_due:
                due = due_of(config, started_at, manifests)
                if due.answered_by is not None:
                    log.info("the %s due at %s is there: %s", due.type, format_utc(due.at), due.answered_by)
                    return ExitCode.DONE
                wanted = due.type
            if verdict.on_primary:
                # An outage may have been longer than what is looked at for parents: that is not "no backup yet".
                age = age_hours(manifests or load_manifests(store)[0], started_at)
                verdict = assess_source(state, last_backup_age_hours=age, config=config.backup)
                if not verdict.work:
                    raise NotThisHostError(verdict.reason)
            engine = engine_of(config)
            work = _decide(config, engine, connection, state, verdict, wanted, manifests, started_at)
            log.info("%s: %s; %s", work.identifier, work.choice.reason, verdict.reason)
            with lease.held(store, "backup", config.host):
                manifest = take(work, config, engine, store, connection, now)
        report.message = message_of(manifest, work, monotonic() - began)
        add_to_summary(
            backup=manifest.id,
            chain=manifest.chain_id,
            stored_bytes=manifest.stored_bytes,
            data_bytes=manifest.data_bytes,
            reason=work.choice.reason,
        )
    return ExitCode.DONE


def due_of(config: Config, now: datetime, manifests: Iterable[Manifest]) -> Due:
    """What the configured schedule asked for last."""
    at = time.fromisoformat(config.backup.time_of_day)
    return due_backup(now, ZoneInfo(config.time_zone), config.backup.full_weekday, at, manifests)


def age_hours(manifests: Iterable[Manifest], now: datetime) -> float | None:
    """Hours since the newest backup started; None if there is none (pure)."""
    last = newest(manifests)
    return None if last is None else (now - last.started_at).total_seconds() / 3600


def message_of(manifest: Manifest, work: Work, seconds: float) -> BackupSucceeded:
    """What people are told of a backup that is complete (pure)."""
    notes = []
    if manifest.on_primary:
        notes.append(f"Taken on the {work.verdict.reason}.")
    if manifest.fingerprint is None:
        notes.append("Without a fingerprint: the log says why.")
    return BackupSucceeded(
        kind=manifest.type,
        cluster=manifest.cluster,
        host=manifest.host,
        backup_id=manifest.id,
        stored_bytes=manifest.stored_bytes,
        data_bytes=manifest.data_bytes,
        duration_seconds=seconds,
        chain_id=manifest.chain_id,
        reason=work.choice.reason,
        note=" ".join(notes),
    )


def _recent(store: Store, config: Config, now: datetime) -> list[Manifest]:
    """The complete backups that can matter to a new one; damaged ones are logged and do not count."""
    manifests, damaged = load_manifests(store, now - timedelta(days=config.backup.chain_maximum_age_days + 1))
    for error in damaged:
        log.warning("%s", error)
    return manifests


def _decide(
    config: Config,
    engine: Engine,
    connection: Connection,
    state: ServerState,
    verdict: Verdict,
    wanted: BackupType,
    manifests: list[Manifest],
    started_at: datetime,
) -> Work:
    began = monotonic()
    line = lineage.update(config.state_directory, lambda: evidence_of(observe(connection)), started_at)
    observed = chain.Observed(
        lineage=line.lineage,
        engine=engine.name,
        series=state.series,
        gtid_executed=state.gtid_executed,
        now=started_at,
        signature_ids=engine.kept_ids(),
    )
    maximum_age = timedelta(days=config.backup.chain_maximum_age_days)
    choice = chain.choose(wanted, manifests, observed, maximum_age=maximum_age)
    return Work(
        identifier=backup_id(started_at, choice.type, config.host),
        started_at=started_at,
        began=began,
        choice=choice,
        verdict=verdict,
        line=line,
        state=state,
        data_bytes=engine.preflight(connection),
    )
