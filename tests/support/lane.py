"""A lane of the fault matrix: a site of its own on one host, with a way of its own to the store, through a proxy."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support import faults
from support.fault_proxy import FaultProxy
from support.hosts import Host, Lab, Result, exit_status, wait_until
from support.s3_signature import Key
from support.site import Site
from support.small_servers import SmallServer

BUCKET = "/srv/store/holdfast-lab"  # where the lab's store keeps it
SUFFIX = ".bin"  # rclone's crypt adds it where names stay readable
LISTENING = "10.203.{}.1"  # this machine, on the private network
# in the test of a fault nobody waits longer than he must
IMPATIENT = {"store": {"timeout_seconds": 4}}


class Lane:
    """What one job needs to be run, broken and run again, while other lanes do the same."""

    def __init__(self, lab: Lab, host: Host, job: str, server: SmallServer | None = None) -> None:
        """Without a server the host has no part in MySQL, as the host that cleans up."""
        self.lab, self.host, self.server = lab, host, server
        self.site = Site(lab, f"m-{job}", self._changes(job, host, server))
        self.folder = self.site.folder
        self.proxy: FaultProxy
        self.busy: list[subprocess.Popen[bytes]] = []

    def _changes(self, job: str, host: Host, server: SmallServer | None) -> dict[str, Any]:
        folder = f"/var/lib/holdfast/m-{job}"
        changes: dict[str, Any] = {
            "store": {"rclone_config_file": f"{folder}/rclone.conf", "attempts": 2, "retry_wait_seconds": 0},
            "failover": None,
        }
        if server is None:
            return {**changes, "mysql": None, "backup": None, "recovery": None}
        return {
            **changes,
            "mysql": {
                "socket": server.socket,
                "data_directory": server.data,
                "backup_account_file": server.account,
            },
            # several segments of a few megabytes, one at a time, so that a run can be met half way
            "backup": {"segment_bytes": 1 << 20, "upload_parallel": 1},
            "watch": {"speaker": host.name, "database_hosts": [host.name], "clock_peers": []},
        }

    def install(self) -> None:
        """Make folders, configuration, and the proxy with a remote that leads through it."""
        site, host = self.site, self.host
        site.rclone(host, "purge", site.remote, check=False)
        folders = " ".join(f"{self.folder}/{name}" for name in ("state", "spool", "signatures"))
        host.shell(
            f"rm -rf {self.folder}; install -d -m 0755 {self.folder}; install -d -m 0700 {folders}\n"
            + (
                f"install -d -m 0750 -o mysql -g mysql {self.folder}/staging {self.folder}/restore\n"
                if self.server
                else ""
            )
        )
        kept = host.read(str(site.provisioned(host)["store"]["rclone_config_file"]))
        options = dict(re.findall(r"(?m)^(\w+) = (.*)$", kept.partition("[offsite]")[0]))
        key = Key(options["access_key_id"], options["secret_access_key"])
        upstream = options["endpoint"].removeprefix("http://")
        self.proxy = FaultProxy(LISTENING.format(host.address.split(".")[2]), upstream, key)
        host.write(f"{self.folder}/rclone.conf", kept.replace(options["endpoint"], self.proxy.url), "0600")
        site.configure(host)
        site.configure(host, IMPATIENT, "-impatient")

    def remove(self) -> None:
        """End what runs, and remove the lane from host and store."""
        self.end()
        self.proxy.close()
        self.site.rclone(self.host, "purge", self.site.remote, check=False)
        self.host.shell(f"rm -rf {self.folder} /etc/holdfast/test-{self.site.name}*.yml")

    def run(self, program: str, *arguments: str, variant: str = "", expect: int | None = 0) -> Result:
        """Run a program of the lane. AssertionError unless it exits as expected."""
        return self.site.run(self.host, program, *arguments, config=self.site.path(variant), expect=expect)

    def start(self, program: str, *arguments: str, variant: str = "") -> subprocess.Popen[bytes]:
        """Start a program of the lane."""
        job = self.host.start(*self.site.command(program, *arguments, config=self.site.path(variant)))
        self.busy.append(job)
        return job

    def ended(self, job: subprocess.Popen[bytes], expect: int, limit_seconds: float = 90) -> str:
        """Wait for a program that was started; what it said. AssertionError unless it exits as expected."""
        out, err = job.communicate(timeout=limit_seconds)
        self.busy.remove(job)
        text = (out + err).decode(errors="replace")
        status = exit_status(job.returncode)
        assert status == expect, f"exited {status}, expected {expect}\n{text[-3000:]}"
        return text

    def pid(self, program: str) -> int:
        """The process of the lane's program. AssertionError unless there is exactly one."""
        found = faults.pids(self.host, f"{program} --config {self.site.path()[:-4]}")
        assert len(found) == 1, f"{len(found)} processes of {program}"
        return found[0]

    def kill_child(self, parent: int, pattern: str) -> None:
        """Kill -9 every child of a process whose command line matches. AssertionError when there is none."""
        found = self.host.run("pgrep", "-P", str(parent), "-f", "--", pattern, check=False).out.split()
        assert found, f"process {parent} has no child {pattern!r}"
        self.host.run("kill", "-KILL", *found, check=False)

    @property
    def processes(self) -> list[int]:
        """What runs of the lane."""
        return faults.pids(self.host, f"{self.folder}/(rclone|staging|restore)|{self.site.path()[:-4]}")

    def nothing_runs(self) -> None:
        """Wait until no process of the lane is left. CommandError after some seconds."""
        wait_until(lambda: not self.processes, f"{self.site.name}: every process is gone", limit_seconds=15)

    def end(self) -> None:
        """Kill -9 what runs, so that one cell that went wrong does not spoil the next."""
        if found := self.processes:
            self.host.run("kill", "-KILL", *map(str, found), check=False)
        for job in self.busy:
            job.communicate(timeout=30)
        self.busy.clear()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold one of the lane's locks for the time of the block."""
        unit = f"holdfast-test-lock-{self.site.name}"
        lock = f"{self.folder}/state/{name}.lock"
        self.host.run("systemd-run", "--quiet", "--collect", f"--unit={unit}", "flock", lock, "sleep", "300")
        try:
            held = ("flock", "--nonblock", lock, "true")
            wait_until(lambda: self.host.run(*held, check=False).status != 0, f"{lock} is held")
            yield
        finally:
            self.host.run("systemctl", "stop", unit, check=False)

    @contextmanager
    def full_disk(self, folder: str) -> Iterator[None]:
        """Put a full disk in the place of one of the lane's folders, with what was in it."""
        path = f"{self.folder}/{folder}"
        self.host.run("cp", "-a", path, f"{path}.kept")
        try:
            with faults.small_disk(self.host, path, 1 << 20):
                self.host.run(
                    "sh", "-c", f"cp -a {path}.kept/. {path}/; cat /dev/zero > {path}/filler 2>/dev/null || true"
                )
                yield
        finally:
            self.host.run("rm", "-rf", f"{path}.kept")

    def objects(self) -> set[str]:
        """The names of the lane's objects, as the store has them on its disk."""
        find = ("find", f"{BUCKET}/{self.site.name}", "-type", "f", "-printf", r"%P\n")
        names = self.lab.store.run(*find, check=False).out.splitlines()
        return {name.removesuffix(SUFFIX) for name in names}

    def messages(self) -> str:
        """What people were told so far."""
        return self.site.messages(self.host)
