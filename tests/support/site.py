"""A site of its own on the lab's hosts: the provisioned configuration with another cluster name, state and folders.

What one test archives is then invisible to the next, and none of them touches what the demo or cron has in the store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from support.hosts import Host, Lab, Result

CONFIGURATION = "/etc/holdfast/config.yml"
BASE = "/var/lib/holdfast"
STREAM_UNIT = "holdfast-binlog-stream.service"
Overrides = Mapping[str, Any]


def merged(base: Mapping[str, Any], changes: Overrides) -> dict[str, Any]:
    """Return a configuration with changes; a mapping is merged, the value `...` removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if value is ...:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Site:
    """Programs of the hosts, run with this site's configuration."""

    def __init__(self, lab: Lab, name: str, changes: Overrides | None = None) -> None:
        """Name the site ([a-z0-9-]+: its folder in the store); `changes` are made to the hosts' configuration."""
        self.lab, self.name = lab, name
        self.folder = f"{BASE}/{name}"
        self.changes = dict(changes or {})
        self._documents: dict[str, dict[str, Any]] = {}

    def install(self) -> None:
        """Remove what an earlier run left, in the store too; make folders and configuration on both servers.

        Old binlogs are purged: each site would archive all of them again. The hosts' own stream rests meanwhile: tests
        count and kill processes by what they are called.
        """
        self.lab.wait_for_replica()
        for host in self.lab.servers:
            host.run("systemctl", "stop", STREAM_UNIT)
            host.sql("FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW(6)")
            self.configure(host)
            host.shell(
                f"rm -rf {self.folder}; install -d -m 0755 {self.folder}\n"
                f"install -d -m 0700 {self.folder}/state {self.folder}/spool {self.folder}/signatures\n"
                f"install -d -m 0750 -o mysql -g mysql {self.folder}/staging {self.folder}/restore\n"
            )
        self.rclone(self.lab.db2, "purge", self.remote, check=False)

    def remove(self) -> None:
        """Remove the site from hosts and store."""
        self.rclone(self.lab.db2, "purge", self.remote, check=False)
        for host in self.lab.servers:
            host.run("rm", "-rf", self.folder, f"{self.folder}/staging", f"{self.folder}/restore", self.path())
            host.run("systemctl", "start", STREAM_UNIT)

    def path(self, variant: str = "") -> str:
        """Return the path of the site's configuration on a host, or of a variant of it."""
        return f"/etc/holdfast/test-{self.name}{variant}.yml"

    def provisioned(self, host: Host) -> dict[str, Any]:
        """Return the configuration that the playbooks wrote; read once."""
        if host.name not in self._documents:
            self._documents[host.name] = yaml.safe_load(host.read(CONFIGURATION))
        return self._documents[host.name]

    def document(self, host: Host) -> dict[str, Any]:
        """Return the configuration of this site on a host."""
        base = self.provisioned(host)
        own = {
            "cluster": self.name,
            "state_directory": f"{self.folder}/state",
            "backup": {
                "spool_directory": f"{self.folder}/spool",
                "signatures_directory": f"{self.folder}/signatures",
                "staging_directory": f"{self.folder}/staging",
            },
            "recovery": {"directory": f"{self.folder}/restore"},
            "store": {"attempts": 3, "retry_wait_seconds": 1},
            "notifications": {"telegram": None, "command": ["tee", "-a", f"{self.folder}/messages"]},
        }
        return merged(merged(base, own), self.changes)

    def configure(self, host: Host, changes: Overrides | None = None, variant: str = "") -> str:
        """Write the configuration, with further changes under a variant's name; return its path."""
        document = merged(self.document(host), changes or {})
        host.write(self.path(variant), yaml.safe_dump(document), "0640")
        return self.path(variant)

    def run(self, host: Host, program: str, *arguments: str, config: str = "", expect: int | None = 0) -> Result:
        """Run a program with this site's configuration. AssertionError unless it exits as expected (None: any way)."""
        result = host.run(*self.command(program, *arguments, config=config), check=False, timeout_seconds=300)
        if expect is not None:
            shown = f"{program} {' '.join(arguments)} on {host.name} exited {result.status}, expected {expect}"
            assert result.status == expect, f"{shown}\n{result.text[-6000:]}"
        return result

    def command(self, program: str, *arguments: str, config: str = "") -> list[str]:
        """Return a program's command line."""
        return [program, "--config", config or self.path(), *arguments]

    def messages(self, host: Host) -> str:
        """Return what the programs told people so far (the site's notification command writes it to a file)."""
        return host.run("sh", "-c", f"cat {self.folder}/messages 2>/dev/null || true").out

    def rclone(self, host: Host, *arguments: str, check: bool = True, stdin: bytes | None = None) -> Result:
        """Run rclone on a host with the host's own remotes."""
        secrets = self.provisioned(host)["store"]["rclone_config_file"]
        return host.run("rclone", "--config", secrets, "--retries", "1", *arguments, check=check, stdin=stdin)

    @property
    def remote(self) -> str:
        """Return rclone's name of the site's folder."""
        base = str(self.provisioned(self.lab.db2)["store"]["remote"])
        return f"{base}{self.name}" if base.endswith((":", "/")) else f"{base}/{self.name}"

    def objects(self, pattern: str = "") -> list[str]:
        """Return the names of the site's objects that match a regular expression, sorted."""
        done = self.rclone(self.lab.db2, "lsf", "-R", "--files-only", self.remote, check=False)
        return sorted(name for name in done.out.splitlines() if re.search(pattern, name))

    def json(self, name: str) -> dict[str, Any]:
        """Return a JSON object of the store."""
        document: dict[str, Any] = json.loads(self.rclone(self.lab.db2, "cat", f"{self.remote}/{name}").out)
        return document

    def manifests(self) -> list[dict[str, Any]]:
        """Return every manifest, oldest first."""
        return [self.json(name) for name in self.objects(r"^backups/.*/manifest\.json$")]
