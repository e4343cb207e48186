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


def greeting() -> bytes:
    """What MySQL says first: protocol 10, and that it speaks TLS (CLIENT_SSL, 0x800)."""
    low, high = 0x800 | 0x200 | 0x8000, 0x0008  # SSL, PROTOCOL_41, SECURE_CONNECTION; PLUGIN_AUTH
    body = b"\x0a9.7.4\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<HBHHB", low, 255, 2, high, 21)
    body += bytes(10) + b"123456789012\0" + b"caching_sha2_password\0"
    return struct.pack("<I", len(body))[:3] + b"\0" + body


def test_a_server_that_falls_silent_in_the_middle_of_tls_is_given_up_in_time(tmp_path: Path) -> None:
    """Found by the failover suite: a manager hung for 108 s on a host that was cut off in the middle of a login."""
    Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def greet() -> None:
            connection, _ = server.accept()
            connection.sendall(greeting())
            taken.append(connection)

        threading.Thread(target=greet, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(DatabaseError, match="timed out"):
            connect(
                host="127.0.0.1",
                port=server.getsockname()[1],
                user="u",
                password="p",
                ssl_ca=tmp_path / "ca.pem",
                connect_timeout_seconds=1,
                read_timeout_seconds=1,
            )
        assert time.monotonic() - began < 5
        taken[0].close()
