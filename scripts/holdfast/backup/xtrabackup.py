"""The engine of production: Percona XtraBackup, streamed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.backup.engine import (
    Facts,
    StreamOf,
    data_bytes,
    decompress,
    make_target,
    own_like_target,
    pour,
    refuse_unsafe_tables,
    remove_leftovers,
    require_privileges,
    require_room,
)
from holdfast.backup.manifest import BackupType, Manifest
from holdfast.backup.xtrabackup_files import (
    BinlogPoint,
    complaint,
    parse_binlog_info,
    parse_binlog_pos,
    parse_lsns,
    parse_settings,
    parse_version,
    series_of,
)
from holdfast.config import Config
from holdfast.database import Connection
from holdfast.errors import ToolError
from holdfast.process import Pipeline, Stage, run

PROGRAM = "xtrabackup"
PACKAGE = "percona-xtrabackup"
PRIVILEGES = ("BACKUP_ADMIN", "PROCESS", "RELOAD", "LOCK TABLES", "REPLICATION CLIENT", "SELECT")
PREPARE_TIMEOUT_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class XtrabackupCapture:
    """One run of xtrabackup --backup; its metadata appears in `metadata` when it has ended."""

    stages: Sequence[Stage]
    metadata: Path
    parent: Manifest | None

    def facts(self) -> Facts:
        """What xtrabackup wrote beside the stream. ToolError if that is missing or does not continue the parent."""
        from_lsn, to_lsn = parse_lsns(parse_settings(_read(self.metadata / "xtrabackup_checkpoints")))
        wanted = self.parent.to_lsn if self.parent is not None else 0
        if from_lsn != wanted:
            raise ToolError(
                f"the backup begins at LSN {from_lsn}, asked for was {wanted}",
                meaning="It does not continue its parent; it does not count.",
            )
        point = self._binlog_point()
        return Facts(point.gtid, point.gtid, point.file, point.position, from_lsn, to_lsn)

    def keep(self) -> None:
        """Nothing: the LSN in the manifest is all that the next incremental needs."""

    def _binlog_point(self) -> BinlogPoint:
        own = self.metadata / "xtrabackup_binlog_info"
        if own.exists():
            return parse_binlog_info(_read(own))
        return parse_binlog_pos(parse_settings(_read(self.metadata / "xtrabackup_info")).get("binlog_pos", ""))


class XtrabackupEngine:
    """xtrabackup --backup, xbstream, xtrabackup --prepare."""

    name = "xtrabackup"

    def __init__(self, config: Config) -> None:
        self._mysql = config.mysql
        self._backup = config.backup

    def version(self, connection: Connection) -> str:
        """XtraBackup's version; raises ToolError when it is not installed."""
        del connection
        completed = run((PROGRAM, "--version"), name="xtrabackup --version", timeout_seconds=30)
        return parse_version(completed.stdout.decode(errors="replace") + completed.stderr_tail)

    def preflight(self, connection: Connection) -> int:
        """Check version, rights, tables and room for the spool."""
        if shutil.which(PROGRAM) is None:
            raise ToolError(
                f"{PROGRAM} is not installed on this host",
                meaning=f"It comes with the package {PACKAGE} of the server's series.",
                remedy="Run playbooks/backups.yml with the package given, or set backup_engine: clone.",
            )
        refuse_other_series(self.version(connection), str(connection.value("SELECT VERSION()")))
        require_privileges(connection, PRIVILEGES)
        refuse_unsafe_tables(connection)
        segments = self._backup.upload_parallel + 1
        require_room(self._backup.spool_directory, segments * self._backup.segment_bytes)
        return data_bytes(connection)

    def kept_ids(self) -> frozenset[str]:
        """None: the manifest's to_lsn suffices."""
        return frozenset()

    @contextmanager
    def capture(
        self, kind: BackupType, parent: Manifest | None, connection: Connection, identifier: str
    ) -> Iterator[XtrabackupCapture]:
        """Start xtrabackup with a folder of its own for metadata."""
        del connection
        if kind == "incremental" and (parent is None or parent.to_lsn is None):
            raise ToolError(f"an incremental needs a parent with a to_lsn; {identifier} has none")
        remove_leftovers(self._backup.staging_directory)
        folder = self._backup.staging_directory / identifier
        metadata = folder / "metadata"
        metadata.mkdir(parents=True, mode=0o700)
        try:
            argv = self.backup_argv(parent, metadata, folder / "target")
            yield XtrabackupCapture((Stage(PROGRAM, argv, complaint),), metadata, parent)
        finally:
            shutil.rmtree(folder)

    def backup_argv(self, parent: Manifest | None, metadata: Path, target: Path) -> tuple[str, ...]:
        """The command line; the account comes from a file that must be named first."""
        argv = [
            PROGRAM,
            f"--defaults-extra-file={self._mysql.backup_account_file}",
            "--backup",
            "--stream=xbstream",
            f"--socket={self._mysql.socket}",
            f"--datadir={self._mysql.data_directory}",
            f"--extra-lsndir={metadata}",
            f"--target-dir={target}",
            f"--parallel={self._backup.xtrabackup_parallel}",
            "--slave-info",
        ]
        if parent is not None:
            argv.append(f"--incremental-lsn={parent.to_lsn}")
        return tuple(argv)

    def materialise(self, chain: Sequence[Manifest], target: Path, stream_of: StreamOf) -> None:
        """Extract and prepare the full, then each incremental; the last step rolls back what was not committed."""
        make_target(target)
        for number, manifest in enumerate(chain):
            last = number == len(chain) - 1
            if manifest.type == "full":
                self._extract(manifest, target, stream_of)
                self._prepare(prepare_argv(target, None, last=last), manifest)
                continue
            increment = target.with_name(f"{target.name}.{manifest.id}")
            increment.mkdir(mode=0o700)
            try:
                self._extract(manifest, increment, stream_of)
                self._prepare(prepare_argv(target, increment, last=last), manifest)
            finally:
                shutil.rmtree(increment)
        own_like_target(target)

    def describe(self) -> str:
        """One line for people."""
        return "xtrabackup: Percona XtraBackup; incrementals are the pages that changed since the parent's LSN"

    def _extract(self, manifest: Manifest, target: Path, stream_of: StreamOf) -> None:
        parallel = f"--parallel={self._backup.xtrabackup_parallel}"
        pour(stream_of(manifest), (decompress(), Stage("xbstream", ("xbstream", "-x", "-C", str(target), parallel))))

    def _prepare(self, argv: tuple[str, ...], manifest: Manifest) -> None:
        stage = Stage(f"xtrabackup --prepare of {manifest.id}", argv, complaint)
        with Pipeline((stage,), keep_stdout=False) as pipeline:
            pipeline.finish(timeout_seconds=PREPARE_TIMEOUT_SECONDS)


def prepare_argv(target: Path, increment: Path | None, *, last: bool) -> tuple[str, ...]:
    """One step of the preparation; all but the last only apply the log, so that the next one still fits (pure)."""
    argv = [PROGRAM, "--prepare", f"--target-dir={target}"]
    if not last:
        argv.append("--apply-log-only")
    if increment is not None:
        argv.append(f"--incremental-dir={increment}")
    return tuple(argv)


def refuse_other_series(engine_version: str, server_version: str) -> None:
    """Raise ToolError unless XtraBackup and server are of one series: it reads the server's files by its own code."""
    server = re.match(r"[\d.]+", server_version)
    if server is None or series_of(engine_version) != series_of(server[0]):
        raise ToolError(
            f"XtraBackup {engine_version} does not back up MySQL {server_version}",
            meaning="Each XtraBackup reads the files of one MySQL series.",
            remedy=f"Install the {PACKAGE} of that series, or set backup_engine: clone.",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ToolError(
            f"xtrabackup left no {path.name}: {error.strerror}",
            meaning="The backup's place among the transactions is unknown, so it does not count.",
        ) from error
