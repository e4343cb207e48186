"""The fault matrix: each job against each fault ends with the right exit status and the right alarm.

Nothing incomplete counts, and the next run heals. Real jobs on the lab's hosts, real MySQL servers of the lanes' own
(tests/support/small_servers.py), the lab's real S3 server behind a proxy that fails (tests/support/fault_proxy.py).
All cells run before the first test, several lanes at once; each test tells of one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from support import matrix
from support.failover_faults import power_off, power_on
from support.hosts import Lab
from support.lane import Lane
from support.matrix import Job, Outcome
from support.matrix_backup import MANIFEST, SEGMENT, Full, Incremental
from support.matrix_hourly import ENTRY, Binlogs, Watch
from support.matrix_store import Cleanup, Restore
from support.small_servers import SmallServers

pytestmark = pytest.mark.open(reason="not run whole in the lab yet; cleanup and watch against the store were")
COLUMNS = (Full, Incremental, Binlogs, Watch, Restore, Cleanup)
REBOOT = "host rebooted"
# where each job is when the power goes
HELD = {
    "full": SEGMENT,
    "incremental": MANIFEST,
    "binlogs": ENTRY,
    "watch": "PUT .*/state/watch/",
    "restore": "GET .*/segment-",
    "cleanup": "DELETE .*/segment-",
}
CELLS = [*matrix.cells(COLUMNS), *((job.name, REBOOT) for job in COLUMNS)]


@pytest.fixture(scope="module")
def servers(lab: Lab) -> Iterator[SmallServers]:
    """A source and three replicas of it on db2."""
    made = SmallServers(lab.db2, "/var/lib/holdfast/m-mysql", replicas=3)
    made.make()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def jobs(lab: Lab, servers: SmallServers) -> Iterator[dict[str, Job]]:
    """Every column, ready to be broken."""
    first, second, third = servers.replicas
    made: list[Job] = [
        Full(Lane(lab, lab.db2, "full", first), servers, first),
        Incremental(Lane(lab, lab.db2, "incremental", second), servers, second),
        Binlogs(Lane(lab, lab.db2, "binlogs", third), servers, third),
        Watch(Lane(lab, lab.db2, "watch", third), servers, third),
        Restore(Lane(lab, lab.db2, "restore", third)),
        Cleanup(Lane(lab, lab.app1, "cleanup")),
    ]
    with ExitStack() as stack:
        for job in made:
            job.lane.install()
            stack.callback(job.lane.remove)
            job.prepare()
        yield {job.name: job for job in made}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, lab: Lab, servers: SmallServers, jobs: dict[str, Job]
) -> Mapping[tuple[str, str], Outcome]:
    """Every cell that was asked for, run."""
    asked = {
        (item.callspec.params["job"], item.callspec.params["row"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and hasattr(item, "callspec")
    }
    began = time.monotonic()
    lanes = [("full",), ("incremental",), ("binlogs", "watch"), ("restore", "cleanup")]
    done = matrix.run_lanes([[jobs[name] for name in lane] for lane in lanes], lambda *cell: cell in asked)
    rebooted = [job for job in jobs.values() if (job.name, REBOOT) in asked]
    if rebooted:
        done |= reboot(lab, servers, rebooted)
    rows = [row for row in dict.fromkeys(row for _, row in CELLS) if any(row == each for _, each in asked)]
    shown = matrix.text_of(done, rows, [job.name for job in COLUMNS])
    request.config.stash[matrix.TABLE] = f"{shown}\n{len(done)} cells in {time.monotonic() - began:.0f} s"
    return done


def reboot(lab: Lab, servers: SmallServers, jobs: list[Job]) -> dict[tuple[str, str], Outcome]:
    """Take the power from both hosts while all jobs are half way; boot them, and let each job run again."""
    before: dict[str, frozenset[str]] = {}
    with ExitStack() as stack:
        for job in jobs:
            job.before(REBOOT)
            before[job.name] = job.seen()
            fault = stack.enter_context(job.lane.proxy.failing("hold", HELD[job.name]))
            job.lane.start(job.program, *job.arguments)
            assert fault.holds.wait(60), f"{job.name} did not come to {HELD[job.name]}"
            fault.drop = True
        power_off(lab.db2, lab.app1)
        for job in jobs:
            for started in job.lane.busy:
                started.communicate(timeout=30)
            job.lane.busy.clear()
    power_on(lab.db2, lab.app1)
    lab.wait_for_replica(120)
    servers.start()

    def look_after(job: Job) -> str:
        job.counts_as(before[job.name])
        job.heals()
        return "healed"

    found = (matrix.run_cell(job, REBOOT, look_after) for job in jobs)
    return {(outcome.job, outcome.row): outcome for outcome in found}


@pytest.mark.parametrize(("job", "row"), CELLS, ids=lambda word: word.replace(" ", "-"))
def test_cell(outcomes: Mapping[tuple[str, str], Outcome], job: str, row: str) -> None:
    outcome = outcomes[job, row]
    assert not outcome.problem, outcome.problem
