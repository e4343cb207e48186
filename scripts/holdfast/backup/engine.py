"""What a backup engine must be able to do, and the checks that both engines make before they start."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from holdfast.backup.manifest import BackupType, Manifest
from holdfast.database import Connection
from holdfast.errors import ConfigurationError, ToolError
from holdfast.gtid import GtidSet
from holdfast.process import Pipeline, Stage

# Chunks of a backup's stored stream, checked before they are given out.
StreamOf = Callable[[Manifest], Iterable[bytes]]

log = logging.getLogger(__name__)

UNSAFE_TABLES = """
SELECT CONCAT(table_schema, '.', table_name) AS name, engine AS engine FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND engine <> 'InnoDB'
AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1
"""
DATA_BYTES = """
SELECT (SELECT COALESCE(SUM(file_size), 0) FROM information_schema.innodb_tablespaces WHERE name <> 'innodb_temporary')
+ (SELECT COALESCE(SUM(total_extents * extent_size), 0) FROM information_schema.files
WHERE tablespace_name = 'innodb_system')
"""


@dataclass(frozen=True)
class Facts:
    """What an engine knows once its stream has ended; goes into the manifest. LSNs: None without them."""

    gtid_contained: GtidSet
    gtid_upper: GtidSet
    binlog_file: str
    binlog_position: int
    from_lsn: int | None
    to_lsn: int | None


class Capture(Protocol):
    """One backup in the making."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The processes whose last one writes the backup to its output."""

    def facts(self) -> Facts:
        """Once the stages have ended well. Raises ToolError when the engine's own report is missing or unreadable."""

    def keep(self) -> None:
        """Once the manifest is up: keep what the next incremental needs."""


class Engine(Protocol):
    """How the data of a running server becomes a stream, and a chain of streams a data directory."""

    @property
    def name(self) -> str:
        """As in the configuration and the manifest."""

    def version(self, connection: Connection) -> str:
        """The engine's own version."""

    def preflight(self, connection: Connection) -> int:
        """The bytes of the server's data; ToolError if a backup cannot succeed or would not be whole."""

    def kept_ids(self) -> frozenset[str]:
        """Backups for which this host has what an incremental upon them needs, beyond their manifest."""

    def capture(
        self, kind: BackupType, parent: Manifest | None, connection: Connection, identifier: str
    ) -> AbstractContextManager[Capture]:
        """Start a backup; leaving the block removes every local copy."""

    def materialise(self, chain: Sequence[Manifest], target: Path, stream_of: StreamOf) -> None:
        """Make the new directory `target` a data directory that mysqld can start on. Raises ToolError, StorageError."""

    def describe(self) -> str:
        """One line for people."""


def refuse_unsafe_tables(connection: Connection) -> None:
    """Raise ToolError naming user tables that no physical backup of a running server holds whole."""
    rows = connection.rows(UNSAFE_TABLES)
    if rows:
        listed = ", ".join(f"{row['name']} ({row['engine']})" for row in rows[:10])
        raise ToolError(
            f"{len(rows)} user tables are not InnoDB: {listed}",
            meaning="They would be empty or torn after a restore, so no backup was taken.",
            remedy="Convert them: ALTER TABLE ... ENGINE=InnoDB; or drop them.",
        )


def refuse_tablespaces_elsewhere(connection: Connection) -> None:
    """Raise ToolError naming tablespaces outside the data directory: CLONE LOCAL cannot copy them."""
    rows = connection.rows("SELECT path AS path FROM information_schema.innodb_datafiles ORDER BY 1")
    paths = [str(row["path"]) for row in rows]
    elsewhere = [path for path in paths if path.startswith("/")]
    if elsewhere:
        raise ToolError(
            f"{len(elsewhere)} tablespaces lie outside the data directory: {', '.join(elsewhere[:10])}",
            meaning="MySQL refuses to clone them on the same host, so no backup was taken.",
            remedy="Move them into the data directory (ALTER TABLE ... DATA DIRECTORY), or use the engine xtrabackup.",
        )


