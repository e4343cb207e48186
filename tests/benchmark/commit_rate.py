#!/usr/bin/env python3
"""What the guards cost: commits per second of the same pair with guards, and without guards, manager and keeper.

Single-row transactions over the primary's socket (mysqlslap), by one client and by many, acknowledged by the replica in
both cases: semi-sync is the same, what differs is who watches. Runs alternate, so that what else the machine does falls
on both. Prints each run, medians, their ratio, and the machine's load before and after. Environment: RUNS (pairs,
default 5), SECONDS_EACH (about, default 8), KEEP=1 leaves the lab up; a provisioned lab is used as it stands.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import console, guarded, hosts  # noqa: E402
from support.failover_pair import Pair  # noqa: E402
from support.provision import Provisioner  # noqa: E402

RUNS = int(os.environ.get("RUNS") or 5)
SECONDS_EACH = float(os.environ.get("SECONDS_EACH") or 8)
CLIENTS = (1, 16)
FIRST_QUERIES = 400  # to learn how many are about SECONDS_EACH
TABLE = (
    "CREATE DATABASE IF NOT EXISTS benchmark; DROP TABLE IF EXISTS benchmark.commits;"
    "CREATE TABLE benchmark.commits (id BIGINT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200) NOT NULL)"
)
QUERY = "INSERT INTO benchmark.commits (what) VALUES (REPEAT('x', 120))"
WATCHED, UNWATCHED = "with guards", "without"


@contextmanager
def unwatched(pair: Pair) -> Iterator[None]:
    """Stop guards, manager and keeper for the time of the block."""
    app = pair.lab.app1
    with ExitStack() as stack:
        # the manager first: it would tell people that guards and keeper are silent
        for unit in ("mysql-keeper", pair.manager_unit):
            stack.enter_context(guarded.stopped(app, unit))
        stack.enter_context(guarded.by_hand(pair.lab))
        yield


def seconds_for(primary: hosts.Host, clients: int, queries: int) -> float:
    """Return how long that many commits take, in seconds, as mysqlslap says. Raises CommandError."""
    said = primary.run(
        "mysqlslap", "--no-defaults", "--user=root", "--create-schema=benchmark", f"--query={QUERY}",
        f"--concurrency={clients}", f"--number-of-queries={queries}", "--iterations=1", timeout_seconds=600,
    ).out  # fmt: skip
    found = re.search(r"Average number of seconds to run all queries: ([\d.]+)", said)
    if found is None:
        raise hosts.CommandError(f"mysqlslap said no time:\n{said}")
    return float(found[1])


def load_average() -> str:
    """Return the machine's load of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def measure(steps: console.Steps, pair: Pair, clients: int) -> dict[str, list[float]]:
    """Return commits per second of each run, both ways. The first pair of runs warms up and does not count."""
    primary = pair.roles().primary
    queries = max(FIRST_QUERIES, int(FIRST_QUERIES * SECONDS_EACH / seconds_for(primary, clients, FIRST_QUERIES)))
    rates: dict[str, list[float]] = {WATCHED: [], UNWATCHED: []}
    for number in range(RUNS + 1):
        label = f"{clients} clients, pair {number} of {RUNS}" if number else f"{clients} clients, to warm up"
        with steps.step(label) as step:
            pair.settle()
            watched = queries / seconds_for(primary, clients, queries)
            with unwatched(pair):
                alone = queries / seconds_for(primary, clients, queries)
            step.note = f"{WATCHED} {watched:.0f}/s, {UNWATCHED} {alone:.0f}/s, load {load_average()}"
        if number:
            rates[WATCHED].append(watched)
            rates[UNWATCHED].append(alone)
    return rates


def report(rates: dict[int, dict[str, list[float]]]) -> str:
    """Return the table and the ratios."""
    rows = [
        (clients, name, f"{statistics.median(runs):.0f}", f"{min(runs):.0f}", f"{max(runs):.0f}")
        for clients, both in rates.items()
        for name, runs in both.items()
    ]
    ratios = [
        f"{clients} clients: {statistics.median(both[WATCHED]) / statistics.median(both[UNWATCHED]):.3f}"
        for clients, both in rates.items()
    ]
    table = console.table(("clients", f"commits per second, {RUNS} runs each", "median", "min", "max"), rows)
    return f"{table}\n\nratio of the medians, with guards to without: {', '.join(ratios)} (1 is: they cost nothing)"


def main() -> int:
    """Measure and print; the exit status tells only whether everything ran."""
    hosts.ensure_inside_lab()
    steps, lab, provisioner = console.Steps(), hosts.lab(), Provisioner("commits")
    ready = lab.db2.run("test", "-e", "/etc/holdfast/config.yml", check=False).status == 0
    print(f"load of the last minute at the beginning: {load_average()} on {os.cpu_count()} cores")
    try:
        if not ready:
            provisioner.provision(steps, fresh=True)
        pair = Pair(lab)
        pair.settle()
        pair.roles().primary.sql(TABLE)
        rates = {clients: measure(steps, pair, clients) for clients in CLIENTS}
        pair.settle()
        pair.roles().primary.sql("DROP DATABASE benchmark")
    except (hosts.CommandError, subprocess.TimeoutExpired) as error:
        print(f"\n{error}", file=sys.stderr)
        provisioner.collect()
        return 1
    finally:
        if not ready and os.environ.get("KEEP") != "1":
            provisioner.remove()
    print(f"\n{report(rates)}\nload of the last minute at the end: {load_average()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
