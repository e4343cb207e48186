"""The fault matrix: every job against every fault, several lanes at once, and one table of what came out."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import pytest

from support.console import table
from support.lane import Lane
from support.small_servers import SmallServer, SmallServers

# What the store does; "hold" and its like are how processes are met at a stage.
PASSING = ("429", "500", "503", "reset", "half")
STORE_FAULTS: Mapping[str, str] = {
    "store: 401": "401",
    "store: 403, cap reached": "403",
    "store: 429": "429",
    "store: 500": "500",
    "store: 503": "503",
    "store: resets": "reset",
    "store: is slow": "slow",
    "store: hangs": "hang",
    "store: takes or gives half": "half",
    "store: is gone": "gone",
}
log = logging.getLogger(__name__)
Row = Callable[..., str]
TABLE = pytest.StashKey[str]()  # where the test leaves the table for the summary


@dataclass(frozen=True)
class Outcome:
    """A cell: what came out, in the table's words, or why it is not as it must be."""

    job: str
    row: str
    said: str
    seconds: float
    problem: str = ""


class Job:
    """A column of the matrix. Each row's method breaks one thing, and returns what the table shows."""

    name: ClassVar[str]
    program: ClassVar[str]
    rows: ClassVar[Mapping[str, Row]]

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def prepare(self) -> None:
        """What must be there before the first row; runs alone."""

    def before(self, row: str) -> None:
        """What must be there before each row."""

    # --- what each job says of itself

    def point(self, kind: str) -> tuple[str, int]:
        """From which request on the store fails, so that the run is half way: a pattern, and how many pass before."""
        raise NotImplementedError

    def run(self, expect: int, variant: str = "") -> str:
        """Run it; what it said."""
        return self.lane.run(self.program, variant=variant, expect=expect).text

    def fails(self, status: int, words: str = "", variant: str = "") -> str:
        """Run it: it exits so, people are told as they must be, and the message has the words."""
        raise NotImplementedError

    def seen(self) -> frozenset[str]:
        """What counts in the store."""
        raise NotImplementedError

    def heals(self) -> None:
        """The next run is whole, and leaves nothing behind. AssertionError if not."""
        raise NotImplementedError

    # --- rows that all jobs share

    def store_fault(self, kind: str) -> str:
        """The store fails from half way on."""
        lane, before = self.lane, self.seen()
        at, skip = self.point(kind)
        if kind == "slow":
            with lane.proxy.failing(kind):
                self.heals()
            return "0"
        words = "cap exceeded" if kind == "403" and at.startswith(("PUT", "GET")) else ""
        with lane.proxy.failing(kind, at, skip=skip):
            self.fails(5, words, variant="-impatient" if kind == "hang" else "")
        self.counts_as(before)
        if kind not in PASSING:
            self.heals()
            return "5 told, healed"
        # The store is not well yet: the next run meets the same fault once, and is whole all the same.
        with lane.proxy.failing(kind, at, times=1):
            self.heals()
        return "5 told, healed at the 2nd try"

    def counts_as(self, before: frozenset[str]) -> None:
        """Nothing incomplete counts."""
        assert self.seen() == before, f"something incomplete counts: {self.seen()} after {before}"

    def killed_at(self, kind: str, at: str, skip: int = 0, *, counts: bool = False) -> str:
        """Kill -9 the job while a request is under way; with `counts` what it made is whole by then."""
        before = self.seen()
        with self.lane.proxy.failing(kind, at, skip=skip) as fault:
            job = self.lane.start(self.program, *self.arguments)
            assert fault.holds.wait(60), f"the job did not come to {at!r}"
            fault.drop = True
            self.lane.host.run("kill", "-KILL", str(self.lane.pid(self.program)))
            self.lane.ended(job, 137)
        if counts:
            assert self.seen() != before, "what was whole does not count"
        else:
            self.counts_as(before)
        self.heals()
        return "killed, healed"

    arguments: tuple[str, ...] = ()

    def lock_held(self, lock: str) -> str:
        """Another run is at work."""
        said, before = self.lane.messages(), self.seen()
        with self.lane.locked(lock):
            text = self.run(6)
        assert "held by" in text
        assert self.lane.messages() == said, "people were told"
        self.counts_as(before)
        self.heals()
        return "6 quiet, healed"

    def disk_full(self, folder: str) -> str:
        """The disk of one of its folders is full."""
        before = self.seen()
        with self.lane.full_disk(folder):
            self.fails(4, "disk is full")
        self.counts_as(before)
        self.heals()
        return "4 told, healed"

    def unknown_key(self) -> str:
        """The configuration has a key that no program knows: nobody can be told but by the watcher, a day later."""
        said, before = self.lane.messages(), self.seen()
        self.lane.site.configure(self.lane.host, {"store": {"attemps": 3}}, "-broken")
        assert "store.attemps: unknown key" in self.run(3, "-broken")
        assert self.lane.messages() == said
        self.counts_as(before)
        self.heals()
        return "3 quiet, healed"

    def no_rclone_conf(self) -> str:
        """The file with the store's key is gone."""
        before, path = self.seen(), f"{self.lane.folder}/rclone.conf"
        self.lane.host.run("mv", path, f"{path}.away")
        try:
            self.fails(3, "rclone.conf")
        finally:
            self.lane.host.run("mv", f"{path}.away", path)
        self.counts_as(before)
        self.heals()
        return "3 told, healed"


