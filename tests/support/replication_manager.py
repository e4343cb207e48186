"""A stand-in that treats its scripts and servers as Replication Manager does; for tests without its package.

From its code (cluster/cluster_bash.go, cluster_fail.go, cluster_topo.go, of 2024-10) and from what was seen of it:
scripts are executed without a shell and without a limit, their output is kept and their exit status only logged; the
pre-script comes before any drain, on a switchover too; then it promotes, whatever came back and whatever has happened
meanwhile; and what it holds for the primary it opens in the next tick.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


class RefusedError(Exception):
    """MySQL refused a statement."""


@dataclass
class Server:
    """A server as Replication Manager sees it. `do` runs a statement with its account; RefusedError when it may not."""

    host: str
    do: Callable[[str], None]
    port: str = "3306"


@dataclass
class StandIn:
    """One cluster with a primary and a candidate; `log` is what it did, in order."""

    master: Server
    candidate: Server
    pre_script: Sequence[str]
    alert_script: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    script: subprocess.Popen[bytes] | None = None

    def _execute(self, argv: Sequence[str]) -> None:
        self.script = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment
        )
        output, _ = self.script.communicate()
        self.log.append(f"script exited {self.script.returncode}: {output.decode()[-400:]}")

    def _try(self, server: Server, statement: str) -> None:
        try:
            server.do(statement)
            self.log.append(f"{server.host}: {statement}")
        except RefusedError as error:
            self.log.append(f"{server.host}: {statement} REFUSED {error}")

    def alert(self, host: str, before: str, now: str) -> None:
        """Call the alert script about a server."""
        self._execute([*self.alert_script, "shop", host, before, now])

    def change_master(self, kind: str) -> None:
        """Do a `failover` or `switchover`. Returns when it is through; blocks as long as the pre-script runs."""
        old, new = self.master, self.candidate
        # in its memory the candidate is the master from here on, and remains it
        self.master, self.candidate = new, old
        self.log.append("calls the pre-script")
        self._execute([*self.pre_script, old.host, new.host, old.port, new.port, "", "", kind])
        if kind == "switchover":
            self._try(old, "SET GLOBAL read_only=1")
            self._try(old, "FLUSH TABLES WITH READ LOCK")
        self._try(new, "STOP REPLICA")
        self._try(new, "RESET REPLICA ALL")
        self._try(new, "SET GLOBAL read_only=0")
        self._try(new, "SET GLOBAL super_read_only=0")
        if kind == "switchover":
            self._try(old, f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{new.host}'")

    def tick(self) -> None:
        """Open what it holds for the master."""
        self._try(self.master, "SET GLOBAL read_only=0")
        self._try(self.master, "SET GLOBAL super_read_only=0")
