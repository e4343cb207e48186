"""A session's end, or a crash, kills everything that a lab left running; the next `make` starts from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAB = (sys.executable, str(ROOT / "molecule/lab/lab.py"))
INSIDE = "HOLDFAST_LAB_INSIDE"
NUMBER = "249"
HOST = "app1"
Lab = Callable[..., str]


def caller_of_the_lab() -> int:
    """Return the nearest ancestor outside the lab's mount namespace; this process's parent where there is none."""
    here, pid = Path("/proc/self/ns/mnt").readlink(), os.getppid()
    while pid > 1 and Path(f"/proc/{pid}/ns/mnt").readlink() == here:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid if pid > 1 else os.getppid()


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab that shares nothing with the others: run state, storage, number, and namespace, for its holder is killed.

    Its image is copied, which takes most of the time.
    """
    if INSIDE not in os.environ:
        pytest.exit("run this by `make test T=tests/lab`", 2)
    run = Path("/run/holdfast-lab-cut")
    environment = {name: value for name, value in os.environ.items() if name != INSIDE and "CONTAINERS" not in name}
    environment |= {"HOLDFAST_RUN": str(run), "HOLDFAST_CACHE": str(tmp_path), "HOLDFAST_LAB": NUMBER}
    outside = ("nsenter", "-t", str(caller_of_the_lab()), "--mount", f"--wdns={ROOT}", "--")

    def lab(*words: str, expect: int = 0, stdin: int = subprocess.DEVNULL) -> str:
        done = subprocess.run(
            [*outside, *LAB, *words],
            env=environment,
            text=True,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=180,
            check=False,
        )
        assert done.returncode == expect, done.stdout
        return done.stdout

    tag = subprocess.run(
        ["podman", "images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/holdfast-trixie"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout.split()[0]
    with subprocess.Popen(["podman", "save", tag], stdout=subprocess.PIPE) as save:
        assert save.stdout is not None
        lab("enter", "--", "podman", "load", "--quiet", stdin=save.stdout.fileno())
    try:
        yield lab
    finally:
        lab("down")
        os.kill(int((run / "holder.pid").read_text()), signal.SIGKILL)


def test_a_lab_whose_processes_were_all_killed_comes_up_again(own_lab: Lab) -> None:
    own_lab("up", HOST)
    for step in ("down", "up"):  # removed and made again; or found and started again
        pid = int(Path("/run/holdfast-lab-cut/holder.pid").read_text())
        Path("/sys/fs/cgroup/holdfast-lab-cut", f"holdfast{NUMBER}-{HOST}", "cgroup.kill").write_text("1")
        os.kill(pid, signal.SIGKILL)
        own_lab(step, *(() if step == "down" else (HOST,)))
        own_lab("up", HOST)
        assert f"{HOST} absent" not in " ".join(own_lab("status").split())
