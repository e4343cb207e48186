"""Where the lab lives: its environment variables, its cache, and the mount namespace in which podman works."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
RECIPES = json.loads((HERE / "recipes.json").read_text())
CACHE = Path(os.environ.get("HOLDFAST_CACHE") or Path.home() / ".cache" / "holdfast")
PACKAGES = Path(os.environ.get("HOLDFAST_PACKAGES") or CACHE / "packages")
RUN = Path(os.environ.get("HOLDFAST_RUN") or "/run/holdfast-lab")
CGROUPS = Path("/sys/fs/cgroup") / RUN.name
CAP_SYS_RESOURCE_BIT = 24
INSIDE = "HOLDFAST_LAB_INSIDE"


class LabError(Exception):
    """What the person at the keyboard must know: what failed, and what to do about it."""


def lab_number() -> int:
    """Return the number of the lab that this command works on. Raises LabError for anything but 1..250."""
    text = os.environ.get("HOLDFAST_LAB") or "1"
    if not text.isdigit() or not 1 <= int(text) <= 250:
        raise LabError(f"HOLDFAST_LAB must be a number from 1 to 250, not {text!r}")
    return int(text)


def container_name(host: str) -> str:
    """Return the container's name of a lab host, as inventories/lab spells it too."""
    return f"holdfast{lab_number()}-{host}"


def private_address(host: str) -> str:
    """Return the host's address on the private VLAN (the public one has 204 as its second number)."""
    return f"10.203.{lab_number()}.{RECIPES['hosts'][host]['octet']}"


def run(*argv: str, check: bool = True, quiet: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command. With `quiet` its output is kept and shown only if it fails. Raises LabError on failure."""
    if quiet:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        done = subprocess.run(argv, text=True, check=False, **options)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed: run `make setup` first") from error
    if check and done.returncode != 0:
        raise LabError(f"`{' '.join(argv)}` exited {done.returncode}\n{(done.stdout or '')[-3000:]}")
    return done


def output_of(*argv: str) -> str:
    """Return what a command prints. Raises LabError when it fails."""
    return run(*argv, stdout=subprocess.PIPE).stdout.strip()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a named lock of the lab, so that two makes do not build one image or namespace twice."""
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(message: str) -> None:
    """Print a line of progress."""
    print(f"lab: {message}", flush=True)


# --- the mount namespace -------------------------------------------------------------------------------------------


def has_plain_cgroup2() -> bool:
    """Tell whether /sys/fs/cgroup is one cgroup2 mount, as podman needs it."""
    return output_of("stat", "-f", "-c", "%T", "/sys/fs/cgroup") == "cgroup2fs"


def may_raise_limits() -> bool:
    """Tell whether this process has CAP_SYS_RESOURCE; without it crun can neither use cgroups nor raise limits."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE_BIT & 1)
    return False


# what podman and crun keep until the next boot: layers in use, processes, addresses, network namespaces, locks
STATE_OF_PODMAN = (
    RUN / "containers",
    *map(Path, ("/run/libpod", "/run/containers", "/run/netns", "/run/crun", "/dev/shm")),
)
HOLDER = """
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
for host in "$0"/*/cgroup.kill; do if [ -e "$host" ]; then echo 1 > "$host"; fi; done
for folder in "$@"; do mkdir -p "$folder"; mount -t tmpfs none "$folder"; done
echo ready
exec -a holdfast-lab-holder sleep infinity
"""


def holder_pid() -> int | None:
    """Return the process that keeps the lab's mount namespace, or None."""
    try:
        pid = int((RUN / "holder.pid").read_text())
        alive = b"holdfast-lab-holder" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if alive else None


def start_holder() -> int:
    """Start a process in a mount namespace of its own where /sys/fs/cgroup is plain cgroup2; return its pid.

    On machines with hybrid cgroups podman refuses to start anything. Nothing of the machine's own namespace changes.
    What podman knows of running containers and given addresses lives and dies with the namespace: were it kept, podman
    would hold on to the addresses of containers that were killed together with it ("IPAM error: requested ip address
    is already allocated", seen). Containers that outlived their holder cannot be reached any more and are ended.
    """
    with locked("holder"):
        pid = holder_pid()
        if pid is not None:
            return pid
        argv = ["unshare", "--mount", "--propagation", "private", "bash", "-euc", HOLDER, str(CGROUPS)]
        argv += map(str, STATE_OF_PODMAN)
        holder = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # its own: it would keep a caller's pipe open for ever
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert holder.stdout is not None and holder.stderr is not None
        if holder.stdout.readline().strip() != "ready":
            told = holder.stderr.read().strip()
            raise LabError(f"no private mount namespace for the lab ({told}): are you root (or is sudo allowed)?")
        deadline = time.monotonic() + 10
        (RUN / "holder.pid").write_text(str(holder.pid))
        while holder_pid() is None:  # the name changes at exec, a moment after `ready`
            if time.monotonic() > deadline:
                raise LabError("the lab's namespace holder died at once")
            time.sleep(0.05)
        return holder.pid


def lab_environment() -> dict[str, str]:
    """Return the environment in which podman, ansible and molecule see the lab."""
    CACHE.mkdir(parents=True, exist_ok=True)
    files = {
        "storage.conf": (
            f'[storage]\ndriver = "overlay"\ngraphroot = "{CACHE}/containers"\nrunroot = "{RUN}/containers"\n'
        ),
        # without this podman 4.3 on Debian 12 takes CNI, whose plugins are not installed
        "containers.conf": f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{CACHE}/networks"\n',
    }
    for name, text in files.items():
        if not (CACHE / name).exists() or (CACHE / name).read_text() != text:
            (CACHE / name).write_text(text)
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(CACHE / "storage.conf"),
        "CONTAINERS_CONF": str(CACHE / "containers.conf"),
        "HOLDFAST_LAB": str(lab_number()),
        "HOLDFAST_PACKAGES": str(PACKAGES),
        INSIDE: "1",
    }


def enter(argv: list[str]) -> NoReturn:
    """Replace this process by a command that runs where the lab's containers can be seen."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: run it with sudo, as `make` does")
    prefix: list[str] = []
    if not has_plain_cgroup2():
        prefix = ["nsenter", "-t", str(start_holder()), "--mount", f"--wdns={Path.cwd()}", "--"]
    RUN.mkdir(parents=True, exist_ok=True)
    command = [*prefix, *argv]
    sys.stdout.flush()
    os.execvpe(command[0], command, lab_environment())
