"""Run commands on the hosts of the lab, from the controller, with nsenter.

`podman exec` takes 0.3 s for what nsenter does in 0.01, and a test of a failover runs some hundred commands. The
environment and the capabilities are those that `podman exec` gives. Everything here must run inside the lab's mount
namespace (`molecule/lab/lab.py enter`); `ensure_inside_lab` sees to it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
LAB_PROGRAM = REPOSITORY / "molecule" / "lab" / "lab.py"
INSIDE = "HOLDFAST_LAB_INSIDE"
# of every command: nothing of the controller's
ENVIRONMENT = ("HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=podman")
OCTETS = {
    name: host["octet"] for name, host in json.loads((LAB_PROGRAM.parent / "recipes.json").read_text())["hosts"].items()
}


class CommandError(Exception):
    """A command on a host ended with another exit status than the test or the demo needs."""


@dataclass(frozen=True)
class Result:
    """How a command ended: exit status, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both outputs in one text, as a person at the terminal sees them."""
        return self.out + self.err


def lab_number() -> int:
    """Return the number of the lab that this process works on (HOLDFAST_LAB, default 1)."""
    return int(os.environ.get("HOLDFAST_LAB") or "1")


def started_at(pid: int) -> str:
    """Return when a process began, in clock ticks, which tells it from a later one of its number; empty: it is gone.

    Source: proc_pid_stat(5), field 22; the name, field 2, may have spaces.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except OSError:
        return ""


def exit_status(returncode: int) -> int:
    """Return an exit status as a shell tells it (pure): nsenter dies of the signal that ended its child."""
    return returncode if returncode >= 0 else 128 - returncode


def bounding_set(status: str) -> str:
    """Return the capabilities that a process's /proc/PID/status allows, as setpriv wants to read them (pure)."""
    mask = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    return ",".join(["-all", *(f"+cap_{bit}" for bit in range(mask.bit_length()) if mask >> bit & 1)])


def ensure_inside_lab() -> None:
    """Start this program again inside the lab's namespace, unless it runs there already. Returns only inside."""
    if INSIDE not in os.environ:
        os.execvp(sys.executable, [sys.executable, str(LAB_PROGRAM), "enter", "--", sys.executable, *sys.argv])


