"""Run the production playbooks on the lab, and read what they said."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from support.hosts import REPOSITORY
from support.provision import tool

# what the suite's site has beside inventories/lab
SUITE = REPOSITORY / "molecule" / "failover" / "vars" / "settings.yml"


@dataclass(frozen=True)
class Rerun:
    """How a playbook run ended: exit status, what it printed, and per host how many tasks changed something."""

    status: int
    text: str

    @property
    def changed(self) -> dict[str, int]:
        """Return the recap's changed counts by host."""
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.text, re.M)}

    @property
    def words(self) -> str:
        """Return the output with all white space folded, for comparing messages that Ansible wraps."""
        return re.sub(r"\s+", " ", self.text)


def rerun(
    playbook: str,
    *options: str,
    variables: dict[str, Any] | None = None,
    expect: int | None = 0,
    inventories: Sequence[str] = ("inventories/lab",),
) -> Rerun:
    """Run a playbook on the lab. AssertionError unless it exits as expected (None: any way)."""
    argv = [tool("ansible-playbook"), f"playbooks/{playbook}.yml", *options]
    for inventory in inventories:
        argv += ["-i", inventory]
    if variables:
        argv += ["-e", json.dumps(variables)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        argv, cwd=REPOSITORY, env=environment, text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    result = Rerun(done.returncode, done.stdout + done.stderr)
    assert expect is None or done.returncode == expect, result.text[-6000:]
    return result


def on_the_suites_site(playbook: str, *options: str, expect: int | None = 0, **variables: Any) -> Rerun:
    """Run a playbook as the failover suite's site has it."""
    return rerun(playbook, "-e", f"@{SUITE}", *options, variables=variables, expect=expect)
