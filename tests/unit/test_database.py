from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pymysql
import pytest

from holdfast import database
from holdfast.database import DatabaseError, connect
from holdfast.errors import ConfigurationError
from support.authority import Authority


def test_a_missing_account_file_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.cnf: cannot be read"):
        connect(tmp_path / "none.cnf", socket=tmp_path / "sock")


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=f"MySQL at {tmp_path}/sock: connect: error 2003") as caught:
        connect(socket=tmp_path / "sock", user="x")
    assert caught.value.number == 2003
    with pytest.raises(DatabaseError, match=r"MySQL at 127\.0\.0\.1:9: connect: error 2003"):
        connect(host="127.0.0.1", port=9, user="x")


def test_account_file_and_addresses_reach_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(pymysql, "connect", lambda **options: seen.update(options))
    account = tmp_path / "account.cnf"
    account.write_text("[client]\nuser=backup\npassword='a#b'\n")
    connect(account, socket=Path("/run/mysqld/mysqld.sock"))
    assert seen["read_default_file"] == str(account)
    assert seen["unix_socket"] == "/run/mysqld/mysqld.sock"
    assert "host" not in seen
    seen.clear()
    connect(host="10.0.0.1", user="u", password="p", ssl_ca=Path("/etc/mysql/tls/ca.pem"))
    assert (seen["host"], seen["port"], seen["ssl"]) == ("10.0.0.1", 3306, {"ca": "/etc/mysql/tls/ca.pem"})


def test_errors_name_two_words_of_the_statement_and_no_password() -> None:
    with pytest.raises(DatabaseError) as caught, database._translated("db1", "CREATE USER x IDENTIFIED BY 'secret'"):
        raise pymysql.err.OperationalError(1396, "Operation CREATE USER failed")
    assert caught.value.what == "MySQL at db1: CREATE USER: error 1396: Operation CREATE USER failed"
    assert caught.value.number == 1396


def _greeting() -> bytes:
    """What MySQL says first: protocol 10, TLS is possible, caching_sha2_password."""
    capabilities = 0x00000200 | 0x00000800 | 0x00008000 | 0x00080000  # 4.1, TLS, secure connection, plugins
    body = b"\x0a9.7.4\0" + struct.pack("<I", 1) + b"12345678\0" + struct.pack("<H", capabilities & 0xFFFF)
    body += b"\x21\x02\0" + struct.pack("<H", capabilities >> 16) + b"\x15" + bytes(10) + b"123456789012\0"
    body += b"caching_sha2_password\0"
    return struct.pack("<I", len(body))[:3] + b"\0" + body


def test_a_server_that_is_cut_off_in_the_tls_handshake_costs_the_time_limit_only(tmp_path: Path) -> None:
    """PyMySQL bounds that by the limit for writes, which is none by default: a manager stood still for 108 s (seen)."""
    authority = Authority(tmp_path).folder / "ca.pem"
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(_greeting())
                over.wait(60)

        threading.Thread(target=answer, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(DatabaseError):
            connect(
                host="127.0.0.1", port=listening.getsockname()[1], user="u", password="p", ssl_ca=authority,
                ssl_check_hostname=False, read_timeout_seconds=1,
            )  # fmt: skip
        assert time.monotonic() - began < 4
        over.set()