class ServerJob(Job):
    """A column whose job asks a server: a replica of its own."""

    def __init__(self, lane: Lane, servers: SmallServers, server: SmallServer) -> None:
        super().__init__(lane)
        self.servers, self.server = servers, server

    # --- rows that these jobs share

    def mysql_restarted(self) -> str:
        """mysqld dies and comes back in the middle of the job."""
        raise NotImplementedError

    def mysql_gone(self) -> str:
        """mysqld does not run."""
        before = self.seen()
        self.server.stop()
        try:
            self.fails(4, self.server.socket)
        finally:
            self.server.start()
        self.counts_as(before)
        self.servers.catch_up(self.server)
        self.heals()
        return "4 told, healed"

    def replica_stopped(self) -> str:
        """Replication is stopped."""
        raise NotImplementedError


def store_rows() -> dict[str, Row]:
    """The rows of what the store does."""
    return {name: lambda job, kind=kind: job.store_fault(kind) for name, kind in STORE_FAULTS.items()}


def server_rows(lock: str) -> dict[str, Row]:
    """The last rows of a job that asks a server: its lock, MySQL, its configuration."""
    return {
        "lock held": lambda job: job.lock_held(lock),
        "MySQL restarted": lambda job: job.mysql_restarted(),
        "MySQL does not run": lambda job: job.mysql_gone(),
        "replica stopped": lambda job: job.replica_stopped(),
        "config: an unknown key": lambda job: job.unknown_key(),
        "config: no rclone.conf": lambda job: job.no_rclone_conf(),
    }


def cells(jobs: Iterable[type[Job]]) -> list[tuple[str, str]]:
    """Every cell's job and row."""
    return [(job.name, row) for job in jobs for row in job.rows]


def run_lanes(lanes: Sequence[Sequence[Job]], chosen: Callable[[str, str], bool]) -> dict[tuple[str, str], Outcome]:
    """Run the chosen cells: lanes side by side, a lane's jobs one after the other."""

    def run_lane(jobs: Sequence[Job]) -> list[Outcome]:
        return [run_cell(job, row) for job in jobs for row in job.rows if chosen(job.name, row)]

    with ThreadPoolExecutor(len(lanes)) as pool:
        done = [outcome for outcomes in pool.map(run_lane, lanes) for outcome in outcomes]
    return {(outcome.job, outcome.row): outcome for outcome in done}


def run_cell(job: Job, row: str, action: Row | None = None) -> Outcome:
    """Run one cell. What went wrong is kept: the other cells are run all the same."""
    began = time.monotonic()
    try:
        if action is None:
            job.before(row)
        said, problem = (action or job.rows[row])(job), ""
    except Exception:
        said, problem = "WRONG", traceback.format_exc(limit=-4)
        job.lane.end()
    found = Outcome(job.name, row, said, time.monotonic() - began, problem)
    log.info("%s, %s: %s (%.0f s) %s", found.job, found.row, found.said, found.seconds, found.problem)
    return found


def text_of(outcomes: Mapping[tuple[str, str], Outcome], rows: Sequence[str], columns: Sequence[str]) -> str:
    """The table (pure)."""
    lines = [
        [
            row,
            *(
                f"{found.said} ({found.seconds:.0f} s)" if (found := outcomes.get((job, row))) else "-"
                for job in columns
            ),
        ]
        for row in rows
    ]
    return table(["fault", *columns], lines)
