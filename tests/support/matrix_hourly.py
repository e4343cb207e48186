"""The columns of the fault matrix that run each hour: binlogs and watch."""

from __future__ import annotations

import re

from support.matrix import ServerJob, server_rows, store_rows

ENTRY, BINLOG = r"PUT .*/binlog\.\d+\.json", r"PUT .*/binlog\.\d+\.lz4"


class Binlogs(ServerJob):
    """mysql-backup-binlogs: the first failure is made up for within the hour, the second in a row is told."""

    name, program = "binlogs", "mysql-backup-binlogs"
    rows = {
        **store_rows(),
        "disk full: spool": lambda job: job.disk_full("spool"),
        "disk full: state": lambda job: job.disk_full("state"),
        "killed: job, while it looks": lambda job: job.killed_at("hold", "GET "),
        "killed: job, at a segment": lambda job: job.killed_at("hold", BINLOG),
        "killed: job, at the last record": lambda job: job.killed_at("hold", ENTRY),
        "killed: job, last answer lost": lambda job: job.killed_at("hold answer", ENTRY, counts=True),
        **server_rows("binlogs"),
    }

    def prepare(self) -> None:
        """Archive what there is."""
        self.run(0)

    def point(self, kind: str) -> tuple[str, int]:
        """The record of a file that is up already."""
        return ENTRY, 0

    def seen(self) -> frozenset[str]:
        """The archived files: those with a record."""
        return frozenset(name for name in self.lane.objects() if name.startswith("binlogs/") and name.endswith(".json"))

    def fails(self, status: int, words: str = "", variant: str = "") -> str:
        """Twice: once quiet, then told."""
        said = self.lane.messages()
        self.run(status, variant)
        assert self.lane.messages() == said, "the first failure was told"
        text = self.run(status, variant)
        told = self.lane.messages().removeprefix(said)
        assert told.count(f"FAILED binlog archive of {self.lane.site.name} ({self.lane.host.name})") == 1, told
        assert "binlog_archive_failed.md" in told
        assert words in told, told
        return text

    def heals(self) -> None:
        """Every closed file is archived with its record, and nobody is told anything."""
        said = self.lane.messages()
        self.run(0)
        assert self.lane.messages() == said
        objects, archived = self.lane.objects(), self.seen()
        closed = [row[0] for row in self.server.sql("SHOW BINARY LOGS")][:-1]
        assert {name.rpartition("/")[2] for name in archived} >= {f"{file}.json" for file in closed}
        assert all(name.removesuffix(".json") + ".lz4" in objects for name in archived)
        assert self.lane.host.run("ls", "-A", f"{self.lane.folder}/spool").out == ""
        self.lane.nothing_runs()

    def disk_full(self, folder: str) -> str:
        """Where failures cannot be counted each is told."""
        if folder == "spool":
            return super().disk_full(folder)
        said, before = self.lane.messages(), self.seen()
        with self.lane.full_disk(folder):
            self.run(4)
        assert "disk is full" in self.lane.messages().removeprefix(said)
        self.counts_as(before)
        self.heals()
        return "4 told at once, healed"

    def mysql_restarted(self) -> str:
        """mysqld dies and comes back while a file is uploaded: closed files do not change, so the run is whole."""
        with self.lane.proxy.failing("hold", ENTRY) as fault:
            job = self.lane.start(self.program)
            assert fault.holds.wait(60), "no upload"
            self.server.stop()
            self.server.start()
        self.lane.ended(job, 0)
        self.servers.catch_up(self.server)
        self.heals()
        return "0, healed"

    def replica_stopped(self) -> str:
        """Replication is stopped: binlogs are archived all the same."""
        self.server.sql("STOP REPLICA")
        try:
            self.heals()
        finally:
            self.server.sql("START REPLICA")
            self.servers.catch_up(self.server)
        return "0"


class Watch(ServerJob):
    """mysql-backup-watch: what goes wrong is its alarm; the next run says that it is over."""

    name, program = "watch", "mysql-backup-watch"
    rows = {
        **store_rows(),
        "disk full: state": lambda job: job.disk_full("state"),
        "killed: job, while it looks": lambda job: job.killed_at("hold", "GET "),
        "killed: job, at the last record": lambda job: job.killed_at("hold", "PUT .*/state/watch/"),
        **server_rows("watch"),
    }

    def prepare(self) -> None:
        """A first run, which tells what is wrong with this host besides, once."""
        self.run(0)

    def point(self, kind: str) -> tuple[str, int]:
        """Its first look at the store; of an upload, its sign of life."""
        return "GET ", 0

    def seen(self) -> frozenset[str]:
        """It makes nothing that could count."""
        return frozenset()

    def fails(self, status: int, words: str = "", variant: str = "") -> str:
        """One alarm: that it cannot read the store; or, by what is said, that it cannot look."""
        return self.alarms({3: "watch_failed:store"}.get(status, "store_unreachable"), status, words, variant)

    def alarms(self, alarm: str, status: int, words: str = "", variant: str = "") -> str:
        """Run it: it raises that alarm."""
        said = self.lane.messages()
        text = self.run(status, variant)
        told = self.lane.messages().removeprefix(said)
        assert told.count(f"ALARM {alarm}") == 1, told
        assert words in told, told
        self.stands = alarm
        return text

    stands = ""

    def heals(self) -> None:
        """It looks at everything, and says that what stood is over."""
        said = self.lane.messages()
        self.run(0)
        told = self.lane.messages().removeprefix(said)
        # other rows of the lane restart mysqld, and the watcher tells of it
        assert set(re.findall(r"ALARM (\w+)", told)) <= {"mysqld_restarted"}, told
        assert told.count("OVER") == told.count(f"OVER {self.stands}"), told
        assert not self.stands or f"OVER {self.stands}" in told, told
        self.stands = ""
        self.lane.nothing_runs()

    def disk_full(self, folder: str) -> str:
        """It cannot remember: what it must tell it tells, and again at each run."""
        with self.lane.full_disk(folder):
            self.run(4)
        self.heals()
        return "4, healed"

    def mysql_restarted(self) -> str:
        """mysqld was started anew since the last look."""
        self.server.stop()
        self.server.start()
        self.servers.catch_up(self.server)
        self.alarms("mysqld_restarted", 0)
        self.stands = ""  # an event: told once, neither repeated nor closed
        self.heals()
        return "0 told"

    def mysql_gone(self) -> str:
        """mysqld does not run."""
        self.server.stop()
        try:
            self.alarms("mysql_unreachable", 0)
        finally:
            self.server.start()
            self.servers.catch_up(self.server)
        said = self.lane.messages()
        self.run(0)
        assert "OVER mysql_unreachable" in self.lane.messages().removeprefix(said)
        return "0 told, over"

    def replica_stopped(self) -> str:
        """A replication thread does not run."""
        self.server.sql("STOP REPLICA SQL_THREAD")
        try:
            self.alarms("replication_stopped", 0)
        finally:
            self.server.sql("START REPLICA")
            self.servers.catch_up(self.server)
        self.heals()
        return "0 told, over"
