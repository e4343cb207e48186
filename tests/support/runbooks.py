"""Follow a runbook: each of its commands, run on the lab as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from support.hosts import REPOSITORY, Lab
from support.playbooks import SUITE
from support.provision import tool

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
# `ssh HOST WORDS` as OpenSSH has it (the words joined and given to a shell), by way of podman; a playbook runs on the
# lab as the suite's site has it, where there is no vault whose password -J could ask for
FUNCTIONS = """
ssh() {{ local host=$1; shift; podman exec -i "holdfast{number}-$host" sh -c "$*"; }}
ansible-playbook() {{
  local word words=()
  for word in "$@"; do
    case $word in -J) ;; inventories/mine) words+=(inventories/lab) ;; *) words+=("$word") ;; esac
  done
  (cd {repository} && ANSIBLE_CONFIG=ansible.cfg ANSIBLE_NOCOLOR=1 {program} -e @{settings} "${{words[@]}}" </dev/null)
}}
"""


def commands_of(name: str) -> str:
    """Return the shell blocks of a runbook, joined."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", (RUNBOOKS / name).read_text(), re.M | re.S))


def follow(lab: Lab, name: str, folder: Path) -> str:
    """Run a runbook's commands one after the other; AssertionError with all output if one of them fails."""
    number = lab.db1.container.removeprefix("holdfast").split("-")[0]
    functions = FUNCTIONS.format(number=number, repository=REPOSITORY, program=tool("ansible-playbook"), settings=SUITE)
    script = "set -euo pipefail\n" + functions + "set -x\n" + commands_of(name)
    done = subprocess.run(["bash", "-c", script], cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout
