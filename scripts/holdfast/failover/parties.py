"""Whom fence and promotion talk to: servers by SQL, guards, the keeper, Robot. Tests put fakes in their place.

Every method raises ToolError (DatabaseError for SQL) when the other side does not answer in time, refuses or answers
nonsense. A session that raised is gone: nobody goes on in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.failover.protocol import Server
from holdfast.failover.record import Instance, Record, SwapAnswer, SwapRequest
from holdfast.failover.wire import GuardReport
from holdfast.gtid import GtidSet


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a replica hears its source: `connected` now, `age_seconds` since anything came, None if nothing ever did."""

    connected: bool
    age_seconds: float | None

    def within(self, window_seconds: float) -> bool:
        """Whether something came within that time over a connection that still stands."""
        return self.connected and self.age_seconds is not None and self.age_seconds < window_seconds


class Session(Protocol):
    """One SQL session on a server's administrative port."""

    def look(self, instance: Instance | None = None) -> Server:
        """Return how the server shows itself; the instance is the caller's, SQL does not tell it."""

    def executed(self) -> GtidSet:
        """Return what the server has committed."""

    def received(self) -> GtidSet:
        """Return what the server has, whole transactions only: committed or in its relay log."""

    def hearing(self) -> Hearing:
        """Return how the server hears its source."""

    def go_offline(self) -> None:
        """offline_mode=ON."""

    def kill_others(self) -> int:
        """End every other session whatever its rights; the number of those killed."""

    def set_source(self, enabled: bool) -> None:
        """rpl_semi_sync_source_enabled."""

    def set_read_only(self, timeout_seconds: float) -> None:
        """super_read_only=ON; raises when it has not returned within that time."""

    def stop_receiving(self) -> None:
        """STOP REPLICA IO_THREAD."""

    def start_applying(self) -> None:
        """START REPLICA SQL_THREAD: what was received is applied, nothing is fetched."""

    def applier_error(self) -> str:
        """Return why the applier stopped, empty when it gave no reason."""

    def detach(self) -> None:
        """STOP REPLICA, RESET REPLICA ALL."""

    def events(self) -> dict[str, str]:
        """Return the scheduled events, as `schema`.`name` quoted, with their STATUS."""

    def enable_event(self, event: str) -> None:
        """Enable one of them; its definer stays."""

    def close(self) -> None:
        """End the session; never raises."""


class Route(Protocol):
    """One way to a database host: straight, or through the relay of another."""

    @property
    def label(self) -> str:
        """How people call it."""

    def connect(self) -> Session:
        """Log in by SQL."""

    def report(self) -> GuardReport:
        """Ask its guard what it sees."""

    def kill(self, term: int) -> Instance | None:
        """Let its guard SIGKILL mysqld for the fence of a term; the instance that ended, None if none ran."""


class Keeper(Protocol):
    """Who holds the record."""

    def record(self) -> Record | None:
        """Return the record, None when there is none."""

    def swap(self, request: SwapRequest) -> SwapAnswer:
        """Ask for a change; an error means that nobody knows whether it was done."""


class Power(Protocol):
    """What can switch a host off."""

    def knows(self, host: str) -> bool:
        """Whether it has this host."""

    def switch_off(self, host: str, timeout_seconds: float) -> str:
        """Take its power away; how that was confirmed, for the log."""


@dataclass(frozen=True, slots=True)
class Host:
    """A database host and the ways to it, the straight one first."""

    name: str
    routes: tuple[Route, ...]

    @property
    def direct(self) -> Route:
        """The straight way."""
        return self.routes[0]


@dataclass(frozen=True, slots=True)
class Times:
    """The limits that a fence and a promotion keep, in seconds."""

    fence_step_seconds: float
    drain_seconds: float
    heartbeat_window_seconds: float
    tick_seconds: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds and a pause; a fake one in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Site:
    """Everybody. `say` gets one line for each step and each proof."""

    keeper: Keeper
    hosts: Mapping[str, Host]
    power: Power | None
    times: Times
    say: Callable[[str], None]
    clock: Clock = field(default_factory=Clock)

    def others(self, name: str) -> Sequence[Host]:
        """Every database host but this one."""
        return [host for host in self.hosts.values() if host.name != name]
