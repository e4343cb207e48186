"""The demo's second act: the primary dies under load, then its successor is cut off from everybody.

Three clients write all the time, one on each database host (told OK by its own server, however cut off that is) and an
application through the proxy. In the end every row that any of them was told OK for must be on both servers, and at no
100 ms may both servers have said OK.
"""

from __future__ import annotations

import time

from support import console, guarded
from support.failover_faults import held_down
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import HEADINGS, Times
from support.hosts import Host, Lab, wait_until


class SecondAct:
    """The story, step by step, on a pair in health."""

    def __init__(self, steps: console.Steps, lab: Lab) -> None:
        """Take the lab as the first act has left it."""
        self.steps, self.lab = steps, lab
        self.pair, self.times = Pair(lab), Times()
        self.load = Load(self.pair)
        self.problems: list[str] = []
        self.told: list[tuple[str, int]] = []

    def open(self) -> None:
        """Three clients begin to write."""
        with self.steps.step("clients: on both servers, and on app1 through the proxy") as step:
            self.pair.settle()
            self.load.prepare()
            self.load.start()
            step.note = f"{self.pair.roles().primary.name} is the primary"

    def kill_the_primary(self) -> None:
        """SIGKILL, and systemd may not start it again while the other takes over."""
        old, term = self.pair.roles().primary, self.pair.term()
        with held_down(old), self.steps.step(f"SIGKILL of mysqld on {old.name}, the primary, under load") as step:
            began = time.time()
            guarded.kill_mysqld(old)
            new = self.times.promotion(self.pair, self.load, f"mysqld of {old.name} killed", began, term)
            step.note = self.told_in_seconds(new)
        self.come_back(old)

    def cut_the_successor(self) -> None:
        """The network between it and both others is cut; it lives, and its client goes on asking."""
        old, term = self.pair.roles().primary, self.pair.term()
        peer = self.pair.other(old)
        with guarded.cut((old, self.lab.app1), (old, peer)):
            with self.steps.step(f"{old.name}, its successor, is cut off from {peer.name} and app1") as step:
                began = time.time()
                new = self.times.promotion(self.pair, self.load, f"{old.name} cut off", began, term)
                step.note = self.told_in_seconds(new)
            with self.steps.step(f"{old.name} lives and its client asks: who is told OK?") as step:
                since = time.time()
                wait_until(lambda: len(self.load.told(new, since)) >= 10, f"{new.name} acknowledges")
                step.note = (
                    f"by {new.name} {len(self.load.told(new, since))}, by {old.name} {len(self.load.told(old, since))}"
                )
        self.come_back(old)

    def come_back(self, old: Host) -> None:
        """It returns as a replica; with transactions that nobody was told of, they are saved and it is cloned anew."""
        rebuilt = len(self.pair.rebuilt)
        with self.steps.step(f"{old.name} comes back") as step:
            self.pair.settle()
            step.note = (
                "it had transactions that nobody was told of: they were saved, it was cloned anew"
                if len(self.pair.rebuilt) > rebuilt
                else "it had nothing of its own: a replica again, by itself"
            )

    def told_in_seconds(self, new: Host) -> str:
        """Return the row of the times that was added last, in words."""
        _, detected, fenced, _, writable, _, proxied, _ = self.times.rows()[-1]
        fence = f"fenced {fenced} s, " if fenced else ""
        return f"detected {detected} s, {fence}{new.name} writable {writable} s, the application's next OK {proxied} s"

    def compare(self) -> list[str]:
        """Return what is missing, or was said by two; stops the clients."""
        with self.steps.step("every row that anybody was told OK for, on both servers") as step:
            self.load.stop()
            self.lab.wait_for_replica()
            wait_until(lambda: self.lab.db1.executed() == self.lab.db2.executed(), "both have the same transactions")
            self.problems = self.load.problems()
            for host in self.lab.servers:
                self.told.append((f"client on {host.name}", len(self.load.told(host))))
            self.told.append(("application through the proxy", len(self.load.shop_moments())))
            step.note = "; ".join(self.problems) or f"all {sum(count for _, count in self.told)} are there"
        return self.problems

    def run(self) -> list[str]:
        """The whole act; return what went wrong. Raises CommandError when something does not happen in time."""
        self.open()
        try:
            self.kill_the_primary()
            self.cut_the_successor()
            return self.compare()
        finally:
            self.load.stop()

    def report(self) -> str:
        """Return the closing tables; no verdict where the act did not come as far as comparing."""
        verdict = "; ".join(self.problems) or (
            "all on both servers" if self.told else "not compared: the act ended before"
        )
        told = [(who, count, verdict) for who, count in self.told]
        return "\n\n".join(
            [
                "Seconds from the fault on; the site waits for a silence of "
                f"{self.pair.detection_seconds:.0f} s before it acts (production: 40).",
                console.table(HEADINGS, self.times.rows()),
                console.table(("who was told OK", "rows", "verdict"), told),
                "No two servers acknowledged at one time (looked at by 100 ms)."
                if self.told and not self.problems
                else verdict,
            ]
        )
