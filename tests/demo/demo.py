#!/usr/bin/env python3
"""The main job of Holdfast, for real: lose a table while the site is busy, then the primary; get every row back.

Brings up the lab, provisions it with the production playbooks, lets a writer fill two tables and keep a ledger of what
was acknowledged to it, backs up (full, incremental, binlogs), drops one table at a random moment among ongoing writes,
finds the statement, restores to just before it into a new instance, compares every row with the ledger, and puts the
table back. Then the primary is killed under load, and its successor cut off (second_act.py), at the fast settings of
molecule/failover/vars/settings.yml. The exit status is the verdict. Environment: KEEP=1 leaves the lab up, SEED=n
repeats a random moment. With the word `standing` it takes a provisioned lab as it is.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.second_act import SecondAct  # noqa: E402
from support import console, hosts  # noqa: E402
from support.ledger import ALWAYS, Comparison  # noqa: E402
from support.playbooks import SUITE  # noqa: E402
from support.provision import Provisioner  # noqa: E402
from support.workload import Workload  # noqa: E402

RESTORED = "/var/lib/holdfast/restore/demo"
ACCOUNT = f"{RESTORED}/client.cnf"
ROWS_PER_PHASE = 400


class VerdictError(Exception):
    """What is there is not what was acknowledged."""


class Demo:
    """The story, step by step. Each method is a chapter."""

    def __init__(self, seed: int) -> None:
        """Fix the random moment."""
        self.lab = hosts.lab()
        self.provisioner = Provisioner("demo")
        self.dice = random.Random(seed)
        self.steps = console.Steps()
        self.shop = Workload(self.lab, "shop", ("orders", "payments"), rate=100, seed=seed)
        self.results: list[tuple[str, Comparison]] = []
        self.second_act = SecondAct(self.steps, self.lab)
        self.began = self.drop_began = self.drop_ended = 0.0

    def program(self, label: str, *command: str) -> str:
        """Run one of Holdfast's programs on the replica as cron does; return its output. It goes to a log file too."""
        with self.steps.step(label) as step:
            done = self.lab.db2.run(*command, timeout_seconds=600)
            self.provisioner.keep(f"{len(self.steps.done):02}-{command[0]}", done.text)
            step.note = summary(self.lab.db2, command[0])
        return done.out

    def back_up(self) -> None:
        """Full, incremental and binlogs, with writes before, between and after."""
        with self.steps.step("writer on app1: TLS, a ledger of acknowledged rows") as step:
            self.shop.prepare()
            self.shop.start()
            self.began = time.time()
            self.write_more()
            step.note = f"writing to shop.orders and shop.payments on {self.lab.primary().name}"
        self.program("full backup, on the replica", "mysql-backup-full")
        self.write_more()
        self.program("incremental backup", "mysql-backup-incremental")
        self.write_more()
        self.program("binlogs", "mysql-backup-binlogs")

    def write_more(self) -> None:
        """Let the writer go on until some hundred more rows are acknowledged."""
        self.shop.wait_for(self.shop.acknowledged() + ROWS_PER_PHASE)

    def lose_the_table(self) -> None:
        """DROP TABLE at a random moment; the other table goes on."""
        with self.steps.step("DROP TABLE shop.orders, at a random moment among writes") as step:
            time.sleep(self.dice.uniform(0.5, 3.0))  # the random moment itself, no wait for anything
            clock = "SELECT UNIX_TIMESTAMP(SYSDATE(6))"  # of the server's host, as the writer's: one machine
            times = self.lab.primary().sql(f"{clock}; DROP TABLE shop.orders; {clock}")
            self.drop_began, self.drop_ended = (float(row[0]) for row in times)
            self.write_more()
            self.shop.stop()
            ledger = self.shop.ledger()
            if not any(error.startswith("gone orders") for error in ledger.errors):
                raise VerdictError(f"the writer did not notice that its table is gone: {ledger.errors[-3:]}")
            step.note = f"{ledger.acknowledged('orders')} writes were acknowledged to orders before"
            self.lab.wait_for_replica()
        self.program("binlogs again", "mysql-backup-binlogs")

    def find_and_restore(self) -> None:
        """Find the statement in the offsite binlogs; restore to just before it, into a new instance."""
        period = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (self.began, time.time() + 1)]
        found = self.program(
            "mysql-restore find", "mysql-restore", "find", "--drop", "shop.orders", "--between", *period, "--json"
        )
        statements = json.loads(found)["candidates"]
        if len(statements) != 1:
            raise VerdictError(f"mysql-restore find reports {len(statements)} statements, expected one:\n{found}")
        gtid = statements[0]["gtid"]
        self.steps.done[-1].note = f"{gtid} at {statements[0]['at']}"
        self.program(
            "mysql-restore run, to just before it, beside the server",
            "mysql-restore", "run", "--before-gtid", gtid, "--directory", RESTORED,
        )  # fmt: skip
        with self.steps.step("every row of both tables against the ledger") as step:
            # of orders every row that was ever acknowledged: after the drop none could be
            for name, surely_by in (("orders", ALWAYS), ("payments", self.drop_began)):
                result = self.shop.compare(
                    self.lab.db2, name, account=ACCOUNT, surely_by=surely_by, not_after=self.drop_ended
                )
                self.judge("restored", result)
            step.note = "exact"

    def put_back(self) -> None:
        """Copy the table from the side instance to the primary; it replicates like any write."""
        primary = self.lab.primary()
        with self.steps.step(f"put shop.orders back on the primary ({primary.name})"):
            dump = self.lab.db2.run(
                "mysqldump", f"--defaults-file={ACCOUNT}", "--single-transaction",
                "--set-gtid-purged=OFF", "--default-character-set=utf8mb4", "shop", "orders",
            )  # fmt: skip
            primary.run(
                "mysql", "--no-defaults", "--user=root", "--default-character-set=utf8mb4", "shop", stdin=dump.out
            )
            self.lab.wait_for_replica()
            self.lab.db2.run("mysql-restore", "stop", RESTORED)
            self.lab.db2.run("rm", "-r", RESTORED)
        with self.steps.step("every row on the primary and on the replica") as step:
            for host, role in ((primary, "primary"), (self.lab.replica(), "replica")):
                self.judge(role, self.shop.compare(host, "orders"))
                self.judge(role, self.shop.compare(host, "payments"))
            step.note = "exact"

    def judge(self, where: str, comparison: Comparison) -> None:
        """Keep a comparison for the table. Raises VerdictError when a row is missing, altered or nobody's."""
        self.results.append((where, comparison))
        if not comparison.exact:
            raise VerdictError(f"{where}: {comparison}")
        if comparison.expected == 0:
            raise VerdictError(f"{where}: no rows were expected of {comparison.table}: the demo proved nothing")

    def run(self) -> None:
        """The whole story."""
        if "standing" not in sys.argv[1:]:
            self.provisioner.provision(self.steps, fresh=True, options=("-e", f"@{SUITE}"))
        self.back_up()
        self.lose_the_table()
        self.find_and_restore()
        self.put_back()
        if problems := self.second_act.run():
            raise VerdictError("; ".join(problems))

    def report(self) -> str:
        """Return the closing table."""
        steps = [(step.name, f"{step.seconds:.1f}", step.note) for step in self.steps.done]
        rows = [
            (where, f"shop.{result.table}", result.expected, result.found, "exact" if result.exact else str(result))
            for where, result in self.results
        ]
        return "\n\n".join(
            [
                console.table(("step", "seconds", "what came out"), steps),
                console.table(("where", "table", "rows expected", "rows found", "verdict"), rows),
                *([self.second_act.report()] if self.second_act.times.rows() else []),
            ]
        )


