"""The columns of the fault matrix that take no backup: binlogs, watch, restore and cleanup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support import backups
from support.hosts import wait_until
from support.lane import Lane
from support.matrix import Job, store_rows
from support.small_servers import SmallServer, SmallServers

ENTRY, BINLOG = r"PUT .*/binlog\.\d+\.json", r"PUT .*/binlog\.\d+\.lz4"


class Binlogs(Job):
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
        "lock held": lambda job: job.lock_held("binlogs"),
        "MySQL restarted": lambda job: job.mysql_restarted(),
        "MySQL does not run": lambda job: job.mysql_gone(),
        "replica stopped": lambda job: job.replica_stopped(),
        "config: an unknown key": lambda job: job.unknown_key(),
        "config: no rclone.conf": lambda job: job.no_rclone_conf(),
    }

    def __init__(self, lane: Lane, servers: SmallServers, server: SmallServer) -> None:
        super().__init__(lane)
        self.servers, self.server = servers, server

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

    def mysql_gone(self) -> str:
        """mysqld does not run."""
        before = self.seen()
        self.server.stop()
        try:
            self.fails(4, self.server.socket)
        finally:
            self.server.start()
        self.servers.catch_up(self.server)
        self.counts_as(before)
        self.heals()
        return "4 told, healed"

    def replica_stopped(self) -> str:
        """Replication is stopped: binlogs are archived all the same."""
        self.server.sql("STOP REPLICA")
        try:
            self.heals()
        finally:
            self.server.sql("START REPLICA")
            self.servers.catch_up(self.server)
        return "0"


class Watch(Job):
    """mysql-backup-watch: what goes wrong is its alarm; the next run says that it is over."""

    name, program = "watch", "mysql-backup-watch"
    rows = {
        **store_rows(),
        "disk full: state": lambda job: job.disk_full("state"),
        "killed: job, while it looks": lambda job: job.killed_at("hold", "GET "),
        "killed: job, at the last record": lambda job: job.killed_at("hold", "PUT .*/state/watch/"),
        "lock held": lambda job: job.lock_held("watch"),
        "MySQL restarted": lambda job: job.mysql_restarted(),
        "MySQL does not run": lambda job: job.mysql_gone(),
        "replica stopped": lambda job: job.replica_stopped(),
        "config: an unknown key": lambda job: job.unknown_key(),
        "config: no rclone.conf": lambda job: job.no_rclone_conf(),
    }

    def __init__(self, lane: Lane, servers: SmallServers, server: SmallServer) -> None:
        super().__init__(lane)
        self.servers, self.server = servers, server

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
        assert "ALARM" not in told, told
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


class Restore(Job):
    """mysql-restore run: a person waits for it, so it tells nobody else."""

    name, program = "restore", "mysql-restore"
    rows = {
        **store_rows(),
        "disk full: restore": lambda job: job.disk_full("restore"),
        "killed: job, while it looks": lambda job: job.killed_at("hold", "GET "),
        "killed: job, at a segment": lambda job: job.killed_at("hold", "GET .*/segment-", 1),
        "lock held": lambda job: job.lock_held("restore"),
        "config: an unknown key": lambda job: job.unknown_key(),
        "config: no rclone.conf": lambda job: job.no_rclone_conf(),
    }

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.directory = f"{lane.folder}/restore/made"
        self.arguments = ("run", "--last", "--stop", "--directory", self.directory)

    def prepare(self) -> None:
        """A backup to restore."""
        self.lane.run("mysql-backup-full")

    def run(self, expect: int, variant: str = "") -> str:
        """Run it."""
        return self.lane.run(self.program, *self.arguments, variant=variant, expect=expect).text

    def point(self, kind: str) -> tuple[str, int]:
        """The second segment."""
        return "GET .*/segment-", 1

    def seen(self) -> frozenset[str]:
        """What a run finished, and what runs on it."""
        marker = f"{self.directory}/.holdfast-restore.json"
        finished = self.lane.host.run("grep", "-l", '"finished": true', marker, check=False).out
        return frozenset(finished.split())

    def fails(self, status: int, words: str = "", variant: str = "") -> str:
        """It says so, and no server runs on half a restore."""
        said = self.lane.messages()
        text = self.run(status, variant)
        assert words in text, text
        assert self.lane.messages() == said
        self.lane.nothing_runs()
        return text

    def heals(self) -> None:
        """The same command again does it; what it made is removed, so that the next row begins anew."""
        self.run(0)
        assert self.seen()
        self.lane.host.run("rm", "-rf", self.directory)
        self.lane.nothing_runs()


class Cleanup(Job):
    """mysql-backup-cleanup, on the host that may delete."""

    name, program = "cleanup", "mysql-backup-cleanup"
    rows = {
        **store_rows(),
        "disk full: state": lambda job: job.disk_full("state"),
        "killed: job, while it looks": lambda job: job.killed_at("hold", "GET "),
        "killed: job, at a segment": lambda job: job.killed_at("hold", "DELETE .*/segment-"),
        "killed: job, at the last record": lambda job: job.killed_at("hold", "DELETE .*/manifest"),
        "lock held": lambda job: job.lock_held("cleanup"),
        "config: an unknown key": lambda job: job.unknown_key(),
        "config: no rclone.conf": lambda job: job.no_rclone_conf(),
    }
    WEEKS = 17  # a full each; of these four are older than ninety days

    def prepare(self) -> None:
        """A history on the host, to be copied to the store: a full of each week, and one of today."""
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        self.kept: set[str] = set()
        self.doomed: set[str] = set()
        script = []
        for week in range(self.WEEKS + 1):
            at = now - timedelta(days=7 * week)
            identifier = f"{at:%Y%m%dT%H%M%SZ}-full-db2"
            base = backups.full(
                identifier, cluster=self.lane.site.name, started_at=at, finished_at=at, fingerprint=None
            )
            manifest = base.to_json().decode()
            folder = f"{self.lane.folder}/history/backups/{identifier}"
            script.append(
                f"install -d {folder}; head -c 300 /dev/zero > {folder}/segment-000001.lz4\n"
                f"cat > {folder}/manifest.json <<'MANIFEST'\n{manifest.rstrip()}\nMANIFEST\n"
                f"touch -d @{at.timestamp():.0f} {folder}/*"
            )
            names = {f"backups/{identifier}/{name}" for name in ("segment-000001.lz4", "manifest.json")}
            (self.doomed if (now - at).days > 90 else self.kept).update(names)
        self.lane.host.shell("\n".join(script))

    def before(self, row: str) -> None:
        """The whole history is in the store again."""
        self.lane.site.rclone(self.lane.host, "copy", f"{self.lane.folder}/history", self.lane.site.remote)
        wait_until(lambda: self.lane.objects() >= self.kept | self.doomed, "the history is in the store")

    def point(self, kind: str) -> tuple[str, int]:
        """The second object that it deletes; a store that gives half does so when it is listed."""
        return ("GET ", 0) if kind == "half" else ("DELETE ", 1)

    def seen(self) -> frozenset[str]:
        """What must stay. Of what goes, nothing is there with a manifest and without its segment."""
        objects = self.lane.objects()
        for name in objects & self.doomed:
            if name.endswith("/manifest.json"):
                assert name.replace("manifest.json", "segment-000001.lz4") in objects, f"{name} lacks its segment"
        return frozenset(objects & self.kept)

    def fails(self, status: int, words: str = "", variant: str = "") -> str:
        """One message, with the runbook."""
        said = self.lane.messages()
        text = self.run(status, variant)
        told = self.lane.messages().removeprefix(said)
        assert told.count(f"FAILED offsite cleanup of {self.lane.site.name} ({self.lane.host.name})") == 1, told
        assert "cleanup_refused.md" in told
        assert words in told, told
        return text

    def heals(self) -> None:
        """Exactly what the policy keeps is left."""
        self.run(0)
        assert self.lane.objects() == self.kept, sorted(self.lane.objects() ^ self.kept)
        self.lane.nothing_runs()
