"""A pair with guards as the suite sees it: who is who by the record, whether all is well, how it becomes well again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from support import guarded
from support.hosts import CommandError, Host, Lab, wait_until
from support.playbooks import on_the_suites_site

CONFIGURATION = "/etc/holdfast/config.yml"
MEMORY = "/var/lib/holdfast/state/failover"
TOLD = "/var/lib/holdfast/told"
MANAGERS = {"mysql_failover": "mysql-failover", "replication_manager": "replication-manager"}
PROXIES = ("haproxy", "proxysql")
GONE_SECONDS = 5.0


@dataclass(frozen=True)
class Roles:
    """Who is who by the record."""

    primary: Host
    replica: Host


class Pair:
    """The lab's pair, its keeper and its manager. All is read from the hosts; nothing is remembered but uuids."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.rebuilt: list[str] = []

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The section `failover` of the keeper's host."""
        found: dict[str, Any] = yaml.safe_load(self.lab.app1.read(CONFIGURATION))["failover"]
        return found

    def seconds(self, name: str) -> float:
        """Return one of the site's times, in seconds."""
        return float(self.configuration["timing"][name])

    @property
    def detection_seconds(self) -> float:
        """How long a primary must be silent before it counts as dead."""
        return self.seconds("silence_seconds") + self.seconds("heartbeat_window_seconds")

    @property
    def manager_unit(self) -> str:
        """The unit of the site's failover manager."""
        return MANAGERS[self.configuration["manager"]]

    @cached_property
    def proxy_unit(self) -> str:
        """The unit of the site's proxy."""
        active = [u for u in PROXIES if self.lab.app1.run("systemctl", "is-active", u, check=False).status == 0]
        if len(active) != 1:
            raise CommandError(f"app1 runs {active or 'no proxy'}, expected one of {PROXIES}")
        return active[0]

    @cached_property
    def uuids(self) -> dict[str, str]:
        """server_uuid by host name; they outlive a clone."""
        return {host.name: guarded.uuid_of(host) for host in self.lab.servers}

    def record(self) -> dict[str, Any]:
        """Return the keeper's record."""
        return guarded.record(self.lab)

    def term(self) -> int:
        """Return the record's term."""
        return int(self.record()["term"])

    def host_of(self, server_uuid: str) -> Host:
        """Return the host of a server."""
        return next(host for host in self.lab.servers if self.uuids[host.name] == server_uuid)

    def other(self, host: Host) -> Host:
        """Return the other database host."""
        return self.lab.db2 if host.name == "db1" else self.lab.db1

    def roles(self) -> Roles:
        """Return who is who by the record."""
        primary = self.host_of(self.record()["primary"])
        return Roles(primary, self.other(primary))

    def in_sync(self) -> str:
        """Return the name of the host that is in sync, empty for none."""
        named = self.record()["in_sync"]
        return self.host_of(named["server_uuid"]).name if named else ""

    def unwell(self) -> str:
        """Say what is not as it should be, empty when all is well."""
        try:
            return self._unwell()
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:300]}"

    def _unwell(self) -> str:
        record, roles = self.record(), self.roles()
        replica = guarded.report(roles.replica)
        if not record["opened"]:
            return "a promotion is under way"
        if guarded.switches(roles.primary) != (0, 0, 1):
            return f"{roles.primary.name}, the primary, has the switches {guarded.switches(roles.primary)}"
        if guarded.switches(roles.replica) != (1, 0, 0):
            return f"{roles.replica.name}, the replica, has the switches {guarded.switches(roles.replica)}"
        if not record["in_sync"]:
            return "nobody is in sync"
        if not replica["server"] or replica["server"]["instance"] != record["in_sync"]:
            return "the record names another mysqld in sync than the one that runs"
        if not (replica["io_connected"] and replica["server"]["applying"]):
            return f"{roles.replica.name} does not replicate"
        return ""

    def wait_until_well(self, limit_seconds: float = 60) -> None:
        """Wait until all is well. Raises CommandError with what is not."""
        deadline = time.monotonic() + limit_seconds
        while problem := self.unwell():
            if time.monotonic() > deadline:
                raise CommandError(f"not well after {limit_seconds:.0f} s: {problem}")
            time.sleep(0.5)

    def errant(self, host: Host) -> str:
        """Return what only this server has of the pair; empty when it has nothing of its own."""
        mine = host.executed()
        return self.other(host).value(f"SELECT REPLACE(GTID_SUBTRACT('{mine}', @@global.gtid_executed), '\\n', '')")

    def rebuild(self, host: Host) -> None:
        """Make a server that stays out a replica again, by the playbook, as a person would. Raises CommandError."""
        done = on_the_suites_site("rebuild_replica", expect=None, rebuild_host=host.name, confirm=host.name)
        if done.status != 0:
            raise CommandError(f"{host.name} was not rebuilt:\n{done.text[-6000:]}")
        self.rebuilt.append(host.name)

    def settle(self, limit_seconds: float = 75) -> None:
        """Wait until all is well; a server that came back with errant transactions is rebuilt on the way.

        Raises CommandError with what is not well.
        """
        deadline = time.monotonic() + limit_seconds
        out_since: float | None = None
        while problem := self.unwell():
            now = time.monotonic()
            if self._errant_replica():
                out_since = out_since or now
                if now - out_since > GONE_SECONDS:
                    self.rebuild(self.roles().replica)
                    out_since, deadline = None, time.monotonic() + limit_seconds
            else:
                out_since = None
            if now > deadline:
                raise CommandError(f"not well after {limit_seconds:.0f} s: {problem}")
            time.sleep(0.5)

    def _errant_replica(self) -> bool:
        try:
            roles = self.roles()
            if not self.record()["opened"] or guarded.switches(roles.primary)[:2] != (0, 0):
                return False
            report = guarded.report(roles.replica)
            attached = report["server"] and report["server"]["source_of_channel"] and report["server"]["receiving"]
            return not attached and bool(self.errant(roles.replica))
        except Exception:
            return False

    def open_primary(self) -> Host | None:
        """Return the record's primary if it takes writes, None while it does not."""
        try:
            primary = self.roles().primary
            return primary if self.record()["opened"] and guarded.switches(primary)[:2] == (0, 0) else None
        except Exception:
            return None

    def wait_for_promotion(self, term: int, limit_seconds: float) -> Host:
        """Wait until a later term's primary takes writes; return it."""
        wait_until(
            lambda: self.open_primary() is not None and self.term() > term,
            f"a primary of a term after {term} takes writes", limit_seconds=limit_seconds,
        )  # fmt: skip
        return self.roles().primary

    def last(self) -> dict[str, Any]:
        """Return what the manager's host remembers of the last promotion; empty before it has noted the first."""
        text = self.lab.app1.run("sh", "-c", f"cat {MEMORY}/last.json 2>/dev/null || true").out
        found: dict[str, Any] = json.loads(text or "{}")
        return found

    def order(self, *arguments: str) -> str:
        """Give the failover program an order, by a person on app1; return what it said. Raises CommandError."""
        return self.lab.app1.run("mysql-failover", *arguments).text

    def switch_over(self) -> None:
        """Have primary and replica change places."""
        program = "mysql-failover" if self.manager_unit == "mysql-failover" else "mysql-repman"
        self.lab.app1.run(program, "switchover")

    def have_led_by(self, host: Host) -> None:
        """Have all well with this host as the primary. Raises CommandError."""
        self.settle()
        if self.roles().primary is not host:
            self.switch_over()
            self.settle()

    def told(self, host: Host) -> str:
        """Return what a host told people since `forget_told`."""
        return host.run("sh", "-c", f"cat {TOLD} 2>/dev/null || true").out

    def forget_told(self) -> None:
        """Empty the files of messages."""
        for host in (*self.lab.servers, self.lab.app1):
            host.run("rm", "-f", TOLD, check=False)
