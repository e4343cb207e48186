"""What XtraBackup writes and says, read into values. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.errors import ToolError
from holdfast.gtid import GtidSet
from holdfast.stages import complaint_of_exit_status

SUCCESS = "completed OK!"


@dataclass(frozen=True)
class KnownFailure:
    """A text of XtraBackup, what it means, and what to do."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str


KNOWN_FAILURES = (
    KnownFailure(
        re.compile(r"incremental backup seems not to be proper for the target|Check 'to_lsn' of the target"),
        "An incremental does not continue what it is applied to.",
        "Restore to the last good backup of the chain; take a full backup now: mysql-backup-full.",
    ),
    KnownFailure(
        re.compile(
            r"reopen_log_files did not find valid files|log block numbers mismatch|redo log.{0,40}overwritten", re.I
        ),
        "MySQL overwrote redo log faster than it was copied.",
        "Raise innodb_redo_log_capacity, or take the backup at a quieter hour.",
    ),
    KnownFailure(
        re.compile(r"Unsupported server version|Please use Percona XtraBackup|does not support (this )?MySQL", re.I),
        "This XtraBackup is not made for this MySQL.",
        "Install the XtraBackup of the server's series and at least its version; until then set backup_engine: clone.",
    ),
    KnownFailure(
        re.compile(
            r"missing required privilege|Access denied|Error 1227|Error 1045|failed to connect to MySQL server.*1045",
            re.I,
        ),
        "The backup account may not do what XtraBackup needs.",
        "Run playbooks/mysql.yml: the role mysql_server keeps the accounts.",
    ),
    KnownFailure(
        re.compile(r"Lock wait timeout|lock-ddl-timeout|LOCK INSTANCE FOR BACKUP.{0,80}(fail|timeout)", re.I),
        "A long DDL statement kept the backup lock from being taken.",
        "Wait for the DDL to end; the job tries again at its next hour.",
    ),
    KnownFailure(
        re.compile(r"No space left on device", re.I),
        "A disk is full.",
        "Make room on the volume named in the lines above.",
    ),
)


def explain(text: str) -> str:
    """Meaning and remedy of a known failure text in one line; empty for an unknown one."""
    for known in KNOWN_FAILURES:
        if known.pattern.search(text):
            return f"{known.meaning} {known.remedy}"
    return ""


def complaint(exit_status: int, stderr_tail: str) -> str | None:
    """What is wrong with a run of xtrabackup: success is exit status 0 and `completed OK!` on the last line."""
    problem = complaint_of_exit_status(exit_status, stderr_tail)
    lines = stderr_tail.strip().splitlines()
    if problem is None and not (lines and lines[-1].rstrip().endswith(SUCCESS)):
        problem = f"ended without {SUCCESS!r} on its last line"
    if problem is None:
        return None
    explained = explain(stderr_tail)
    return f"{problem}. {explained}" if explained else problem


def parse_settings(text: str) -> dict[str, str]:
    """The `name = value` lines of xtrabackup's files; a value may go on over several lines (GTID sets)."""
    settings: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        found = re.match(r"([a-z_]+) = ?(.*)$", line)
        if found:
            name = found[1]
            settings[name] = found[2]
        elif name:
            settings[name] += "\n" + line
    return settings


@dataclass(frozen=True)
class BinlogPoint:
    """Where the backup stands in the server's own binlog."""

    file: str
    position: int
    gtid: GtidSet


def parse_binlog_info(text: str) -> BinlogPoint:
    """xtrabackup_binlog_info: file, position and GTID set by tabs, the set over several lines. Raises ToolError."""
    words = text.strip().split("\t")
    try:
        return BinlogPoint(words[0], int(words[1]), GtidSet.parse(words[2] if len(words) > 2 else ""))
    except (IndexError, ValueError) as error:
        raise ToolError(f"xtrabackup_binlog_info is not readable: {text[:200]!r}") from error


def parse_binlog_pos(value: str) -> BinlogPoint:
    """The binlog_pos of xtrabackup_info: filename 'x', position 'n', GTID of the last change 'set'; or ToolError."""
    found = re.search(r"filename '([^']+)', position '(\d+)'(?:, GTID of the last change '([^']*)')?", value, re.S)
    if found is None:
        raise ToolError(
            f"xtrabackup_info names no binlog position: {value[:200]!r}",
            meaning="The backup's place among the transactions is unknown, so it does not count.",
            remedy="Check that log_bin is on.",
        )
    try:
        return BinlogPoint(found[1], int(found[2]), GtidSet.parse(found[3] or ""))
    except ValueError as error:
        raise ToolError(f"xtrabackup_info's binlog_pos is not readable: {error}") from error


def parse_lsns(settings: Mapping[str, str]) -> tuple[int, int]:
    """from_lsn and to_lsn of xtrabackup_checkpoints. Raises ToolError."""
    try:
        return int(settings["from_lsn"]), int(settings["to_lsn"])
    except (KeyError, ValueError) as error:
        raise ToolError(f"xtrabackup_checkpoints has no LSNs: {dict(settings)}") from error


def parse_version(text: str) -> str:
    """9.7.1-rc1 of `xtrabackup version 9.7.1-rc1 based on MySQL server ...`. Raises ToolError."""
    found = re.search(r"xtrabackup version (\S+)", text)
    if found is None:
        raise ToolError(f"`xtrabackup --version` says: {text[:200]!r}")
    return found[1]


def series_of(version: str) -> str:
    """8.4 of 8.4.0-7."""
    return ".".join(version.split(".")[:2])
