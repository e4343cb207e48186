"""Talking SQL to MySQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pymysql
import pymysql.cursors

from holdfast.errors import ConfigurationError, ToolError


class DatabaseError(ToolError):
    """MySQL refused or could not be reached; `number` is MySQL's error number, 0 when it gave none."""

    def __init__(self, what: str, *, number: int = 0, meaning: str = "", remedy: str = "") -> None:
        super().__init__(what, meaning=meaning, remedy=remedy)
        self.number = number


class Connection:
    """One session in autocommit; a context manager that closes it. Every method may raise DatabaseError."""

    def __init__(self, raw: pymysql.connections.Connection[Any], where: str) -> None:
        self._raw = raw
        self._where = where

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def rows(self, sql: str, args: Sequence[object] = ()) -> list[dict[str, Any]]:
        """All rows of a query, by column name."""
        with _translated(self._where, sql), self._raw.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(sql, args or None)
            return list(cast("Sequence[dict[str, Any]]", cursor.fetchall()))

    def value(self, sql: str, args: Sequence[object] = ()) -> Any:
        """The first column of the first row; None when there is no row."""
        with _translated(self._where, sql), self._raw.cursor(pymysql.cursors.Cursor) as cursor:
            cursor.execute(sql, args or None)
            row = cursor.fetchone()
            return None if row is None else row[0]

    def execute(self, sql: str, args: Sequence[object] = ()) -> int:
        """Run a statement; the number of rows it changed."""
        with _translated(self._where, sql), self._raw.cursor() as cursor:
            return int(cursor.execute(sql, args or None))

    def limit_reads(self, seconds: float) -> None:
        """Give each further answer that many seconds; the session is lost when one takes longer."""
        # connect() knows one limit for the login and for all that follows; a frozen server must not cost the long one.
        cast(Any, self._raw)._read_timeout = seconds
        cast(Any, self._raw)._write_timeout = seconds

    def close(self) -> None:
        """Close the session; never raises."""
        with contextlib.suppress(pymysql.MySQLError, OSError):
            self._raw.close()


def connect(
    account_file: Path | None = None,
    *,
    socket: Path | None = None,
    host: str | None = None,
    port: int = 3306,
    user: str | None = None,
    password: str | None = None,
    ssl_ca: Path | None = None,
    ssl_check_hostname: bool = True,
    connect_timeout_seconds: int = 10,
    read_timeout_seconds: int | None = None,
) -> Connection:
    """Open a session by socket, or by host (with TLS checked against `ssl_ca` when given).

    `account_file` is an option file whose [client] section has user and password. Raises ConfigurationError when
    that file cannot be read, DatabaseError when the server cannot be reached or refuses.
    """
    options: dict[str, Any] = {}
    if account_file is not None:
        try:
            account_file.read_bytes()
        except OSError as error:
            # PyMySQL would pass over a missing file and try without a password.
            raise ConfigurationError(
                f"{account_file}: cannot be read: {error.strerror}",
                meaning="It holds the MySQL account of this program.",
                remedy="The role mysql_backup writes it; run playbooks/backups.yml.",
            ) from None
        options |= {"read_default_file": str(account_file), "read_default_group": "client"}
    if user is not None:
        options["user"] = user
    if password is not None:
        options["password"] = password
    if socket is not None:
        options["unix_socket"] = str(socket)
    else:
        options |= {"host": host or "127.0.0.1", "port": port}
        if ssl_ca is not None:
            options["ssl"] = {"ca": str(ssl_ca)} if ssl_check_hostname else {"ca": str(ssl_ca), "check_hostname": False}
    where = str(socket) if socket is not None else f"{options['host']}:{port}"
    with _translated(where, "connect"):
        raw = pymysql.connect(
            **options,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=connect_timeout_seconds,
            read_timeout=read_timeout_seconds,
            # PyMySQL shakes hands over TLS within the limit of the write before it
            write_timeout=read_timeout_seconds,
        )
    return Connection(raw, where)


@contextlib.contextmanager
def _translated(where: str, sql: str) -> Iterator[None]:
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = error.args[1] if len(error.args) > 1 else error
        # Two words of the statement, never more: CREATE USER and CLONE INSTANCE carry passwords.
        verb = " ".join(sql.split()[:2])
        raise DatabaseError(f"MySQL at {where}: {verb}: error {number}: {text}", number=number) from None
