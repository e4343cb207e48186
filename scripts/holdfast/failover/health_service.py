"""The health responder: looks at the server through one kept session, and answers over HTTP in bounded time."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from holdfast.cluster import channel_of
from holdfast.database import Connection, DatabaseError, connect
from holdfast.errors import ToolError
from holdfast.failover.health import Answer, Depth, Sample, lag_seconds, metrics, no_answer, primary, replica

ANSWER_SECONDS = 0.9
"""A question is answered within this, with or without the server: a proxy's check waits for little more than 1 s."""
SESSION_SECONDS = 1
"""What the session itself is given for one statement; it is dropped afterwards."""
REPORT_AGE_SECONDS = 15
"""An older report of the guard tells nothing."""

log = logging.getLogger(__name__)


class Server:
    """This host's mysqld, through one session that is kept: when connections run out, ours is there already."""

    def __init__(self, open_session: Callable[[], Connection], clock: Callable[[], float] = time.monotonic) -> None:
        self._open = open_session
        self._clock = clock
        self._session: Connection | None = None
        self._contact_at: float | None = None
        self._lag_at_contact = 0
        self._told = ""

    def look(self, depth: Depth) -> Sample:
        """Ask the server; never raises. A session that was killed while it idled is opened again, once."""
        kept = self._session is not None
        try:
            if self._session is None:
                self._session = self._open()
            sample = observe(self._session, depth)
        except Exception as error:
            # A broken handshake makes PyMySQL raise almost anything; whatever it is, the server is not well.
            if self._session is not None:
                self._session.close()
                self._session = None
            if kept:
                return self.look(depth)
            number = error.number if isinstance(error, DatabaseError) else 0
            sample = Sample(error=str(error).partition("\n")[0] or repr(error), error_number=number)
        if sample.error != self._told:
            self._told = sample.error
            log.info("%s", sample.error or "the server answers")
        return sample if sample.error else self._with_memory(sample)

    def _with_memory(self, sample: Sample) -> Sample:
        if sample.channels and sample.channels[0].io_running and (lag := lag_seconds(sample)) is not None:
            self._contact_at, self._lag_at_contact = self._clock(), int(lag)
        elif not sample.read_only:
            # What was behind is the primary now: its past as a replica says nothing any more.
            self._contact_at = None
        if self._contact_at is None:
            return sample
        age = self._clock() - self._contact_at
        return replace(sample, seconds_since_contact=age, lag_at_contact_seconds=self._lag_at_contact)


def observe(session: Connection, depth: Depth) -> Sample:
    """Ask for as much as is needed and no more. Raises DatabaseError.

    A writable server is asked for its switches alone: what else there is to ask takes locks that a statement about
    replication can hold for long.
    """
    (switches,) = session.rows(
        "SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only,"
        " @@GLOBAL.offline_mode AS offline_mode"
    )
    sample = Sample(
        read_only=bool(switches["read_only"]),
        super_read_only=bool(switches["super_read_only"]),
        offline=bool(switches["offline_mode"]),
    )
    if depth >= Depth.STATUS or (depth >= Depth.REPLICATION and sample.read_only):
        rows = session.rows("SHOW REPLICA STATUS")
        connecting = bool(rows) and rows[0]["Replica_IO_Running"] == "Connecting"
        sample = replace(sample, channels=tuple(channel_of(row) for row in rows), receiver_connecting=connecting)
    if depth >= Depth.STATUS:
        variables = session.rows("SHOW GLOBAL STATUS")
        sample = replace(sample, status={row["Variable_name"]: row["Value"] for row in variables})
    return sample


@dataclass
class _Batch:
    depth: Depth
    done: Future[Sample] = field(default_factory=Future)


