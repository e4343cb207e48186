#!/usr/bin/env python3
"""Make, enter and remove the lab: four real hosts (systemd, own addresses) in podman containers.

The one tool for the lab's machines. `make` and molecule's create/destroy call it; it is never shipped to a host.
Runs on the controller with the standard library alone, so that it works before the virtualenv exists.

Environment:
    HOLDFAST_LAB       number of the lab, 1..250 (default 1): several labs can stand side by side.
    HOLDFAST_CACHE     where images and container storage live (default ~/.cache/holdfast).
    HOLDFAST_PACKAGES  folder of vendor .deb files, mounted read-only into each host (default <cache>/packages).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
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
RUN = Path("/run/holdfast-lab")
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
    """
    with locked("holder"):
        pid = holder_pid()
        if pid is not None:
            return pid
        script = (
            "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && echo ready"
            " && exec -a holdfast-lab-holder sleep infinity"
        )
        argv = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script]
        holder = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True, text=True
        )
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != "ready":
            raise LabError("no private mount namespace for the lab: are you root (or is sudo allowed)?")
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
        "storage.conf": f'[storage]\ndriver = "overlay"\ngraphroot = "{CACHE}/containers"\nrunroot = "{RUN}/containers"\n',
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
        prefix = ["nsenter", "-t", str(start_holder()), "--mount", f"--wdns={os.getcwd()}", "--"]
    RUN.mkdir(parents=True, exist_ok=True)
    command = [*prefix, *argv]
    sys.stdout.flush()
    os.execvpe(command[0], command, lab_environment())


# --- images --------------------------------------------------------------------------------------------------------


def image_tag(base: str) -> str:
    """Return the image's name with the hash of its recipe: what has not changed is never built again."""
    recipe = json.dumps(RECIPES["images"][base], sort_keys=True).encode()
    return f"localhost/holdfast-{base}:{hashlib.sha256(recipe).hexdigest()[:12]}"


def build_image(base: str) -> None:
    """Make an image by debootstrap and apt in a chroot (no image registry needed), unless it is cached."""
    tag = image_tag(base)
    with locked(f"image-{base}"):
        if run("podman", "image", "exists", tag, check=False).returncode == 0:
            return
        recipe = RECIPES["images"][base]
        started = time.monotonic()
        say(f"image {base}: debootstrap {recipe['suite']} (about 1 minute, then 1 more for packages)")
        CACHE.mkdir(parents=True, exist_ok=True)
        root = CACHE / f"build-{base}"
        shutil.rmtree(root, ignore_errors=True)
        try:
            bootstrap(root, recipe)
            say(f"image {base}: import")
            with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
                run("podman", "import", "--change", "CMD=/sbin/init", "-", tag, quiet=True, stdin=tar.stdout)
            if tar.returncode:
                raise LabError(f"tar of {root} exited {tar.returncode}: is {CACHE} full?")
        finally:
            shutil.rmtree(root, ignore_errors=True)
        say(f"image {base}: ready after {time.monotonic() - started:.0f} s")


def bootstrap(root: Path, recipe: dict[str, Any]) -> None:
    """Fill a folder with a Debian system as the recipe has it."""
    suite, mirror = recipe["suite"], RECIPES["mirror"]
    include = ",".join(recipe["debootstrap"])
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    options = [f"--keyring={keyring}"] if keyring.exists() else []
    script = [] if Path(f"/usr/share/debootstrap/scripts/{suite}").exists() else ["sid"]
    run("debootstrap", *options, "--variant=minbase", f"--include={include}", suite, str(root), mirror, *script, quiet=True)
    # the mirror's sid can be days behind its own Valid-Until
    (root / "etc/apt/apt.conf.d/90holdfast-lab").write_text(
        'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\nAPT::Periodic::Enable "0";\n'
    )
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # packages must not start services inside the chroot
    policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    apt = ("chroot", str(root), "apt-get", "-y", "-q")
    run(*apt, "update", quiet=True, env=environment)
    run(*apt, "install", *recipe["packages"], quiet=True, env=environment)
    if recipe["downloaded"]:  # the roles install these for real, from the image's own package cache
        run(*apt, "install", "--download-only", *recipe["downloaded"], quiet=True, env=environment)
    policy.unlink()
    for unit in recipe["masked"]:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()


# --- hosts ---------------------------------------------------------------------------------------------------------


def create_networks() -> None:
    """Make the private VLAN (no way out) and the public network (by which packages come) of this lab."""
    number = lab_number()
    for name, second, options in (("private", 203, ["--internal"]), ("public", 204, [])):
        network = f"holdfast{number}-{name}"
        if run("podman", "network", "exists", network, check=False).returncode != 0:
            run("podman", "network", "create", *options, "--subnet", f"10.{second}.{number}.0/24", network, quiet=True)


def create_host(host: str) -> None:
    """Start one host if it is not there yet."""
    name, recipe, number = container_name(host), RECIPES["hosts"][host], lab_number()
    if run("podman", "container", "exists", name, check=False).returncode == 0:
        run("podman", "start", name, quiet=True)
        return
    limits = []
    if not may_raise_limits():
        limits = ["--cgroups=disabled", "--ulimit=nofile=20000:20000", "--ulimit=nproc=4096:4096"]
    PACKAGES.mkdir(parents=True, exist_ok=True)
    volumes = [f"--volume={name}-{volume}:{path}" for volume, path in recipe["volumes"].items()]
    octet = recipe["octet"]
    argv = ["podman", "run", "--detach", "--name", name, "--hostname", host, "--systemd=always", "--runtime=crun"]
    argv += ["--cap-add=NET_ADMIN,NET_RAW,SYS_NICE", "--security-opt=seccomp=unconfined", *limits, *volumes]
    argv += [f"--volume={PACKAGES}:/srv/packages:ro"]
    argv += [f"--network=holdfast{number}-public:ip=10.204.{number}.{octet},interface_name=public0"]
    argv += [f"--network=holdfast{number}-private:ip=10.203.{number}.{octet},interface_name=private0"]
    argv += ["--label", f"holdfast-lab={number}", image_tag(recipe["image"]), "/sbin/init"]
    run(*argv, quiet=True)


