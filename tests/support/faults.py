"""Break things on a lab host, and put them right again afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from support.hosts import CommandError, Host, Lab, wait_until

STORE_UNIT = "lab-store"


def pids(host: Host, pattern: str) -> list[int]:
    """Return the processes whose command line matches an extended regular expression."""
    return [int(pid) for pid in host.run("pgrep", "-f", "--", pattern, check=False).out.split()]


def kill(host: Host, pattern: str, signal: str = "KILL") -> int:
    """Send a signal to every process that matches; return how many. Raises CommandError when there is none."""
    found = pids(host, pattern)
    if not found:
        raise CommandError(f"{host.name}: no process matches {pattern!r}")
    host.run("kill", f"-{signal}", *(str(pid) for pid in found), check=False)
    return len(found)


@contextmanager
def killing(host: Host, pattern: str) -> Iterator[None]:
    """For the time of the block kill every process that matches as soon as it starts; it takes a loop on the host."""
    unit = "holdfast-test-killer"
    # a letter in brackets, so that the loop's own command line does not match
    hidden = f"[{pattern[0]}]{pattern[1:]}"
    loop = f"while :; do for pid in $(pgrep -f '{hidden}'); do kill -KILL $pid; done; sleep 0.02; done"
    host.run("systemd-run", "--quiet", "--collect", f"--unit={unit}", "bash", "-c", loop)
    try:
        yield
    finally:
        host.run("systemctl", "stop", unit, check=False)


def kill_one_of_many(host: Host, pattern: str) -> None:
    """Kill -9 one process of those that come and go in fractions of a second; it takes a loop on the host."""
    hidden = f"[{pattern[0]}]{pattern[1:]}"
    host.run(
        "timeout", "30", "bash", "-c",
        f"until pid=$(pgrep -f '{hidden}' | head -n 1) && [ -n \"$pid\" ] && kill -KILL $pid; do sleep 0.02; done",
    )  # fmt: skip


def wait_for_process(host: Host, pattern: str, limit_seconds: float = 30) -> None:
    """Wait until a process that matches runs."""
    wait_until(lambda: bool(pids(host, pattern)), f"{host.name}: a process {pattern!r}", limit_seconds=limit_seconds)


@contextmanager
def store_stopped(lab: Lab) -> Iterator[None]:
    """Stop the store's S3 server for the time of the block."""
    lab.store.run("systemctl", "stop", STORE_UNIT)
    try:
        yield
    finally:
        start_store(lab)


def start_store(lab: Lab) -> None:
    """Start the store again, and wait until it answers."""
    lab.store.run("systemctl", "start", STORE_UNIT)
    wait_until(
        lambda: lab.store.run("systemctl", "is-active", STORE_UNIT, check=False).status == 0, "the store is back"
    )


@contextmanager
def small_disk(host: Host, path: str, size_bytes: int) -> Iterator[None]:
    """Mount a tmpfs of a few bytes on a folder of the host. From outside: the host itself may not mount."""
    inside = ["nsenter", "-t", str(host.init_pid()), "--mount", "--pid", "--"]  # --pid: umount reads /proc
    host.run("mkdir", "-p", path)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", path]
    subprocess.run([*inside, *mount], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "umount", "--lazy", path], check=True, capture_output=True)
