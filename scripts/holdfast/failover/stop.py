"""A stop of MySQL that acknowledges nothing on its way.

SIGTERM alone tells waiting clients OK though no replica has their rows (seen). So nobody is left to be told when it
comes; where that cannot be had in time, SIGKILL does the same, and is always safe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator

from holdfast.config import Config
from holdfast.errors import HoldfastError, ToolError
from holdfast.failover import guard_steps, https
from holdfast.failover.guard import own_host
from holdfast.failover.guard_session import Session, open_session

OFFLINE_SECONDS = 5.0
LEAVE_SECONDS = 10.0

log = logging.getLogger(__name__)


def stop(
    config: Config,
    pid: int,
    *,
    leave: Callable[[Config], None] | None = None,
    dial: Callable[[Config], Session] | None = None,
    offline_seconds: float = OFFLINE_SECONDS,
) -> str:
    """End the server with that process id, gently if that works within `offline_seconds`; what was done, for people.

    Returns once the signal is sent; systemd waits for the end.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return "has ended already"
    with _closing(descriptor):
        (leave or leave_by_guard)(config)
        # in a thread of its own: while an account statement waits, a login hangs, and so does SET GLOBAL (seen)
        problem: list[str] = ["no end within the time"]
        work = threading.Thread(
            target=_gently, args=(config, pid, descriptor, dial or _session, problem), name="offline", daemon=True
        )
        work.start()
        work.join(offline_seconds)
        if not problem:
            return "offline, no session left, SIGTERM"
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], offline_seconds)
        return f"SIGKILL, because going offline failed: {problem[0]}"


def leave_by_guard(config: Config) -> None:
    """Let the own guard tell the record that this replica is not to be counted on; no condition of the stop."""
    failover, host = config.failover, own_host(config)
    try:
        https.call(host.address, host.guard_port, "POST", "/leave", {}, failover.tls, config.host, LEAVE_SECONDS)
    except (https.UnreachableError, https.RefusedError) as error:
        log.info("leave: %s", error.what)


def _gently(config: Config, pid: int, descriptor: int, dial: Callable[[Config], Session], problem: list[str]) -> None:
    try:
        session = dial(config)
        if session.mysqld.pid != pid:
            raise ToolError(f"the server that answers is process {session.mysqld.pid}, not {pid}")
        guard_steps.go_offline(session)
        # a guard that lifts it begins by killing this session
        session.value("SELECT 1")
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        problem.clear()
    except (HoldfastError, OSError) as error:
        problem[0] = str(error)


def _session(config: Config) -> Session:
    return open_session(config.failover, own_host(config))


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
