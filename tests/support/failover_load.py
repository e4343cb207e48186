"""Clients of the pair under failover: one on each database host that is told by its own server, and an application.

What any of them was told OK for must be on both servers in the end, and no two servers may have said OK at one time.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

from support.failover_pair import Pair
from support.guarded import Answer
from support.hosts import Host, Lab, wait_until
from support.workload import FOLDER, Workload

UNIT = "holdfast-witness"
PROGRAM = "/var/lib/holdfast/witness.py"
ANSWERS = "/var/lib/holdfast/witness.answers"
SAMPLE_SECONDS = 0.1
PREPARE = (
    "CREATE DATABASE IF NOT EXISTS probe; CREATE TABLE IF NOT EXISTS probe.rows_ (id BIGINT PRIMARY KEY);"
    "CREATE USER IF NOT EXISTS probe@localhost IDENTIFIED BY 'probe';"
    "GRANT INSERT, SELECT ON probe.* TO probe@localhost"
)
ASK = """
import sys, pymysql
connection = pymysql.connect(host=sys.argv[1], port=int(sys.argv[2]), user=sys.argv[3], database=sys.argv[4],
    password=open(sys.argv[5]).read().strip(), ssl={"ca": sys.argv[6]}, connect_timeout=8, read_timeout=8)
with connection.cursor() as cursor:
    cursor.execute(sys.argv[7])
    print(cursor.fetchone()[0])
