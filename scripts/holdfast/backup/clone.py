"""The engine for servers that XtraBackup does not support yet: MySQL's own CLONE, and blocks that changed.

Standard MySQL only. It needs 1.1 times the data as free disk while it runs; docs/decisions/fixed-block-increments.md.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
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
    refuse_tablespaces_elsewhere,
    refuse_unsafe_tables,
    remove_leftovers,
    require_privileges,
    require_room,
)
from holdfast.backup.manifest import BackupType, Manifest
from holdfast.backup.signature import check_complete
from holdfast.cluster import ServerState, observe
from holdfast.config import Config
from holdfast.database import Connection, DatabaseError, connect
from holdfast.errors import HoldfastError, ToolError
from holdfast.process import Stage

PROGRAM = Path(__file__).resolve().parents[2] / "mysql_clone_stream.py"
PRIVILEGES = ("BACKUP_ADMIN", "PROCESS", "REPLICATION CLIENT", "RELOAD", "SELECT")
CLONES = """
SELECT id AS id FROM performance_schema.processlist WHERE LEFT(info, %s) = %s
"""
CLONE_ENDS_SECONDS = 60.0
ROOM = 1.1  # times the data: the copy, its redo log, and what grows while it is read

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CloneCapture:
    """A finished local clone, about to be streamed."""

    stages: Sequence[Stage]
    before: ServerState
    after: ServerState
    new_signature: Path
    kept_signature: Path

    def facts(self) -> Facts:
        """What was executed before the clone began is in it; what came after it ended is not."""
        return Facts(
            gtid_contained=self.before.gtid_executed,
            gtid_upper=self.after.gtid_executed,
            binlog_file=self.before.binlog_file,
            binlog_position=self.before.binlog_position,
            from_lsn=None,
            to_lsn=None,
        )

    def keep(self) -> None:
        """Make this backup's signature the one kept: only the newest backup can become a parent."""
        self.new_signature.replace(self.kept_signature)
        for path in self.kept_signature.parent.glob("*.sig"):
            if path != self.kept_signature:
                path.unlink()


def end_clones(connection: Connection, staging: Path) -> None:
    """Kill sessions that clone into the staging directory for a client that is gone, and wait until they have ended.

    Raises ToolError if one goes on.
    """
    begin = f"CLONE LOCAL DATA DIRECTORY = '{staging}/"
    pause, deadline = threading.Event(), time.monotonic() + CLONE_ENDS_SECONDS
    while found := connection.rows(CLONES, (len(begin), begin)):
        if time.monotonic() > deadline:
            raise ToolError(f"MySQL still clones into {staging} {CLONE_ENDS_SECONDS:.0f} s after it was told to end")
        for row in found:
            log.warning("ending the clone of a run that is over (session %d)", row["id"])
            with contextlib.suppress(DatabaseError):  # it may have ended by itself
                connection.execute("KILL %s", (int(row["id"]),))
        pause.wait(1.0)


class CloneEngine:
    """CLONE LOCAL DATA DIRECTORY, streamed whole or as changed blocks."""

    name = "clone"

    def __init__(self, config: Config) -> None:
        self._mysql = config.mysql
        self._staging = config.backup.staging_directory
        self._signatures = config.backup.signatures_directory

    def version(self, connection: Connection) -> str:
        """CLONE is part of the server."""
        return str(connection.value("SELECT VERSION()"))

    def preflight(self, connection: Connection) -> int:
        """Check tables, rights and room; also removes what a killed run left, which takes room."""
        end_clones(connection, self._staging)
        self._remove_leftovers()
        plugin = connection.value(
            "SELECT plugin_status FROM information_schema.plugins WHERE plugin_name = 'clone'",
        )
        if plugin != "ACTIVE":
            raise ToolError(
                "the clone plugin is not active on this server",
                meaning="The engine clone needs it.",
                remedy="Run playbooks/mysql.yml, which installs it; or INSTALL PLUGIN clone SONAME 'mysql_clone.so'.",
            )
        require_privileges(connection, PRIVILEGES)
        refuse_unsafe_tables(connection)
        refuse_tablespaces_elsewhere(connection)
        size = data_bytes(connection)
        require_room(self._staging, int(size * ROOM))
        return size

    def kept_ids(self) -> frozenset[str]:
        """Backups whose signature lies whole on this host."""
        kept = set()
        for path in self._signatures.glob("*.sig"):
            try:
                check_complete(path)
                kept.add(path.stem)
            except ToolError as error:
                log.warning("%s", error.what)
        return frozenset(kept)

    @contextmanager
    def capture(
        self, kind: BackupType, parent: Manifest | None, connection: Connection, identifier: str
    ) -> Iterator[CloneCapture]:
        """Clone into the staging directory; the copy is removed when the block is left."""
        self._remove_leftovers()
        staging = self._staging / identifier
        signature = self._signatures / f"{identifier}.new"
        try:
            before = observe(connection)
            self._clone(connection, staging)
            after = observe(connection)
            # CLONE copies a table of another engine empty; one may have been made since the preflight.
            refuse_unsafe_tables(connection)
            argv = [sys.executable, str(PROGRAM), kind, "--source", str(staging), "--signature-out", str(signature)]
            if parent is not None:
                argv += ["--parent-signature", str(self._signatures / f"{parent.id}.sig")]
            stage = Stage("clone stream", tuple(argv))
            yield CloneCapture((stage,), before, after, signature, self._signatures / f"{identifier}.sig")
        finally:
            self._remove_leftovers()

    def materialise(self, chain: Sequence[Manifest], target: Path, stream_of: StreamOf) -> None:
        """Unpack the full, apply each incremental; after the last one every file is compared with its fingerprint."""
        make_target(target)
        for number, manifest in enumerate(chain):
            if manifest.type == "full":
                stage = Stage("tar", ("tar", "-x", "-f", "-", "-C", str(target)))
            else:
                argv = [sys.executable, str(PROGRAM), "apply", "--target", str(target)]
                if number < len(chain) - 1:
                    argv.append("--no-verify")
                stage = Stage("clone stream apply", tuple(argv))
            pour(stream_of(manifest), (decompress(), stage))
        own_like_target(target)

    def describe(self) -> str:
        """One line for people."""
        return "clone: MySQL's CLONE LOCAL; incrementals are the 64 KiB blocks that changed"

    def _clone(self, connection: Connection, staging: Path) -> None:
        try:
            connection.execute("CLONE LOCAL DATA DIRECTORY = %s", (str(staging),))
        except BaseException:
            # MySQL would go on without its client, to a whole copy that nobody removes (seen).
            try:
                with connect(self._mysql.backup_account_file, socket=self._mysql.socket) as session:
                    end_clones(session, self._staging)
            except HoldfastError as error:
                log.warning("whether MySQL still clones is not known: %s", error.what)
            raise

    def _remove_leftovers(self) -> None:
        remove_leftovers(self._staging)
        for path in self._signatures.glob("*.new"):
            path.unlink()