def missing_privileges(grants: Iterable[str], needed: Iterable[str]) -> list[str]:
    """Which of `needed` none of the lines of SHOW GRANTS gives on *.* (pure)."""
    held: set[str] = set()
    for grant in grants:
        privileges, separator, _ = grant.partition(" ON *.* TO ")
        if separator:
            held |= {word.strip().upper() for word in privileges.removeprefix("GRANT ").split(",")}
    return [] if "ALL PRIVILEGES" in held and held else [name for name in needed if name not in held]


def require_privileges(connection: Connection, needed: Iterable[str]) -> None:
    """Raise ToolError naming what the backup account may not do."""
    grants = [str(next(iter(row.values()))) for row in connection.rows("SHOW GRANTS")]
    missing = missing_privileges(grants, needed)
    if missing:
        account = connection.value("SELECT CURRENT_USER()")
        raise ToolError(
            f"the backup account {account} lacks {', '.join(missing)}",
            meaning="The engine cannot take a backup with it.",
            remedy="Run playbooks/mysql.yml: the role mysql_server keeps the accounts.",
        )


def data_bytes(connection: Connection) -> int:
    """How large the server's tablespaces are, without temporary ones."""
    # Not from FILES alone: it counts whole extents, so a hundred thousand small tables would be nothing (seen).
    # INNODB_TABLESPACES has every file's size, but for those of the system tablespace.
    return int(connection.value(DATA_BYTES))


def require_room(directory: Path, needed_bytes: int) -> None:
    """Raise ToolError if `directory` has less free space than that."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise ToolError(
            f"{directory} has {free / 1e9:.1f} GB free, this backup needs {needed_bytes / 1e9:.1f} GB",
            meaning="The backup was not started, so that it cannot fill the disk under MySQL.",
            remedy=f"Make room, or put {directory} on a larger volume.",
        )


def remove_leftovers(staging_directory: Path) -> None:
    """Empty the staging directory; the job's lock is held, so whatever lies there is of a run that is over.

    Raises ConfigurationError when there is no such directory.
    """
    if not staging_directory.is_dir():
        raise ConfigurationError(
            f"backup.staging_directory: {staging_directory} does not exist",
            remedy="Run playbooks/backups.yml, which makes it for the user mysql, or correct the configuration.",
        )
    for path in staging_directory.iterdir():
        log.info("removing the staging copy %s", path)
        shutil.rmtree(path)


def pour(chunks: Iterable[bytes], stages: Sequence[Stage]) -> None:
    """Feed chunks to a pipeline whose last stage writes nothing. Raises ToolError naming the stage that broke."""
    with Pipeline(stages, feed=True, keep_stdout=False) as pipeline:
        for chunk in chunks:
            cast("BinaryIO", pipeline.stdin).write(chunk)
        pipeline.finish(timeout_seconds=24 * 3600.0)


def decompress() -> Stage:
    """The stage that undoes the compression of every backup."""
    return Stage("lz4 -d", ("lz4", "-d", "-q", "-c", "-"))


def compress(level: int) -> Stage:
    """The stage that compresses every backup; its frames carry checksums."""
    return Stage("lz4", ("lz4", f"-{level}", "-q", "-c", "-"))


def make_target(target: Path) -> None:
    """The new directory of a restore, owned as its parent is."""
    target.mkdir(mode=0o750)
    owner = target.parent.stat()
    os.chown(target, owner.st_uid, owner.st_gid)


def own_like_target(target: Path) -> None:
    """Give everything below `target` its owner: tools that run as root made it."""
    owner = target.stat()
    for path in _everything(target):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _everything(target: Path) -> Iterator[str]:
    for directory, folders, files in os.walk(target):
        for name in (*folders, *files):
            yield str(Path(directory) / name)