def summary(host: hosts.Host, program: str) -> str:
    """Return what a program's summary line in the host's journal says of its last run: bytes and transactions."""
    line = host.run("journalctl", "-t", program, "-n", "1", "-o", "cat", "--no-pager", check=False).out
    facts = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line))
    parts = []
    if "stored_bytes" in facts:
        parts.append(f"{console.human_bytes(int(facts['stored_bytes']))} stored")
    if "data_bytes" in facts:
        parts.append(f"of {console.human_bytes(int(facts['data_bytes']))}")
    parts += [
        f"{facts[key]} {name}"
        for key, name in (("files", "files"), ("replayed", "transactions replayed"))
        if key in facts
    ]
    return " ".join(parts)


def main() -> int:
    """Run the demo; return 0 when every row was there, 2 for a word that it does not know."""
    if set(sys.argv[1:]) - {"standing"}:
        # before anything else: a fresh start removes the lab that stands
        print(f"{__doc__}\nusage: demo.py [standing]", file=sys.stderr)
        return 2
    hosts.ensure_inside_lab()
    seed = int(os.environ.get("SEED") or random.SystemRandom().randint(1, 999_999))
    demo, verdict = Demo(seed), 1
    print(f"Holdfast demo, seed {seed} (SEED={seed} repeats it). Logs: {demo.provisioner.logs}")
    try:
        demo.run()
        verdict = 0
    except (VerdictError, hosts.CommandError, subprocess.TimeoutExpired) as error:
        print(f"\n{error}", file=sys.stderr)
        demo.provisioner.collect()
    print(f"\n{demo.report()}\n")
    if os.environ.get("KEEP") == "1":
        print("The lab is still up (KEEP=1): make lab-shell HOST=db1, make lab-down.")
    else:
        demo.provisioner.remove()
    if verdict == 0:
        print(f"Every acknowledged row is there, on both servers. {demo.steps.seconds:.0f} s in all.")
    else:
        print(f"The demo FAILED after {demo.steps.seconds:.0f} s. Logs of all hosts: {demo.provisioner.logs}")
    return verdict


def end() -> NoReturn:
    """Leave with the verdict as exit status."""
    sys.exit(main())


if __name__ == "__main__":
    end()
