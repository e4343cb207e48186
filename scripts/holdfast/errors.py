"""What can go wrong, and the exit status that tells it to cron and systemd."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit statuses of every program; the same table is in the README."""

    DONE = 0
    BUG = 1
    USAGE = 2
    CONFIGURATION = 3
    TOOL = 4
    STORAGE = 5
    LOCKED = 6
    NOT_THIS_HOST = 75


DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class HoldfastError(Exception):
    """Something a person has to read: what happened, what it means, what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, what: str, *, meaning: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.meaning = meaning
        self.remedy = remedy

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.meaning, self.remedy) if part)


class UsageError(HoldfastError):
    """The command line asks for something that cannot be meant."""

    exit_code = ExitCode.USAGE


class ConfigurationError(HoldfastError):
    """A configuration or secret file is missing, unreadable or wrong."""

    exit_code = ExitCode.CONFIGURATION


class ToolError(HoldfastError):
    """A process, MySQL or this host's disk failed."""

    exit_code = ExitCode.TOOL


class StorageError(HoldfastError):
    """The offsite store refused, lost or altered something, or could not be reached."""

    exit_code = ExitCode.STORAGE


class LockedError(HoldfastError):
    """Another run of the same job is at work."""

    exit_code = ExitCode.LOCKED


class NotThisHostError(HoldfastError):
    """It is another host's turn; nothing is wrong."""

    exit_code = ExitCode.NOT_THIS_HOST


def disk_full(error: BaseException) -> ToolError | None:
    """What the error of a full disk means to a person; None for every other error (pure)."""
    if not isinstance(error, OSError) or error.errno not in DISK_FULL:
        return None
    return ToolError(
        f"the disk is full: {error.filename or 'a file of the run'} could not be written",
        meaning="The run was stopped; what it had not finished does not count.",
        remedy="Free space below /var/lib/holdfast (df -h); the job's next turn makes up for it.",
    )


class Stopped(BaseException):
    """SIGTERM as an exception, so that every `with` block cleans up.

    Not an Exception: code that handles errors must not swallow it.
    """
