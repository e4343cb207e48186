"""The real site behind fence, promotion and manager: ways to hosts and guards, the keeper, Robot; by configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.config import Config
from holdfast.config_failover import DatabaseHostConfig, FailoverConfig
from holdfast.errors import ConfigurationError, ToolError, UsageError
from holdfast.failover.https import call
from holdfast.failover.keeper_client import KeeperClient
from holdfast.failover.parties import Host, Route, Site, Times
from holdfast.failover.record import Instance
from holdfast.failover.robot import Robot
from holdfast.failover.sql import AdminSession, log_in
from holdfast.failover.wire import GuardReport, from_json

CONNECT_SECONDS = 2.0  # a private network answers in milliseconds; whoever needs longer is dead, frozen or cut off
KEEPER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class NetworkRoute:
    """A way to a database host by address and ports; through a relay they are the relay's."""

    label: str
    failover: FailoverConfig
    host: str
    address: str
    admin_port: int
    guard_port: int

    def connect(self) -> AdminSession:
        """Log in as the fence. Raises DatabaseError."""
        return log_in(
            self.failover.fence_account_file,
            self.failover.tls.ca_file,
            self.address,
            self.admin_port,
            connect_seconds=CONNECT_SECONDS,
            statement_seconds=self.failover.timing.fence_step_seconds,
        )

    def report(self) -> GuardReport:
        """Ask its guard. Raises UnreachableError, RefusedError, WireError."""
        report = from_json(GuardReport, self._call("GET", "/report", None, CONNECT_SECONDS))
        if report.host != self.host:
            raise ToolError(f"the guard {self.label} of {self.host} says that it is {report.host}'s")
        return report

    def kill(self, term: int) -> Instance | None:
        """Let its guard end mysqld. Raises ToolError unless it says that it ended."""
        answer = self._call("POST", "/kill", {"term": term}, self.failover.timing.fence_step_seconds)
        if answer.get("killed") is not True:
            raise ToolError(f"its guard did not end mysqld: {str(answer.get('text', ''))[:200]}")
        instance = answer.get("instance")
        return None if instance is None else from_json(Instance, instance, "instance")

    def _call(self, method: str, path: str, document: dict[str, object] | None, seconds: float) -> dict[str, object]:
        return call(self.address, self.guard_port, method, path, document, self.failover.tls, self.host, seconds)


def site_of(config: Config, say: Callable[[str], None]) -> Site:
    """Everybody, as this host reaches them. Raises ConfigurationError on a host that is not the manager's."""
    failover = config.failover
    if config.host != failover.keeper.host:
        raise ConfigurationError(
            f"{config.host} does not manage failovers: {failover.keeper.host} does",
            meaning="Keeper, fence and manager run on exactly one host; a second one would be refused by everybody.",
            remedy=f"Run it on {failover.keeper.host}.",
        )
    timing = failover.timing
    robot = failover.robot
    return Site(
        keeper=KeeperClient(failover, config.host, KEEPER_SECONDS),
        hosts={host.name: Host(host.name, _routes(failover, host)) for host in failover.database_hosts},
        power=None if robot is None else Robot(robot.api_url, robot.account_file, robot.servers),
        times=Times(
            fence_step_seconds=timing.fence_step_seconds,
            drain_seconds=timing.drain_seconds,
            heartbeat_window_seconds=timing.heartbeat_window_seconds,
            tick_seconds=timing.tick_seconds,
        ),
        say=say,
    )


def host_named(failover: FailoverConfig, text: str) -> str:
    """Return the name of a database host that a person or Replication Manager gave, by name or address.

    Raises UsageError, which names those that are known.
    """
    for host in failover.database_hosts:
        if text in (host.name, host.address):
            return host.name
    known = ", ".join(f"{host.name} ({host.address})" for host in failover.database_hosts)
    raise UsageError(
        f"{text!r} is no database host of this site",
        meaning="Nothing was done.",
        remedy=f"It has {known}: give one of these names or addresses.",
    )


def _routes(failover: FailoverConfig, host: DatabaseHostConfig) -> tuple[Route, ...]:
    direct = NetworkRoute("directly", failover, host.name, host.address, host.admin_port, host.guard_port)
    relays = (
        NetworkRoute(
            f"through {peer.name}", failover, host.name, peer.address, peer.relay_admin_port, peer.relay_guard_port
        )
        for peer in failover.database_hosts
        if peer is not host
    )
    return (direct, *relays)