class Sampler:
    """Lets many ask at once: one thread looks, and each look serves all who asked before it began."""

    def __init__(self, look: Callable[[Depth], Sample]) -> None:
        self._look = look
        self._condition = threading.Condition()
        self._next: _Batch | None = None
        threading.Thread(target=self._run, name="sampler", daemon=True).start()

    def sample(self, depth: Depth, limit_seconds: float = ANSWER_SECONDS) -> Sample:
        """A look that began after this call; after `limit_seconds` a sample that says that there was no answer."""
        with self._condition:
            if self._next is None:
                self._next = _Batch(depth)
            batch = self._next
            batch.depth = max(batch.depth, depth)
            self._condition.notify_all()
        try:
            return batch.done.result(limit_seconds)
        except TimeoutError:
            return no_answer(limit_seconds)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._next is not None)
                batch, self._next = self._next, None
            if batch is not None:
                batch.done.set_result(self._look(batch.depth))


@dataclass(frozen=True)
class Responder:
    """What each path answers: status, content type, text."""

    sampler: Sampler
    maximum_lag_seconds: int
    guard_report: Path | None

    def respond(self, target: str) -> tuple[int, str, str]:
        """The answer to a GET of `target`; never raises."""
        parts = urlsplit(target)
        if parts.path == "/primary":
            return _page(primary(self.sampler.sample(Depth.SWITCHES)))
        if parts.path == "/replica":
            limit = parse_qs(parts.query).get("max_lag_seconds", [str(self.maximum_lag_seconds)])[-1]
            if not limit.isascii() or not limit.isdigit():
                return 400, "text/plain", "max_lag_seconds must be a whole number of seconds\n"
            return _page(replica(self.sampler.sample(Depth.REPLICATION), int(limit)))
        if parts.path == "/metrics":
            text = metrics(self.sampler.sample(Depth.STATUS), in_sync_of(self.guard_report, time.time()))
            return 200, "text/plain; version=0.0.4", text
        return 404, "text/plain", "ask for /primary, /replica or /metrics\n"


def _page(answer: Answer) -> tuple[int, str, str]:
    return 200 if answer.yes else 503, "text/plain", answer.reason + "\n"


def in_sync_of(report: Path | None, now_seconds: float) -> bool | None:
    """Whether the guard's last report saw a replica in sync; None without a guard or with an old report."""
    if report is None:
        return None
    try:
        if now_seconds - report.stat().st_mtime > REPORT_AGE_SECONDS:
            return None
        view = json.loads(report.read_text(encoding="utf-8"))["in_sync_view"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return view not in ("", "none")


class HealthServer(ThreadingHTTPServer):
    """HTTP on one address; each connection has a thread and 5 s for its request."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: str, port: int, responder: Responder) -> None:
        self.responder = responder
        try:
            super().__init__((address, port), _Handler)
        except OSError as error:
            raise ToolError(
                f"{address}:{port}: cannot be listened on: {error.strerror}",
                remedy=f"Is another mysql-health running? `ss -ltnp 'sport = :{port}'` names who holds the port.",
            ) from None

    def server_bind(self) -> None:
        """Bind, also before the private interface has its address: at boot a VLAN may come up after us."""
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        super().server_bind()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer a client; one that has left by then is no error."""
        with suppress(ConnectionError):
            super().finish_request(request, client_address)


IP_FREEBIND = 15  # <linux/in.h>; Python has no name for it


class _Handler(BaseHTTPRequestHandler):
    server_version = "holdfast-health"
    sys_version = ""
    timeout = 5
    wbufsize = -1  # one packet: HAProxy resets the connection once it has the status

    def do_GET(self) -> None:
        """Answer, and close the connection."""
        server: Any = self.server
        status, kind, text = server.responder.respond(self.path)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """The client's address as it is: no name server is asked for the sake of a log line."""
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a proxy asks each second."""


def local_session(socket_path: Path, account_file: Path) -> Connection:
    """A session over the server's socket with the time limits of this program."""
    return connect(
        account_file,
        socket=socket_path,
        connect_timeout_seconds=SESSION_SECONDS,
        read_timeout_seconds=SESSION_SECONDS,
    )
