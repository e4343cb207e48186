"""A proxy between one rclone and the store, which fails as stores and networks fail, from a given request on.

`with proxy.failing("503", "PUT .*segment", skip=1) as fault:` lets the first upload of a segment pass; from the second
on every request is answered 503 until the block is left. `times=1` fails only so many requests. A "hold" waits with one
request until the block is left, so that the test can do something at exactly that moment.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import cast

from support.s3_signature import Key, signed

NO_BODY = (204, 304)
# status, code and message as B2's and Amazon's S3 answers have them
ANSWERS = {
    "401": (401, "UnauthorizedAccess", "bad_auth_token: Invalid authorization token"),
    "403": (403, "AccessDenied", "Cannot upload files, storage cap exceeded. See the Caps & Alerts page"),
    "429": (429, "TooManyRequests", "Too many requests, try again later"),
    "500": (500, "InternalError", "An internal error occurred. Please retry your upload."),
    "503": (503, "SlowDown", "no tomes available"),
}
KINDS = (*ANSWERS, "reset", "slow", "hang", "half", "gone", "hold", "hold answer")
SLOW_SECONDS = 0.15
LONGEST_HOLD_SECONDS = 60.0


@dataclass
class Fault:
    """What fails, and from which request on: the one after `skip` whose "METHOD /path" matches `at`.

    `drop` is for who held a request and then killed its sender: it must not arrive afterwards.
    """

    kind: str
    at: str = ""
    skip: int = 0
    times: int | None = None
    drop: bool = False
    met: int = 0
    holds: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def meets(self, request: str) -> bool:
        """Count a request; whether it fails."""
        if self.over.is_set() or self.met == self.times:
            return False
        # Once begun a fault is the whole store's, unless it is one of some requests only.
        of_some = self.times is not None
        if (of_some or not self.met) and not re.search(self.at, request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.met += 1
        return True


class FaultProxy:
    """Listens on an address of this machine, for hosts of the lab, and passes on to the store."""

    def __init__(self, address: str, upstream: str, key: Key) -> None:
        """`upstream` is the store's host:port; the key serves to store half of what was sent."""
        self.upstream, self.key = upstream, key
        self.fault: Fault | None = None
        self.lock = threading.Lock()
        self._address, self._port = address, 0
        self._open = threading.Event()
        self._closed = False
        self._listen()
        threading.Thread(target=self._serve, name="fault proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """What rclone has as endpoint."""
        return f"http://{self._address}:{self._port}"

    def close(self) -> None:
        """Listen no more."""
        self._closed = True
        self.vanish()
        self._open.set()

    @contextlib.contextmanager
    def failing(self, kind: str, at: str = "", *, skip: int = 0, times: int | None = None) -> Iterator[Fault]:
        """Fail for the time of the block. AssertionError afterwards unless a request met the fault."""
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(KINDS)}")
        fault = self.fault = Fault(kind, at, skip, 1 if kind.startswith("hold") else times)
        try:
            yield fault
        finally:
            fault.over.set()
            self.fault = None
            if not self._open.is_set():
                self._listen()
        assert fault.met, f"no request met the fault {kind} at {at!r}"

    def vanish(self) -> None:
        """Refuse connections."""
        self._open.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() does not
        self._listener.close()

    def _listen(self) -> None:
        self._listener = socket.create_server((self._address, self._port), backlog=64)
        self._port = self._listener.getsockname()[1]
        self._open.set()

    def _serve(self) -> None:
        while not self._closed:
            try:
                connection, where = self._listener.accept()
            except OSError:
                self._open.wait()
                continue
            threading.Thread(target=self._handle, args=(connection, where), daemon=True).start()

    def _handle(self, connection: socket.socket, where: tuple[str, int]) -> None:
        with connection, contextlib.suppress(OSError):
            Handler(connection, where, cast("BaseServer", self))


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"

    @property
    def proxy(self) -> FaultProxy:
        """The proxy; http.server calls it the server."""
        return cast("FaultProxy", self.server)

    def handle_expect_100(self) -> bool:
        """Leave it to the fault whether the body is asked for."""
        return True

    def _any(self) -> None:
        fault = self.proxy.fault
        with self.proxy.lock:
            met = fault is not None and fault.meets(f"{self.command} {self.path}")
        if fault is None or not met:
            self._pass_on()
            return
        if fault.kind in ANSWERS:
            self._refuse(*ANSWERS[fault.kind])
        elif fault.kind == "reset":
            self._body(share=0.5)
            self._reset()
        elif fault.kind == "gone":
            self.proxy.vanish()
            self._reset()
        elif fault.kind == "hang":
            fault.over.wait()
            self._reset()
        elif fault.kind == "slow":
            fault.over.wait(SLOW_SECONDS)
            self._pass_on()
        elif fault.kind == "half":
            self._pass_on(half=True)
        elif fault.kind == "hold":
            fault.holds.set()
            fault.over.wait(LONGEST_HOLD_SECONDS)
            if fault.drop:
                self._reset()
            else:
                self._pass_on()
        else:  # hold answer
            self._pass_on(held=fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815  (the names that http.server wants)

    def _body(self, share: float = 1.0) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.rfile.read(int(int(self.headers.get("Content-Length") or 0) * share))

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._body()
        told = html.escape(message)
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{told}</Message></Error>'.encode()
        self._answer(status, [("Content-Type", "application/xml")], b"" if self.command == "HEAD" else text)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _pass_on(self, *, half: bool = False, held: Fault | None = None) -> None:
        body = self._body()
        status, headers, content = self._ask(self.command, self.path, list(self.headers.items()), body)
        if half and self.command == "PUT":
            short = body[: len(body) // 2]
            url = f"http://{self.proxy.upstream}{self.path.partition('?')[0]}"
            sign = signed(self.proxy.key, "PUT", url, short, datetime.now(UTC))
            self._ask("PUT", self.path.partition("?")[0], list(sign.items()), short)
        if held is not None:
            held.holds.set()
            held.over.wait(LONGEST_HOLD_SECONDS)
        self._answer(status, headers, content, cut=half and self.command == "GET")

    def _ask(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in ("expect", "connection", "content-length"):
                    connection.putheader(name, value)
            if body or method in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = None if self.command == "HEAD" else str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value if self.command == "HEAD" else length
            elif name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        if length is not None and status not in NO_BODY:
            self.send_header("Content-Length", length)
        self.end_headers()
        if cut:
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet."""