class Host:
    """One host of the lab."""

    def __init__(self, name: str) -> None:
        """Name the host as the inventory does: db1, db2, app1 or store."""
        self.name = name
        self.container = f"holdfast{lab_number()}-{name}"
        self.address = f"10.203.{lab_number()}.{OCTETS[name]}"
        self._init = (0, "")
        self._capabilities = ""

    def init_pid(self) -> int:
        """Return the process id of the host's systemd as the controller sees it; 0 when the host is off."""
        pid, since = self._init
        if not since or started_at(pid) != since:
            inspect = ["podman", "inspect", "--format", "{{.State.Pid}}", self.container]
            pid = int(subprocess.run(inspect, capture_output=True, text=True, check=False).stdout or 0)
            self._init = (pid, started_at(pid) if pid else "")
            if self._init[1]:
                self._capabilities = bounding_set(Path(f"/proc/{pid}/status").read_text())
        return pid

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` on this host from the controller."""
        pid = self.init_pid()
        if not pid:
            return ["podman", "exec", "-i", self.container, *command]  # which says why it cannot
        clean = ["env", "-i", f"HOSTNAME={self.name}", *ENVIRONMENT]
        rights = ["setpriv", f"--bounding-set={self._capabilities}", "--"]
        return ["nsenter", "--target", str(pid), "--all", "--wd=/", *clean, *rights, *command]

    def run(
        self, *command: str, check: bool = True, timeout_seconds: float = 180, stdin: str | bytes | None = None
    ) -> Result:
        """Run a command to its end. Raises CommandError when `check` and it fails; TimeoutExpired when it hangs."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        done = subprocess.run(self.argv(command), capture_output=True, timeout=timeout_seconds, check=False, **feed)
        out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        result = Result(exit_status(done.returncode), out, err)
        if check and result.status != 0:
            shown = shlex.join(command)
            raise CommandError(f"{self.name}: `{shown[:400]}` exited {result.status}\n{result.text[-4000:]}")
        return result

    def shell(self, script: str, *, check: bool = True, timeout_seconds: float = 180) -> Result:
        """Run a bash script that is passed on standard input, so that no quoting is lost on the way."""
        return self.run("bash", "-euo", "pipefail", "-s", stdin=script, check=check, timeout_seconds=timeout_seconds)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command and return at once; its outputs are pipes."""
        return subprocess.Popen(
            self.argv(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def sql(self, statement: str, *, account: str = "", timeout_seconds: float = 180) -> list[list[str]]:
        """Run SQL as the server's root over the socket, or with an option file; return the rows' columns as text.

        Raises CommandError.
        """
        who = (f"--defaults-file={account}",) if account else ("--no-defaults", "--user=root")
        options = ("--default-character-set=utf8mb4", "-N", "-B", "--raw")
        done = self.run("mysql", *who, *options, stdin=statement, timeout_seconds=timeout_seconds)
        return [line.split("\t") for line in done.out.splitlines()]

    def value(self, statement: str, *, account: str = "") -> str:
        """Return the first column of the first row. Raises CommandError when there is none."""
        rows = self.sql(statement, account=account)
        if not rows:
            raise CommandError(f"{self.name}: no row from {statement!r}")
        return rows[0][0]

    def executed(self) -> str:
        """Return the server's gtid_executed in one line."""
        return "".join(row[0] for row in self.sql("SELECT @@global.gtid_executed"))

    def write(self, path: str, content: str | bytes, mode: str = "0644") -> None:
        """Write a file on the host (root owns it), whole or not at all."""
        script = 'umask 077; cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"'
        self.run("sh", "-ec", script, "write", path, mode, stdin=content)

    def read(self, path: str) -> str:
        """Return a file's text. Raises CommandError when there is none."""
        return self.run("cat", path).out

    def exists(self, path: str) -> bool:
        """Tell whether a path is there."""
        return self.run("test", "-e", path, check=False).status == 0


@dataclass(frozen=True)
class Lab:
    """The four hosts."""

    db1: Host
    db2: Host
    app1: Host
    store: Host

    @property
    def servers(self) -> tuple[Host, Host]:
        """Both database hosts."""
        return self.db1, self.db2

    def primary(self) -> Host:
        """Return the one server that takes writes. Raises CommandError unless it is exactly one."""
        writable = [host for host in self.servers if host.value("select @@super_read_only") == "0"]
        if len(writable) != 1:
            raise CommandError(f"{len(writable)} servers take writes, expected one (db1, db2)")
        return writable[0]

    def replica(self) -> Host:
        """Return the other server."""
        primary = self.primary()
        return self.db2 if primary is self.db1 else self.db1

    def wait_for_replica(self, limit_seconds: float = 60) -> None:
        """Wait until the replica has executed all that the primary has now. Raises CommandError after the limit."""
        primary = self.primary()
        replica = self.db2 if primary is self.db1 else self.db1
        waited = f"select wait_for_executed_gtid_set('{primary.executed()}', {limit_seconds:.0f})"
        if replica.value(waited) != "0":
            raise CommandError(f"{replica.name} did not catch up with {primary.name} in {limit_seconds:.0f} s")


def lab() -> Lab:
    """Return the lab of this process."""
    return Lab(*(Host(name) for name in ("db1", "db2", "app1", "store")))


def wait_until(
    condition: Callable[[], bool], what: str, *, limit_seconds: float = 30, every_seconds: float = 0.2
) -> None:
    """Poll until something holds. Raises CommandError naming what did not happen within the limit."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CommandError(f"not within {limit_seconds:.0f} s: {what}")
        time.sleep(every_seconds)
