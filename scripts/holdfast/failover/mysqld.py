"""The mysqld that a guard observes, as a process: which one it is, whether it still runs, and its end by SIGKILL."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from holdfast.errors import ToolError
from holdfast.failover.record import Instance

PROC = Path("/proc")
# of /proc/<pid>/stat, counted from the state, which follows the name in parentheses
START_FIELD = 22 - 3


class Mysqld:
    """One running mysqld, held by a pidfd: no other process can ever be meant, whatever happens to the number.

    `pid` is for people. Close it when it is no longer of interest.
    """

    def __init__(self, instance: Instance, pid: int, pidfd: int) -> None:
        self.instance = instance
        self.pid = pid
        self._pidfd = pidfd

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def kill(self) -> None:
        """Send SIGKILL; nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; whether it came."""
        return bool(select.select([self._pidfd], [], [], timeout_seconds)[0])

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._pidfd)


def running(server_uuid: str, pid: int, proc: Path = PROC) -> Mysqld:
    """Take hold of a process that SQL has named. Raises ToolError when it is gone or is no mysqld."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        raise ToolError(f"process {pid}, named by MySQL's pid file, is gone: {error}") from None
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        boot_id = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        instance = Instance(server_uuid, boot_id, process_start(text))
        if name_of(text) not in ("mysqld", "mysqld-debug"):
            raise ToolError(f"process {pid}, named by MySQL's pid file, is {name_of(text)}, not mysqld")
    except OSError as error:
        os.close(pidfd)
        raise ToolError(f"process {pid}, named by MySQL's pid file, is gone: {error}") from None
    except BaseException:
        os.close(pidfd)
        raise
    return Mysqld(instance, pid, pidfd)


def pid_in(pid_file: Path) -> int:
    """The number in a pid file. Raises ToolError."""
    try:
        return int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ToolError(
            f"{pid_file}: cannot be read: {error}",
            meaning="The guard cannot tell which process the server is, and could not end it.",
        ) from None


def process_start(stat: str) -> int:
    """When a process began, in clock ticks since boot, of its /proc/<pid>/stat (pure). Raises ToolError."""
    try:
        return int(stat.rpartition(")")[2].split()[START_FIELD])
    except (IndexError, ValueError):
        raise ToolError(f"unreadable /proc/<pid>/stat: {stat[:100]!r}") from None


def name_of(stat: str) -> str:
    """The name of a process, of its /proc/<pid>/stat (pure)."""
    return stat.partition("(")[2].rpartition(")")[0]
