"""Real HTTPS on loopback: who is let in, who is not, and what becomes of garbage."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config_failover import TlsConfig
from holdfast.errors import ToolError
from holdfast.failover.https import HttpsServer, RefusedError, Request, UnreachableError, call, serve
from holdfast.failover.wire import WireError
from support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def answer(request: Request) -> dict[str, Any]:
    if request.path == "/refuse":
        raise RefusedError(409, "not now")
    if request.path == "/garbage":
        raise WireError("Record: term: missing")
    if request.path == "/bug":
        raise ZeroDivisionError("secret")
    if request.path == "/slow":
        time.sleep(1.5)
    return {"peer": request.peer, "method": request.method, "document": dict(request.document)}


@pytest.fixture
def server(authority: Authority) -> Iterator[HttpsServer]:
    with serve("127.0.0.1", 0, authority.certificate("keeper"), answer, {"db1", "db2"}) as listening:
        yield listening


def ask(
    server: HttpsServer,
    tls: TlsConfig,
    path: str = "/",
    document: dict[str, Any] | None = None,
    name: str = "keeper",
    seconds: float = 5.0,
) -> dict[str, Any]:
    method = "GET" if document is None else "POST"
    return call("127.0.0.1", server.port, method, path, document, tls, name, seconds)


def test_a_peer_is_who_its_certificate_says(server: HttpsServer, authority: Authority) -> None:
    assert ask(server, authority.certificate("db1")) == {"peer": "db1", "method": "GET", "document": {}}
    asked = ask(server, authority.certificate("db2"), document={"term": 1, "text": "ü"})
    assert asked == {"peer": "db2", "method": "POST", "document": {"term": 1, "text": "ü"}}


def test_a_name_without_a_part_here_is_refused(server: HttpsServer, authority: Authority) -> None:
    with pytest.raises(RefusedError, match="db3 has no part here") as caught:
        ask(server, authority.certificate("db3"))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/refuse", 409, "not now"), ("/garbage", 400, "Record: term: missing"), ("/bug", 500, "an error; the log")],
)
def test_what_a_handler_raises_is_told_without_details_of_bugs(
    server: HttpsServer, authority: Authority, path: str, status: int, text: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        ask(server, authority.certificate("db1"), path)
    assert (caught.value.status, caught.value.text[: len(text)]) == (status, text)
    assert "secret" not in str(caught.value)


def test_another_authority_is_nobody(server: HttpsServer, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path).certificate("db1")
    with pytest.raises(UnreachableError):
        ask(server, replace(stranger, ca_file=authority.folder / "ca.pem"))
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(server, replace(authority.certificate("db1"), ca_file=tmp_path / "ca.pem"))


def test_an_expired_certificate_is_nobodys(server: HttpsServer, authority: Authority) -> None:
    with pytest.raises(UnreachableError):
        ask(server, authority.certificate("db1", -datetime.timedelta(days=1)))
    assert ask(server, authority.certificate("db1"))["peer"] == "db1"


def test_a_server_with_another_name_is_not_talked_to(server: HttpsServer, authority: Authority) -> None:
    with pytest.raises(UnreachableError, match="the certificate is keeper's"):
        ask(server, authority.certificate("db1"), name="db2")


def test_without_a_certificate_nothing_is_answered(server: HttpsServer, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.folder / "ca.pem"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="keeper") as secure:
                secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert secure.recv(100) == b""
        except OSError:
            pass


@pytest.mark.parametrize(
    "request_text",
    [
        b"\0\1\2 garbage\r\n\r\n",
        b"POST / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Length: 999999999\r\n\r\n{}",
        b"POST / HTTP/1.0\r\nContent-Length: -1\r\n\r\n{}",
        b"POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\nnull",
        b'POST / HTTP/1.0\r\nContent-Length: 9\r\n\r\n{"a":NaN}',
        b"POST / HTTP/1.0\r\nContent-Length: 50000\r\n\r\n" + b"[" * 50000,
        b"DELETE / HTTP/1.0\r\n\r\n",
    ],
)
def test_garbage_is_refused_and_the_next_is_served(
    server: HttpsServer, authority: Authority, request_text: bytes
) -> None:
    tls = authority.certificate("db1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as https.py has it
    context.load_verify_locations(tls.ca_file)
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="keeper") as secure,
    ):
        secure.sendall(request_text)
        received = b"".join(iter(lambda: secure.recv(65536), b""))
    assert b" 200 " not in received
    assert any(f" {status} ".encode() in received for status in (400, 413, 501)), received
    assert ask(server, tls)["peer"] == "db1"


def test_who_is_silent_keeps_nobody_waiting(server: HttpsServer, authority: Authority) -> None:
    with socket.create_connection(("127.0.0.1", server.port)), socket.create_connection(("127.0.0.1", server.port)):
        began = time.monotonic()
        assert ask(server, authority.certificate("db1"))["peer"] == "db1"
        assert time.monotonic() - began < 2


def test_a_call_ends_in_its_time(server: HttpsServer, authority: Authority) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="TimeoutError"):
        ask(server, authority.certificate("db1"), "/slow", seconds=0.5)
    assert time.monotonic() - began < 1.2


def test_a_peer_that_takes_the_connection_and_says_nothing(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        with pytest.raises(UnreachableError):
            call("127.0.0.1", port, "GET", "/", None, authority.certificate("db1"), "keeper", 0.5)
    with pytest.raises(UnreachableError, match="refused"):
        call("127.0.0.1", port, "GET", "/", None, authority.certificate("db1"), "keeper", 0.5)


@pytest.mark.parametrize(
    "reply", [b"", b"garbage", b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n[1]"]
)
def test_an_answer_of_garbage_is_no_answer(authority: Authority, reply: bytes) -> None:
    tls = authority.certificate("keeper")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once() -> None:
            plain, _ = listening.accept()
            with context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1000)
                secure.sendall(reply)

        thread = threading.Thread(target=once)
        thread.start()
        with pytest.raises(UnreachableError):
            call("127.0.0.1", listening.getsockname()[1], "GET", "/", None, authority.certificate("db1"), "keeper", 5)
        thread.join()


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.certificate("renewed")
    with serve("127.0.0.1", 0, tls, answer, {"db1"}) as server:
        client = authority.certificate("db1")
        ask(server, client, name="renewed")
        good = tls.certificate_file.read_bytes()
        tls.certificate_file.write_bytes(b"half writ")
        ask(server, client, name="renewed")
        tls.certificate_file.write_bytes(good)
        other = Authority(tmp_path / "second")
        theirs = other.certificate("renewed")
        for file in ("ca_file", "certificate_file", "key_file"):
            getattr(tls, file).write_bytes(getattr(theirs, file).read_bytes())
        assert ask(server, other.certificate("db1"), name="renewed")["peer"] == "db1"


def test_a_caller_reads_its_certificates_once_and_again_when_they_change(
    server: HttpsServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = ssl.SSLContext.load_cert_chain

    def counted(context: ssl.SSLContext, *files: Any) -> None:
        if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
            made.append(1)
        real(context, *files)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", counted)
    before, after = authority.certificate("db1"), authority.certificate("db2")
    tls = TlsConfig(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")

    def lay_down(of: TlsConfig) -> None:
        for source, target in zip(
            (of.ca_file, of.certificate_file, of.key_file),
            (tls.ca_file, tls.certificate_file, tls.key_file),
            strict=True,
        ):
            (tmp_path / "new").write_bytes(source.read_bytes())
            (tmp_path / "new").replace(target)

    lay_down(before)
    assert [ask(server, tls)["peer"] for _ in range(3)] == ["db1"] * 3
    assert len(made) == 1
    lay_down(after)
    assert [ask(server, tls)["peer"] for _ in range(3)] == ["db2"] * 3
    assert len(made) == 2
    tls.key_file.write_text("half of")  # while somebody writes it
    assert ask(server, tls)["peer"] == "db2"


def test_a_port_that_is_taken_is_an_error_with_advice(server: HttpsServer, authority: Authority) -> None:
    with pytest.raises(ToolError, match=f"127.0.0.1:{server.port}: cannot listen"):
        serve("127.0.0.1", server.port, authority.certificate("keeper"), answer, {"db1"})
    with pytest.raises(ToolError, match="cannot listen"):
        serve("127.0.0.1", 0, replace(authority.certificate("keeper"), key_file=Path("/none")), answer, {"db1"})
