"""Bring a lab to where the production playbooks leave it, with the long outputs in log files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from support import console, hosts

CACHE = Path(os.environ.get("HOLDFAST_CACHE") or Path.home() / ".cache" / "holdfast")


class Provisioner:
    """Runs the lab's tool and the playbooks; keeps each output in a folder of logs."""

    def __init__(self, name: str) -> None:
        """Name the folder of logs, under the cache."""
        self.logs = CACHE / "logs" / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}"

    def keep(self, log: str, text: str) -> None:
        """Keep a program's output."""
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / f"{log}.log").write_text(text)

    def quietly(self, log: str, *argv: str) -> str:
        """Run a command of the controller with its output in a log file; return that text.

        Raises hosts.CommandError with the log's last lines.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{log}.log"
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(hosts.REPOSITORY / "ansible.cfg")}
        with path.open("wb") as out:
            status = subprocess.run(
                argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=hosts.REPOSITORY,
                env=environment, check=False,
            ).returncode  # fmt: skip
        text = path.read_text(errors="replace")
        if status != 0:
            tail = "\n".join(text.splitlines()[-40:])
            raise hosts.CommandError(f"`{' '.join(argv)}` exited {status}; the whole output is in {path}\n{tail}")
        return text

    def provision(self, steps: console.Steps, *, fresh: bool, options: Sequence[str] = ()) -> None:
        """Machines, the store, then what production runs: playbooks/site.yml, with options of ansible-playbook.

        `fresh` removes what stands first.
        """
        lab = str(hosts.LAB_PROGRAM)
        with steps.step("lab: four hosts (the first time: two images, 4 minutes)"):
            if fresh:
                self.quietly("lab-down", sys.executable, lab, "down")
            self.quietly("lab-up", sys.executable, lab, "up")
        playbook = (tool("ansible-playbook"), "-i", "inventories/lab", *options)
        with steps.step("offsite storage: an S3 server on host store"):
            self.quietly("store", *playbook, "molecule/lab/store.yml")
        with steps.step("playbooks/site.yml") as step:
            step.note = recap(self.quietly("site", *playbook, "playbooks/site.yml"))

    def collect(self) -> None:
        """Save the logs of all hosts beside our own."""
        argv = [sys.executable, str(hosts.LAB_PROGRAM), "logs", str(self.logs / "hosts")]
        subprocess.run(argv, check=False, stdout=subprocess.DEVNULL)

    def remove(self) -> None:
        """Stop the lab and remove its data."""
        subprocess.run([sys.executable, str(hosts.LAB_PROGRAM), "down"], check=False, stdout=subprocess.DEVNULL)


def tool(name: str) -> str:
    """Return the path of a tool of the virtualenv that runs this program, or its bare name."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def recap(text: str) -> str:
    """Return the sum of changes of an ansible run's recap."""
    lines = [line for line in text.splitlines() if "changed=" in line and "ok=" in line]
    changed = sum(int(line.split("changed=")[1].split()[0]) for line in lines)
    return f"{len(lines)} hosts, {changed} changes"
