"""The columns of the fault matrix that read or delete what is stored: restore and cleanup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support import backups
from support.hosts import wait_until
from support.lane import Lane
from support.matrix import Job, store_rows


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

    def disk_full(self, folder: str) -> str:
        """It is not begun where it cannot end."""
        before = self.seen()
        with self.lane.full_disk(folder):
            self.fails(4, "this restore needs about")
        self.counts_as(before)
        self.heals()
        return "4, healed"

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

    def disk_full(self, folder: str) -> str:
        """It deletes what is due all the same; only the memory of it is lost."""
        with self.lane.full_disk(folder):
            self.heals()
        return "0"

    def heals(self) -> None:
        """Exactly what the policy keeps is left."""
        self.run(0)
        assert self.lane.objects() == self.kept, sorted(self.lane.objects() ^ self.kept)
        self.lane.nothing_runs()
