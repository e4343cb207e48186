"""ProxySQL's admin interface as far as Ansible's modules see it: the MySQL protocol before SQLite, with its own tables.

It proves what is written, that a second run writes nothing, and that SQLite's quoting, which is not MySQL's, spoils
nothing. It proxies nothing: that needs ProxySQL.
"""

from __future__ import annotations

import hashlib
import os
import socketserver
import sqlite3
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TABLES = Path(__file__).with_suffix(".sql")
VERSION = "3.0.11-fake"
OK = b"\x00\x00\x00\x02\x00\x00\x00"
END = b"\xfe\x00\x00\x02\x00"
CAPABILITIES = 0x00000001 | 0x00000008 | 0x00000200 | 0x00008000 | 0x00080000


class FakeProxySQL(socketserver.ThreadingTCPServer):
    """Listens on a free port of loopback; a context manager. `commands` are the LOAD and SAVE that it was given."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Begin with these global variables; `admin-admin_credentials` says who may log in, as user:password."""
        super().__init__(("127.0.0.1", 0), _Session)
        self.database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.lock = threading.Lock()
        self.commands: list[str] = []
        self.database.executescript(TABLES.read_text())
        self.database.executemany("INSERT INTO global_variables VALUES (?, ?)", variables.items())
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self.server_address[1])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.lock:
            return list(self.database.execute(query).fetchall())

    def server_close(self) -> None:
        """Stop serving, too: the thread of `serve_forever` is ours."""
        self.shutdown()
        super().server_close()


class _Session(socketserver.StreamRequestHandler):
    server: FakeProxySQL

    def handle(self) -> None:
        salt = bytes(byte % 94 + 33 for byte in os.urandom(20))
        greeting = b"\x0a" + VERSION.encode() + b"\x00" + struct.pack("<I", 1) + salt[:8] + b"\x00"
        greeting += struct.pack("<HBHH", CAPABILITIES & 0xFFFF, 33, 2, CAPABILITIES >> 16) + b"\x15" + bytes(10)
        self._sequence = 0
        self._send(greeting + salt[8:] + b"\x00mysql_native_password\x00")
        if not self._may_enter(self._receive(), salt):
            self._send(_error(1045, "Access denied"))
            return
        self._send(OK)
        while packet := self._receive():
            if packet[0] == 1:
                return
            if packet[0] == 3:
                self._answer(packet[1:].decode())
            else:
                self._send(OK)

    def _may_enter(self, response: bytes, salt: bytes) -> bool:
        user, _, rest = response[32:].partition(b"\x00")
        wanted_user, _, password = str(
            self.server.rows(
                "SELECT variable_value FROM global_variables WHERE variable_name = 'admin-admin_credentials'"
            )[0][0]
        ).partition(":")
        stage = hashlib.sha1(password.encode()).digest()
        mask = hashlib.sha1(salt + hashlib.sha1(stage).digest()).digest()
        token = bytes(left ^ right for left, right in zip(stage, mask, strict=True))
        return user.decode() == wanted_user and rest[1 : 1 + rest[0]] == token

    def _answer(self, query: str) -> None:
        text = query.strip().rstrip(";")
        verb = text.split()[0].upper()
        if verb in ("LOAD", "SAVE"):
            self.server.commands.append(text)
        if verb in ("LOAD", "SAVE", "SET", "COMMIT", "ROLLBACK", "BEGIN"):
            self._send(OK)
        elif text.lower() == "select version()":
            self._table(["version()"], [(VERSION,)])
        elif text.lower() == "show tables":
            self._table(["tables"], self.server.rows("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
        else:
            try:
                with self.server.lock:
                    cursor = self.server.database.execute(text)
                    rows, changed = cursor.fetchall(), max(cursor.rowcount, 0)
            except sqlite3.Error as error:
                self._send(_error(1045, f"ProxySQL Admin Error: {error}"))
                return
            if cursor.description is None:
                self._send(b"\x00" + bytes([changed]) + b"\x00\x02\x00\x00\x00")
            else:
                self._table([column[0] for column in cursor.description], rows)

    def _table(self, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        self._send(bytes([len(columns)]))
        for name in columns:
            parts = b"".join(_text(part) for part in ("def", "", "", "", name, ""))
            # every column is text, as ProxySQL sends it
            self._send(parts + b"\x0c" + struct.pack("<HIBHBH", 33, 255, 253, 0, 0, 0))
        self._send(END)
        for row in rows:
            self._send(b"".join(b"\xfb" if value is None else _text(str(value)) for value in row))
        self._send(END)

    def _send(self, payload: bytes) -> None:
        self.wfile.write(struct.pack("<I", len(payload))[:3] + bytes([self._sequence]) + payload)
        self._sequence = (self._sequence + 1) % 256

    def _receive(self) -> bytes:
        head = self.rfile.read(4)
        if len(head) < 4:
            return b""
        self._sequence = (head[3] + 1) % 256
        return self.rfile.read(int.from_bytes(head[:3], "little"))


def _text(text: str) -> bytes:
    data = text.encode()
    return (bytes([len(data)]) if len(data) < 251 else b"\xfc" + struct.pack("<H", len(data))) + data


def _error(number: int, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#28000" + text.encode()