def wait_for_host(host: str, limit_seconds: float = 60) -> None:
    """Wait until systemd of a host has finished booting. Raises LabError with the failed units if it does not."""
    name, deadline, state = container_name(host), time.monotonic() + limit_seconds, ""
    while time.monotonic() < deadline:
        done = run("podman", "exec", name, "systemctl", "is-system-running", check=False, quiet=True)
        state = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
        if state in ("running", "degraded"):
            return
        time.sleep(0.3)
    failed = run("podman", "exec", name, "systemctl", "--failed", "--no-legend", check=False, quiet=True).stdout
    raise LabError(f"{host} did not finish booting in {limit_seconds:.0f} s (state: {state or 'none'})\n{failed}")


def selected(hosts: list[str]) -> list[str]:
    """Return the named hosts, or all. Raises LabError for a name that the lab does not have."""
    unknown = [host for host in hosts if host not in RECIPES["hosts"]]
    if unknown:
        raise LabError(f"no host {unknown[0]!r} in the lab; there are: {', '.join(RECIPES['hosts'])}")
    return hosts or list(RECIPES["hosts"])


def up(hosts: list[str]) -> None:
    """Build what is missing and start the hosts."""
    for base in dict.fromkeys(RECIPES["hosts"][host]["image"] for host in hosts):
        build_image(base)
    with locked("podman-create"):
        create_networks()
        for host in hosts:
            create_host(host)
    for host in hosts:
        wait_for_host(host)
    say(f"lab {lab_number()} is up: " + ", ".join(f"{host} {private_address(host)}" for host in hosts))


def down(hosts: list[str], every: bool) -> None:
    """Remove the hosts with their volumes; with all hosts gone, the networks too."""
    for host in hosts:
        name = container_name(host)
        run("podman", "rm", "--force", "--time=0", "--volumes", name, check=False, quiet=True)
        for volume in RECIPES["hosts"][host]["volumes"]:
            run("podman", "volume", "rm", "--force", f"{name}-{volume}", check=False, quiet=True)
    if every:
        for network in ("private", "public"):
            run("podman", "network", "rm", "--force", f"holdfast{lab_number()}-{network}", check=False, quiet=True)
    say(f"lab {lab_number()}: removed {', '.join(hosts)}")


def status() -> None:
    """Print one line a host: is it there, does systemd run, does MySQL run and is it read-only."""
    for host in RECIPES["hosts"]:
        name = container_name(host)
        if run("podman", "container", "exists", name, check=False).returncode != 0:
            print(f"{host:6} absent (make lab-up)")
            continue
        query = "mysql -N -e \"select if(@@super_read_only,'read-only','WRITABLE'), @@version\" 2>/dev/null || echo no mysql"
        script = f"systemctl is-system-running | tr '\\n' ' '; {query}"
        line = run("podman", "exec", name, "sh", "-c", script, check=False, quiet=True).stdout.strip()
        print(f"{host:6} {private_address(host):14} {line}")


def collect_logs(folder: Path) -> None:
    """Save journal, MySQL's error log and service states of every host in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        "systemctl --failed --no-legend; journalctl --no-pager -n 2000; "
        "for f in /var/log/mysql/*.log /var/log/syslog; do test -r $f && echo \"== $f\" && tail -n 1000 $f; done"
    )
    for host in RECIPES["hosts"]:
        name = container_name(host)
        if run("podman", "container", "exists", name, check=False).returncode == 0:
            with (folder / f"{host}.log").open("w") as log:
                subprocess.run(["podman", "exec", name, "sh", "-c", script], stdout=log, stderr=log, check=False)
    say(f"logs of all hosts are in {folder}")


def say(message: str) -> None:
    """Print a line of progress."""
    print(f"lab: {message}", flush=True)


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the command line's parts."""
    parser = argparse.ArgumentParser(prog="lab.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("images", "build the images"), ("status", "one line a host")):
        commands.add_parser(name, help=text)
    for name, text in (("up", "start hosts"), ("down", "remove hosts and their data")):
        commands.add_parser(name, help=text).add_argument("hosts", nargs="*")
    commands.add_parser("logs", help="collect logs").add_argument("folder", type=Path)
    commands.add_parser("shell", help="a root shell on a host").add_argument("host")
    commands.add_parser("enter", help="run a command in the lab's namespace").add_argument("argv", nargs="+")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run one command of the lab; return its exit status."""
    arguments = parse(argv)
    if INSIDE not in os.environ:
        enter([sys.executable, str(Path(__file__).resolve()), *argv])
    if arguments.command == "enter":
        os.execvp(arguments.argv[0], arguments.argv)
    if arguments.command == "shell":
        (host,) = selected([arguments.host])
        os.execvp("podman", ["podman", "exec", "-it", container_name(host), "bash", "-l"])
    if arguments.command == "images":
        for base in RECIPES["images"]:
            build_image(base)
    elif arguments.command == "up":
        up(selected(arguments.hosts))
    elif arguments.command == "down":
        down(selected(arguments.hosts), every=not arguments.hosts)
    elif arguments.command == "logs":
        collect_logs(arguments.folder)
    else:
        status()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
