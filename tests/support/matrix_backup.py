"""The columns of the fault matrix that take backups: full and incremental."""

from __future__ import annotations

from typing import ClassVar

from support.lane import Lane
from support.matrix import Row, ServerJob, server_rows, store_rows
from support.small_servers import SmallServer, SmallServers

SEGMENT, MANIFEST = r"PUT .*/segment-", r"PUT .*/manifest\.json"
# so slow that engine and lz4 still run while a segment is on its way
STEADY = {"backup": {"segment_bytes": 1 << 18, "upload_parallel": 1, "rate_limit_bytes_per_second": 1_000_000}}


class Backup(ServerJob):
    """What both kinds have in common."""

    kind: ClassVar[str]

    def __init__(self, lane: Lane, servers: SmallServers, server: SmallServer) -> None:
        super().__init__(lane, servers, server)
        self.may_make = {self.kind}

    def prepare(self) -> None:
        """A full, so that an incremental has a parent."""
        self.lane.run("mysql-backup-full")
        self.lane.site.configure(self.lane.host, STEADY, "-steady")

    def before(self, row: str) -> None:
        """Everything has changed since, so that an incremental is as large as a full."""
        self.servers.change(self.server)

    def point(self, kind: str) -> tuple[str, int]:
        """The second segment."""
        return SEGMENT, 1

    def seen(self) -> frozenset[str]:
        """The backups that have a manifest."""
        return frozenset(name for name in self.lane.objects() if name.endswith("/manifest.json"))

    def fails(self, status: int, words: str = "", variant: str = "") -> str:
        """One message, with the runbook."""
        said = self.lane.messages()
        text = self.run(status, variant)
        self._told(said, words)
        return text

    def _told(self, said: str, words: str) -> None:
        told = self.lane.messages().removeprefix(said)
        assert told.count(f"FAILED {self.kind} backup of {self.lane.site.name} ({self.lane.host.name})") == 1, told
        assert "backup_failed.md" in told
        assert words in told, told

    def heals(self) -> None:
        """One more backup, of this kind; one message; no copy, no segment and no process is left on the host."""
        said, before = self.lane.messages(), self.seen()
        self.run(0)
        (made,) = self.seen() - before
        kind = "full" if "-full-" in made else "incremental"
        assert kind in self.may_make, f"{made} is no {self.kind}"
        told = self.lane.messages().removeprefix(said)
        assert told.startswith(f"OK {kind} backup"), told
        assert "FAILED" not in told
        left = self.lane.host.run("ls", "-A", f"{self.lane.folder}/staging", f"{self.lane.folder}/spool").out
        assert [line for line in left.splitlines() if line and not line.endswith(":")] == [], left
        self.lane.nothing_runs()

    # --- rows

    def killed_part(self, part: str, status: int, words: str) -> str:
        """Kill -9 one of the processes that the job has started, in the middle of the stream."""
        said, before = self.lane.messages(), self.seen()
        with self.lane.proxy.failing("hold", SEGMENT, skip=1) as fault:
            job = self.lane.start(self.program, variant="-steady")
            assert fault.holds.wait(60), "no second segment"
            fault.drop = "rclone" in part
            self.lane.kill_child(self.lane.pid(self.program), part)
        text = self.lane.ended(job, status)
        assert words in text, text
        if status == 0:
            return "0, at the 2nd try"
        self._told(said, words)
        self.counts_as(before)
        self.heals()
        return f"{status} told, healed"

    def last_answer_lost(self) -> str:
        """Kill -9 the job when the store has its manifest: that backup counts, though nobody was told of it."""
        # What the next incremental needs was not kept: it may be a full, and says so.
        self.may_make = {self.kind, "full"}
        try:
            return self.killed_at("hold answer", MANIFEST, counts=True)
        finally:
            self.may_make = {self.kind}

    def terminated(self) -> str:
        """A polite SIGTERM."""
        said, before = self.lane.messages(), self.seen()
        with self.lane.proxy.failing("hold", SEGMENT, skip=1) as fault:
            job = self.lane.start(self.program)
            assert fault.holds.wait(60), "no second segment"
            fault.drop = True
            self.lane.host.run("kill", "-TERM", str(self.lane.pid(self.program)))
        self.lane.ended(job, 143)
        self._told(said, "stopped by a signal")
        self.counts_as(before)
        self.heals()
        return "143 told, healed"

    def killed_while_mysql_clones(self) -> str:
        """Kill -9 the job while its CLONE statement runs in the server."""
        before = self.seen()
        clone = f"until ls -d {self.lane.folder}/staging/*/#clone >/dev/null 2>&1; do sleep 0.01; done"
        waiting = self.lane.host.start("timeout", "60", "bash", "-c", clone)
        job = self.lane.start(self.program)
        assert waiting.wait(60) == 0, "no CLONE began"
        self.lane.host.run("kill", "-KILL", str(self.lane.pid(self.program)))
        self.lane.ended(job, 137)
        self.counts_as(before)
        self.heals()
        return "killed, healed"

    def mysql_restarted(self) -> str:
        """mysqld dies and comes back in the middle of the upload."""
        said, before = self.lane.messages(), self.seen()
        with self.lane.proxy.failing("hold", SEGMENT, skip=1) as fault:
            job = self.lane.start(self.program)
            assert fault.holds.wait(60), "no second segment"
            self.server.stop()
            self.server.start()
        self.lane.ended(job, 4)
        self._told(said, "restarted")
        self.counts_as(before)
        self.servers.catch_up(self.server)
        self.heals()
        return "4 told, healed"

    def replica_stopped(self) -> str:
        """Replication is stopped: it is no healthy replica, so it is not its turn."""
        said, before = self.lane.messages(), self.seen()
        self.server.sql("STOP REPLICA")
        try:
            self.run(75)
        finally:
            self.server.sql("START REPLICA")
        assert self.lane.messages() == said, "people were told; of this the watcher tells"
        self.counts_as(before)
        self.servers.catch_up(self.server)
        self.heals()
        return "75 quiet, healed"


ROWS: dict[str, Row] = {
    **store_rows(),
    "disk full: spool": lambda job: job.disk_full("spool"),
    "disk full: state": lambda job: job.disk_full("state"),
    "killed: job, while it looks": lambda job: job.killed_at("hold", "GET "),
    "killed: job, during CLONE": lambda job: job.killed_while_mysql_clones(),
    "killed: job, at a segment": lambda job: job.killed_at("hold", SEGMENT, 1),
    "killed: job, at the last record": lambda job: job.killed_at("hold", MANIFEST),
    "killed: job, last answer lost": lambda job: job.last_answer_lost(),
    "killed: engine": lambda job: job.killed_part("mysql_clone_stream", 4, "clone stream: was killed by SIGKILL"),
    "killed: lz4": lambda job: job.killed_part("^lz4 ", 4, "lz4: was killed by SIGKILL"),
    "killed: one upload": lambda job: job.killed_part("rclone .*segment", 0, "attempt 1 of 2"),
    "killed: job, by SIGTERM": lambda job: job.terminated(),
    **server_rows("backup"),
}


class Full(Backup):
    """mysql-backup-full."""

    name, program, kind, rows = "full", "mysql-backup-full", "full", ROWS


class Incremental(Backup):
    """mysql-backup-incremental, of a server whose every row has changed."""

    name, program, kind, rows = "incremental", "mysql-backup-incremental", "incremental", ROWS