"""


@dataclass(frozen=True)
class Told:
    """An OK that a client of a server got, and when (time.time())."""

    host: str
    row: int
    sent: float
    at: float


def overlaps(told: list[Told], sample_seconds: float = SAMPLE_SECONDS) -> list[str]:
    """Return the samples in which more than one server said OK, in words (pure)."""
    samples: dict[int, set[str]] = {}
    for each in told:
        samples.setdefault(int(each.at / sample_seconds), set()).add(each.host)
    return [
        f"{', '.join(sorted(hosts))} within the {sample_seconds:g} s from {number * sample_seconds:.1f} on"
        for number, hosts in sorted(samples.items())
        if len(hosts) > 1
    ]


def turns(told: list[Told]) -> int:
    """Return how often another server than before said OK (pure)."""
    speakers = [each.host for each in sorted(told, key=lambda each: each.at)]
    return sum(one != other for one, other in itertools.pairwise(speakers))


def longest_pause(moments: list[float], since: float = 0.0) -> float:
    """Return the longest time between two neighbours of some moments, from one on, in seconds (pure)."""
    ordered = sorted(moment for moment in moments if moment >= since)
    return max((later - earlier for earlier, later in itertools.pairwise(ordered)), default=0.0)


class Witness:
    """A client on a database host, over its socket: one row after the other, whatever the server is at the time."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._began = 0.0

    def start(self) -> None:
        """Begin to write, with no answers from before; also after the host was rebooted, then they stay."""
        if self._began == 0.0:
            self._began = time.time()
            self.host.write(PROGRAM, (Path(__file__).parent / "guarded_probe.py").read_text(), "0755")
            self.host.run("rm", "-f", ANSWERS)
        if self.host.run("systemctl", "is-active", UNIT, check=False).status != 0:
            self.host.run("systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "/usr/bin/python3", PROGRAM, ANSWERS)

    def stop(self) -> None:
        """Stop writing; a commit in hand is not waited for."""
        self.host.run("systemctl", "kill", "--signal=KILL", UNIT, check=False)
        self.host.run("systemctl", "stop", UNIT, check=False)

    def answers(self) -> list[Answer]:
        """Return every answer so far."""
        text = self.host.run("sh", "-c", f"cat {ANSWERS} 2>/dev/null || true").out
        return [Answer(**json.loads(line)) for line in text.splitlines() if line.endswith("}")]

    def told(self) -> list[Told]:
        """Return every OK so far."""
        return [Told(self.host.name, a.row, a.sent, a.answered) for a in self.answers() if not a.error]


class Load:
    """Both witnesses and the application's writer, which goes through the proxy of app1."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.lab: Lab = pair.lab
        self.shop = Workload(self.lab, "failover", rate=15, through_proxy=True)
        self.known: set[int] = set()
        self.witnesses: dict[str, Witness] = {}
        self.term_before = 0

    def prepare(self) -> None:
        """Make tables and accounts, once; on the primary. What an earlier run left running is stopped."""
        self.witnesses = {host.name: Witness(host) for host in self.lab.servers}
        self.stop()
        self.pair.roles().primary.sql(PREPARE)
        self.shop.prepare()

    def start(self) -> None:
        """Begin to write, and wait until rows are acknowledged both ways."""
        self.term_before = self.pair.term()
        self.witnesses = {host.name: Witness(host) for host in self.lab.servers}
        for witness in self.witnesses.values():
            witness.start()
        self.shop.start()
        wait_until(lambda: bool(self.told()), "a witness is told OK")

    def resume(self) -> None:
        """Start again what a reboot of hosts ended."""
        for witness in self.witnesses.values():
            witness.start()

    def stop(self) -> None:
        """Stop all of it."""
        for witness in self.witnesses.values():
            witness.stop()
        self.shop.stop()

    def told(self, host: Host | None = None, since: float = 0.0) -> list[Told]:
        """Return the OKs of one witness, or of both, for rows that were sent after a moment."""
        return [
            each
            for name, witness in self.witnesses.items()
            if host is None or name == host.name
            for each in witness.told()
            if each.sent >= since
        ]

    def wait_for_ok(self, host: Host, since: float, limit_seconds: float = 30) -> float:
        """Wait until a server says OK for a row that was sent after a moment; return when it said it."""
        wait_until(
            lambda: bool(self.told(host, since)), f"{host.name} acknowledges a write", limit_seconds=limit_seconds
        )
        return min(each.at for each in self.told(host, since))

    def wait_for_shop(self, since: float, limit_seconds: float = 40) -> float:
        """Wait until the application is told OK for a row that it sent after a moment; return when."""
        wait_until(
            lambda: self.shop_since(since) > 0, "the application's write is acknowledged", limit_seconds=limit_seconds
        )
        return self.shop_since(since)

    def shop_since(self, since: float) -> float:
        """Return when the application was first told OK for a row sent after a moment; 0 for never."""
        puts = itertools.chain.from_iterable(self.shop.ledger().puts.values())
        told = [put.acknowledged_at for put in puts if put.acknowledged_at is not None and put.tried_at >= since]
        return min(told, default=0.0)

    def shop_moments(self) -> list[float]:
        """Return when the application was told OK."""
        puts = itertools.chain.from_iterable(self.shop.ledger().puts.values())
        return [put.acknowledged_at for put in puts if put.acknowledged_at is not None]

    def ask(self, port: int, question: str = "SELECT @@hostname") -> str:
        """Ask through the proxy as the application does. Raises CommandError."""
        password, authority = f"{FOLDER}/failover.password", f"{FOLDER}/ca.pem"
        who = (self.lab.app1.address, str(port), "failover_writer", "failover", password, authority, question)
        return self.lab.app1.run("timeout", "20", "python3", "-c", ASK, *who).out.strip()

    def problems(self) -> list[str]:
        """Say what was lost, or acknowledged twice, by anybody since `prepare`; both servers must have everything."""
        told = self.told()
        self.known |= {each.row for each in told}
        found = [f"two servers acknowledged: {each}" for each in overlaps(told)]
        swaps = self.pair.term() - self.term_before
        if turns(told) > swaps:
            found.append(f"the servers took turns in acknowledging {turns(told)} times in {swaps} terms")
        for host in self.lab.servers:
            missing = self.known - {int(row[0]) for row in host.sql("SELECT id FROM probe.rows_")}
            found += [f"{host.name} lacks {len(missing)} acknowledged rows of witnesses"] if missing else []
            for table in self.shop.tables:
                compared = self.shop.compare(host, table)
                found += [] if compared.exact else [f"{host.name}: {compared}"]
        return found
