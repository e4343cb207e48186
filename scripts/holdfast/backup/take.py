"""Taking one backup that has been decided on: stream it, prove it, and only then let it count."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import BinaryIO, cast

from holdfast.backup import fingerprint, lineage
from holdfast.backup.chain import Choice
from holdfast.backup.engine import Engine, Facts, compress
from holdfast.backup.manifest import Fingerprint, Manifest, folder_of, name_of_manifest
from holdfast.backup.segments import Segment, write_segments
from holdfast.backup.store import Store
from holdfast.cluster import ServerState, Verdict, observe
from holdfast.config import Config
from holdfast.database import Connection, connect
from holdfast.errors import HoldfastError, StorageError, ToolError
from holdfast.process import Pipeline, Stage

log = logging.getLogger(__name__)

RESTART_SLACK_SECONDS = 2.0  # MySQL's uptime counts whole seconds
AFTER_THE_STREAM_SECONDS = 600.0  # for the stages to end once their output has


@dataclass(frozen=True)
class Work:
    """One run, decided; `began` is on the monotonic clock, when the server was first looked at."""

    identifier: str
    started_at: datetime
    began: float
    choice: Choice
    verdict: Verdict
    line: lineage.LineageState
    state: ServerState
    data_bytes: int


def connect_to_own(config: Config) -> Connection:
    """A session of the backup account on this host's server."""
    return connect(config.mysql.backup_account_file, socket=config.mysql.socket)


def evidence_of(state: ServerState) -> lineage.Evidence:
    """What tells this server's lineage. Raises ToolError for a server without binlogs."""
    if not state.binlog_file:
        raise ToolError(
            "log_bin is off on this server",
            meaning="Nothing could be restored beyond the backup, and nobody could replicate from it.",
            remedy="Run playbooks/mysql.yml, which sets it.",
        )
    return lineage.Evidence(
        server_uuid=state.server_uuid,
        clone_marker=lineage.clone_marker(state.data_directory),
        gtid_executed=state.gtid_executed,
        binlog_file=state.binlog_file,
    )


def restarted(uptime_seconds: float, elapsed_seconds: float) -> bool:
    """Whether a server that has been up that long cannot be the one that was looked at then (pure)."""
    return uptime_seconds + RESTART_SLACK_SECONDS < elapsed_seconds


def take(
    work: Work, config: Config, engine: Engine, store: Store, connection: Connection, now: Callable[[], datetime]
) -> Manifest:
    """Take the backup; its manifest, stored. On any error what was uploaded is removed if this host's key may."""
    if store.list(folder_of(work.identifier)):  # not in the `try`: those objects are not ours to remove
        raise StorageError(
            f"{folder_of(work.identifier)} is in the store already",
            meaning="Another run used this name; its objects were left as they are.",
            remedy="Find out whether two hosts carry one name; the job's next run takes another name.",
        )
    counts = False
    try:
        version = engine.version(connection)
        with engine.capture(work.choice.type, work.choice.parent, connection, work.identifier) as capture:
            segments = _stream([*capture.stages, compress(config.backup.lz4_level)], config, store, work.identifier)
            facts = capture.facts()
            # The first session may have been cut while the stream ran, which says nothing about the backup.
            with connect_to_own(config) as session:
                _require_same_server(work, session)
                prints = _fingerprint(session, config)
            manifest = _manifest(work, config, engine.name, version, facts, segments, prints, now())
            store.put_bytes(name_of_manifest(manifest.id), manifest.to_json())
            counts = True
            try:
                capture.keep()
            except OSError as error:
                log.warning("the signature was not kept, so the next incremental will be a full: %s", error)
        return manifest
    except BaseException:
        if not counts:
            _discard(store, work.identifier)
        raise


def _stream(stages: list[Stage], config: Config, store: Store, identifier: str) -> tuple[Segment, ...]:
    with Pipeline(stages) as pipeline:
        segments = write_segments(
            cast("BinaryIO", pipeline.stdout),
            store=store,
            prefix=folder_of(identifier),
            segment_bytes=config.backup.segment_bytes,
            spool_directory=config.backup.spool_directory,
            upload_parallel=config.backup.upload_parallel,
            rate_limit=config.backup.rate_limit_bytes_per_second,
        )
        pipeline.finish(timeout_seconds=AFTER_THE_STREAM_SECONDS)
    return tuple(segments)


def _require_same_server(work: Work, session: Connection) -> None:
    """Raise ToolError unless this is still the server, and the run of it, that was looked at before."""
    elapsed = monotonic() - work.began
    uptime = float(session.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0]["Value"])
    problem = lineage.broken_by(work.line, evidence_of(observe(session)))
    if not problem and restarted(uptime, elapsed):
        problem = f"MySQL was restarted {uptime:.0f} s ago, the backup began {elapsed:.0f} s ago"
    if problem:
        raise ToolError(
            f"the server changed while it was backed up: {problem}",
            meaning="What was read belongs to no one state of a server, so it does not count.",
            remedy="The job tries again at its next hour.",
        )


def _fingerprint(session: Connection, config: Config) -> Fingerprint | None:
    try:
        return fingerprint.take(session, config.backup.fingerprint_table_maximum_bytes)
    except ToolError as error:
        # A good backup is not thrown away because it cannot be compared by content.
        log.warning("no fingerprint: %s", error)
        return None


def _manifest(
    work: Work,
    config: Config,
    engine: str,
    engine_version: str,
    facts: Facts,
    segments: tuple[Segment, ...],
    prints: Fingerprint | None,
    finished_at: datetime,
) -> Manifest:
    parent = work.choice.parent
    return Manifest(
        id=work.identifier,
        cluster=config.cluster,
        type=work.choice.type,
        engine=engine,
        engine_version=engine_version,
        server_version=work.state.version,
        series=work.state.series,
        host=config.host,
        server_uuid=work.state.server_uuid,
        lineage=work.line.lineage,
        parent_id=None if parent is None else parent.id,
        chain_id=work.identifier if parent is None else parent.chain_id,
        from_lsn=facts.from_lsn,
        to_lsn=facts.to_lsn,
        gtid_contained=facts.gtid_contained,
        gtid_upper=facts.gtid_upper,
        binlog_file=facts.binlog_file,
        binlog_position=facts.binlog_position,
        started_at=work.started_at.replace(microsecond=0),
        finished_at=finished_at.replace(microsecond=0),
        data_bytes=work.data_bytes,
        stored_bytes=sum(segment.size for segment in segments),
        segments=segments,
        compression="lz4",
        encrypted=config.store.encrypted,
        on_primary=work.verdict.on_primary,
        fingerprint=prints,
    )


def _discard(store: Store, identifier: str) -> None:
    """Remove what was uploaded, best effort; without a manifest it does not count anyway."""
    try:
        # The manifest first: an upload of it that failed on the way back may have arrived.
        store.delete(name_of_manifest(identifier))
        for item in store.list(folder_of(identifier)):
            store.delete(item.name)
    except HoldfastError as error:
        log.warning("what was uploaded of %s stays, for the cleanup: %s", identifier, error.what)
