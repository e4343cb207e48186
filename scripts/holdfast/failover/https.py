"""JSON over HTTPS between the hosts of a site: both sides show a certificate of the pair's authority.

One request a connection. Who a peer is, is the common name of its certificate; addresses prove nothing, for a guard
can be reached through its peer's relay. Certificates are read again when their files change: renewing needs no restart.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self, cast

from holdfast.config_failover import TlsConfig
from holdfast.errors import ToolError
from holdfast.failover.certificates import Certificates, of_callers
from holdfast.failover.wire import WireError

MAXIMUM_BODY_BYTES = 1 << 20
MAXIMUM_CONNECTIONS = 64
CONNECTION_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


class UnreachableError(ToolError):
    """No usable answer came. A request that was sent may have been carried out all the same."""


class RefusedError(ToolError):
    """The peer answered with an error status; a handler raises it to answer so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"refused with status {status}: {text}")
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Request:
    """What a handler gets; `peer` is the authenticated name, `document` the body, empty with GET."""

    peer: str
    method: str
    path: str
    document: Mapping[str, Any]


Handler = Callable[[Request], Mapping[str, Any]]


class HttpsServer:
    """A server at work in threads of its own; a context manager that closes it. `port` is the one it listens on."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.port = int(server.server_address[1])
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="https", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it still takes connections."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop listening; requests under way go on in their threads."""
        self._server.shutdown()
        self._server.server_close()


def serve(address: str, port: int, tls: TlsConfig, handler: Handler, allowed_names: Collection[str]) -> HttpsServer:
    """Listen, and answer each request with what `handler` returns, as JSON.

    Only peers whose certificate carries one of `allowed_names` get to the handler. It may raise RefusedError (answered
    with its status), WireError (400); anything else is logged and answered with 500. Raises ToolError when the address
    is taken or a certificate cannot be read.
    """
    try:
        return HttpsServer(_Server((address, port), tls, handler, frozenset(allowed_names)))
    except OSError as error:  # also what ssl says of certificates
        raise ToolError(
            f"{address}:{port}: cannot listen: {error}",
            remedy=f"See who has the port (ss -ltnp), and whether {tls.certificate_file} and its key are there.",
        ) from None


def call(
    address: str,
    port: int,
    method: str,
    path: str,
    document: Mapping[str, Any] | None,
    tls: TlsConfig,
    expected_name: str,
    timeout_seconds: float,
) -> dict[str, Any]:
    """Ask a peer that must carry `expected_name`; the answer's object. All of it takes `timeout_seconds` at most.

    Raises UnreachableError, or RefusedError with the peer's words.
    """
    where = f"{expected_name} at {address}:{port}"
    deadline = time.monotonic() + timeout_seconds
    try:
        status, text = _exchange(
            address, port, _request(method, path, document, expected_name), tls, expected_name, deadline
        )
        answer = _parse(text)
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise UnreachableError(f"{where}: {type(error).__name__}: {error}") from None
    if status != http.HTTPStatus.OK:
        raise RefusedError(status, str(answer.get("error", ""))[:500])
    return answer


def _request(method: str, path: str, document: Mapping[str, Any] | None, host: str) -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _exchange(
    address: str, port: int, request: bytes, tls: TlsConfig, expected_name: str, deadline: float
) -> tuple[int, bytes]:
    with (
        socket.create_connection((address, port), timeout=_left(deadline)) as plain,
        of_callers(tls).context().wrap_socket(plain, do_handshake_on_connect=False) as secure,
    ):
        secure.settimeout(_left(deadline))
        secure.do_handshake()
        if (name := _name_of(secure)) != expected_name:
            raise ssl.SSLError(f"the certificate is {name or 'nobody'}'s")
        secure.sendall(request)
        received = bytearray()
        while len(received) <= MAXIMUM_BODY_BYTES:
            secure.settimeout(_left(deadline))
            if not (piece := secure.recv(65536)):
                break
            received += piece
    response = http.client.HTTPResponse(cast(Any, _Received(bytes(received))))
    response.begin()
    return response.status, response.read()


class _Received(io.BytesIO):
    """As much of a socket as HTTPResponse needs, over bytes that are there already."""

    def makefile(self, _mode: str) -> io.BytesIO:
        return self


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _name_of(secure: ssl.SSLSocket) -> str:
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", (secure.getpeercert() or {}).get("subject", ()))
    names = [value for part in subject for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else ""


def _parse(text: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    document = json.loads(text, parse_constant=refuse)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], tls: TlsConfig, handler: Handler, allowed_names: frozenset[str]
    ) -> None:
        self._certificates = Certificates(tls, server_side=True)
        self._certificates.context()  # what cannot be read is said before anybody is promised an answer
        self.handler = handler
        self.allowed_names = allowed_names
        self._places = threading.BoundedSemaphore(MAXIMUM_CONNECTIONS)
        super().__init__(address, _Connection)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        # in the connection's own thread: who is slow to shake hands keeps nobody else waiting
        request.settimeout(CONNECTION_TIMEOUT_SECONDS)
        try:
            with self._certificates.context().wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)
        except OSError as error:  # no certificate, a wrong one, silence: theirs to see, ours to note
            log.info("%s: connection ended: %s", client_address[0], error)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("a bug while answering %s", client_address[0])


class _Connection(BaseHTTPRequestHandler):
    timeout: ClassVar[float] = CONNECTION_TIMEOUT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer a question."""
        self._answer()

    def do_POST(self) -> None:
        """Carry out a request."""
        self._answer()

    def _answer(self) -> None:
        status, document = 200, {}
        peer = _name_of(cast(ssl.SSLSocket, self.connection))
        try:
            if peer not in self.server.allowed_names:
                log.warning("%s: %r asks for %s and is not allowed to", self.client_address[0], peer, self.path)
                raise RefusedError(403, f"{peer or 'nobody'} has no part here")
            request = Request(peer, self.command, self.path, self._body())
            document = dict(self.server.handler(request))
        except RefusedError as error:
            status, document = error.status, {"error": error.text}
        except WireError as error:
            status, document = 400, {"error": error.what}
        except OSError:
            raise
        except Exception:
            log.exception("a bug while answering %s", self.path)
            status, document = 500, {"error": "an error; the log of that host has more"}
        body = json.dumps(document).encode()
        head = f"HTTP/1.0 {status} {http.client.responses.get(status, '')}\r\nContent-Type: application/json\r\n"
        self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _body(self) -> Mapping[str, Any]:
        if self.command == "GET":
            return {}
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAXIMUM_BODY_BYTES:
            raise RefusedError(413, f"a body of {MAXIMUM_BODY_BYTES} bytes at most, with its length, is taken")
        try:
            return _parse(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"the body is no JSON object: {error}") from None

    def log_message(self, format: str, *args: Any) -> None:
        """Keep every request out of the log: there are several a second."""
