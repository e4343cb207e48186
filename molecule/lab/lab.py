#!/usr/bin/env python3
"""Make, enter and remove the lab: four real hosts (systemd, own addresses) in podman containers.

The one tool for the lab's machines. `make` and molecule's create/destroy call it; it is never shipped to a host.
Runs on the controller with the standard library alone, so that it works before the virtualenv exists.

Environment:
    HOLDFAST_LAB       number of the lab, 1..250 (default 1): several labs can stand side by side.
    HOLDFAST_CACHE     where images and container storage live (default ~/.cache/holdfast).
    HOLDFAST_RUN       where what lives until the next boot lies (default /run/holdfast-lab).
    HOLDFAST_PACKAGES  folder of vendor .deb files, mounted read-only into each host (default <cache>/packages).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from images import build_image, image_tag
from space import (
    CACHE,
    CGROUPS,
    INSIDE,
    PACKAGES,
    RECIPES,
    LabError,
    container_name,
    enter,
    lab_number,
    locked,
    may_raise_limits,
    output_of,
    private_address,
    run,
    say,
)


def create_networks() -> None:
    """Make the private VLAN (no way out) and the public network (by which packages come) of this lab."""
    number = lab_number()
    for name, second, options in (("private", 203, ["--internal"]), ("public", 204, [])):
        network = f"holdfast{number}-{name}"
        if run("podman", "network", "exists", network, check=False).returncode != 0:
            remove_bridge(f"10.{second}.{number}.1")
            run("podman", "network", "create", *options, "--subnet", f"10.{second}.{number}.0/24", network, quiet=True)


def remove_bridge(address: str) -> None:
    """Remove the bridge with this address, if there is one.

    Podman takes a network's bridge away with its last container. After everything that a session left running was
    killed it does not, and then refuses the network: "subnet is already used on the host" (seen).
    """
    for link in json.loads(output_of("ip", "-json", "-4", "address", "show", "type", "bridge") or "[]"):
        if any(entry.get("local") == address for entry in link.get("addr_info", [])):
            run("ip", "link", "delete", link["ifname"], quiet=True)


def in_own_cgroup(name: str, argv: list[str]) -> list[str]:
    """Return a command line that starts a container in a cgroup of its own, where podman itself cannot make one.

    Without it the systemds of all hosts share one tree: each removes the others' empty cgroups ("Failed to spawn
    executor: No such file or directory"), and a kill of one host's mysql.service could reach every host's.
    """
    if may_raise_limits():
        return argv
    script = 'mkdir -p "$0" && echo $$ > "$0/cgroup.procs" && exec "$@"'
    return ["sh", "-c", script, str(CGROUPS / name), *argv]


def remove_cgroup(name: str) -> None:
    """Remove what is left of a host's cgroups, leaves first; one that a dying process still holds stays, empty."""
    folders = [folder for folder in (CGROUPS / name).rglob("*") if folder.is_dir()]
    for folder in [*sorted(folders, reverse=True), CGROUPS / name]:
        with contextlib.suppress(OSError):
            folder.rmdir()


def create_host(host: str) -> None:
    """Start one host if it is not there yet."""
    name, recipe, number = container_name(host), RECIPES["hosts"][host], lab_number()
    if run("podman", "container", "exists", name, check=False).returncode == 0:
        run(*in_own_cgroup(name, ["podman", "start", name]), quiet=True)
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
    run(*in_own_cgroup(name, argv), quiet=True)


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


def admit(host: str) -> None:
    """Let the lab's own SSH key in as root: playbooks reach the lab the way they reach production."""
    key = CACHE / "lab-ssh-key"
    with locked("ssh-key"):
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "holdfast-lab", "-f", str(key), quiet=True)
    public = key.with_suffix(".pub").read_text()
    script = "install -d -m 0700 /root/.ssh && umask 077 && cat > /root/.ssh/authorized_keys"
    run("podman", "exec", "-i", container_name(host), "sh", "-c", script, input=public, stdout=subprocess.PIPE)


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
        admit(host)
    say(f"lab {lab_number()} is up: " + ", ".join(f"{host} {private_address(host)}" for host in hosts))


def down(hosts: list[str], every: bool) -> None:
    """Remove the hosts with their volumes; with all hosts gone, the networks too."""
    for host in hosts:
        name = container_name(host)
        run("podman", "rm", "--force", "--time=0", "--volumes", name, check=False, quiet=True)
        remove_cgroup(name)
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
        query = "select if(@@super_read_only, 'read-only', 'WRITABLE'), @@version"
        script = f"systemctl is-system-running | tr '\\n' ' '; mysql -N -e \"{query}\" 2>/dev/null || echo no mysql"
        line = run("podman", "exec", name, "sh", "-c", script, check=False, quiet=True).stdout.strip()
        print(f"{host:6} {private_address(host):14} {line}")


def collect_logs(folder: Path) -> None:
    """Save journal, MySQL's error log and service states of every host in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        "systemctl --failed --no-legend; journalctl --no-pager -n 2000; "
        'for f in /var/log/mysql/*.log /var/log/syslog; do test -r $f && echo "== $f" && tail -n 1000 $f; done'
    )
    for host in RECIPES["hosts"]:
        name = container_name(host)
        if run("podman", "container", "exists", name, check=False).returncode == 0:
            with (folder / f"{host}.log").open("w") as log:
                subprocess.run(["podman", "exec", name, "sh", "-c", script], stdout=log, stderr=log, check=False)
    say(f"logs of all hosts are in {folder}")


def clean() -> None:
    """Remove the hosts of every lab, the images and the rest of the cache."""
    for name in output_of("podman", "ps", "--all", "--quiet", "--filter", "label=holdfast-lab").split():
        run("podman", "rm", "--force", "--time=0", "--volumes", name, check=False, quiet=True)
    for network in output_of("podman", "network", "ls", "--quiet", "--filter", "name=^holdfast").split():
        run("podman", "network", "rm", "--force", network, check=False, quiet=True)
    shutil.rmtree(CACHE)
    say(f"removed {CACHE}")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the command line's parts."""
    parser = argparse.ArgumentParser(prog="lab.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("images", "build the images"),
        ("status", "one line a host"),
        ("clean", "remove all, the cache too"),
    ):
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
    elif arguments.command == "clean":
        clean()
    else:
        status()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
