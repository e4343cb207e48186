"""Whom a guard reaches: its peer's guard, and when that is silent the peer's MySQL and the app hosts.

In a thread of its own: a peer that does not answer delays nobody.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from holdfast.config_failover import DatabaseHostConfig, FailoverConfig
from holdfast.errors import ToolError
from holdfast.failover import https
from holdfast.failover.wire import GuardReport, from_json

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
# the proxy's writer port and SSH: whatever answers, be it by refusing, is a host that is reached
APP_PORTS = (6033, 22)


@dataclass(frozen=True, slots=True)
class Seen:
    """The peer's last report and when it was asked for, the last contact with anybody, the last complaint."""

    report: GuardReport | None = None
    report_at: float = 0.0
    contact_at: float = 0.0
    error: str = "not asked yet"


class Surroundings:
    """The thread; `seen` is what it knows. `peer` None: this host has none to ask."""

    def __init__(
        self,
        failover: FailoverConfig,
        peer: DatabaseHostConfig | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failover = failover
        self._peer = peer
        self._clock = clock
        self.seen = Seen(contact_at=clock())

    def start(self) -> None:
        """Begin to look around."""
        threading.Thread(target=self._run, name="surroundings", daemon=True).start()

    def ask(self) -> GuardReport:
        """Ask the peer's guard now. Raises ToolError (UnreachableError, RefusedError, WireError)."""
        if self._peer is None:
            raise ToolError("this host has no peer")
        answer = https.call(
            self._peer.address, self._peer.guard_port, "GET", "/report", None,
            self._failover.tls, self._peer.name, ANSWER_SECONDS,
        )  # fmt: skip
        report = from_json(GuardReport, answer)
        if report.host != self._peer.name:
            raise ToolError(f"{self._peer.name} reports as {report.host}")
        return report

    def look(self) -> None:
        """Look around once; never raises an Exception that a peer can cause."""
        began = self._clock()
        try:
            report = self.ask()
        except ToolError as error:
            if self.seen.report is not None or not self.seen.error:
                log.info("peer: %s", error.what)
            self.seen = replace(self.seen, report=None, error=error.what)
            began = self._clock()
            if self._anybody():
                self.seen = replace(self.seen, contact_at=began)
        else:
            self.seen = Seen(report, began, began, "")

    def _anybody(self) -> bool:
        peer = self._peer
        if peer is not None and (reaches(peer.address, peer.admin_port) or reaches(peer.address, peer.mysql_port)):
            return True
        return any(reaches(address, port) for address in self._failover.app_addresses for port in APP_PORTS)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            began = self._clock()
            try:
                self.look()
            except Exception:
                log.exception("a bug while looking around")
            pause.wait(max(0.1, self._failover.timing.tick_seconds - (self._clock() - began)))


def reaches(address: str, port: int, timeout_seconds: float = 1.0) -> bool:
    """Whether a host answers a connection, by taking or by refusing it."""
    try:
        with socket.create_connection((address, port), timeout=timeout_seconds):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
