#!/usr/bin/env python3
"""Write rows to the primary and keep a ledger of what was acknowledged. Runs on the lab's application host.

Needs python3-pymysql and nothing else. One thread a table; each thread sends one row at a time: the ledger gets a `try`
line before the statement and an `ack` line, flushed to disk, after the server's OK. Every tenth write replaces an older
row, so that pages in the middle of the data change too. A table that is dropped ends its thread; SIGTERM ends all of
them after the statement in hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pymysql

NO_SUCH_TABLE = 1146
SEND = (
    "INSERT INTO `{table}` (id, version, customer, cents, note, placed_at) VALUES (%s, %s, %s, %s, %s, %s) AS new "
    "ON DUPLICATE KEY UPDATE version=new.version, customer=new.customer, cents=new.cents, note=new.note,"
    " placed_at=new.placed_at"
)


class LedgerFile:
    """The ledger on disk, shared by the threads."""

    def __init__(self, path: str) -> None:
        """Open the file to append."""
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  (lives as long as the process)
        self._lock = threading.Lock()

    def add(self, *, durable: bool, **entry: Any) -> None:
        """Append a line; with `durable` return only after it is on disk."""
        with self._lock:
            self._file.write(json.dumps({**entry, "at": time.time()}) + "\n")
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())


def make_row(dice: random.Random, number: int, version: int) -> tuple[Any, ...]:
    """Return a row with content that a wrong byte or a wrong character set would change."""
    customer = dice.choice(("Ana Müller", "Łukasz Żak", "Zoë O'Neil", "李雷", "Ёлка", "plain"))
    note = f"{dice.getrandbits(dice.choice((64, 512, 1600))):x}"
    placed_at = f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02} 02:30:00.{dice.randint(0, 999999):06}"
    return number, version, customer, dice.randint(-(10**12), 10**12), note, placed_at


def digest_of(row: tuple[Any, ...]) -> str:
    """Return the digest that SHA2(CONCAT_WS('|', version, customer, cents, note, placed_at), 256) gives in SQL."""
    return hashlib.sha256("|".join(str(part) for part in row[1:]).encode()).hexdigest()


def connect(arguments: argparse.Namespace) -> pymysql.connections.Connection[Any]:
    """Open a TLS connection; the certificate must be the lab's and carry the name or address that is called."""
    password = Path(arguments.password_file).read_text(encoding="utf-8").strip()
    return pymysql.connect(
        host=arguments.host, port=arguments.port, user=arguments.user, password=password, database=arguments.database,
        autocommit=True, charset="utf8mb4", connect_timeout=arguments.patience, read_timeout=60,
        ssl={"ca": arguments.ca},
    )  # fmt: skip


def write_table(
    table: str, first: int, arguments: argparse.Namespace, ledger: LedgerFile, stop: threading.Event
) -> None:
    """Write rows of one table until told to stop or the table is gone; connect again when the server goes away."""
    dice, number = random.Random(f"{arguments.seed}-{table}-{first}"), first
    versions: dict[int, int] = {}
    connection: pymysql.connections.Connection[Any] | None = None
    while not stop.wait(dice.uniform(0, 2 / arguments.rate)):
        if versions and dice.random() < 0.1:
            row_number = dice.choice(list(versions))
        else:
            row_number, number = number, number + 1
        versions[row_number] = versions.get(row_number, 0) + 1
        row = make_row(dice, row_number, versions[row_number])
        try:
            if connection is None:
                connection = connect(arguments)
            ledger.add(durable=False, event="try", table=table, row=row_number, digest=digest_of(row))
            with connection.cursor() as cursor:
                cursor.execute(SEND.format(table=table), row)
        except pymysql.MySQLError as error:
            code = error.args[0] if error.args else 0
            gone = code == NO_SUCH_TABLE
            ledger.add(durable=True, event="gone" if gone else "error", table=table, text=f"{code} {error}"[:300])
            if gone:
                return
            connection = None
            stop.wait(0.5)
            continue
        ledger.add(durable=True, event="ack", table=table, row=row_number, digest=digest_of(row))


def main() -> None:
    """Write until SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=3306, help="6033 of an app host: through its proxy")
    parser.add_argument("--patience", type=float, default=5, help="seconds for a connection: a proxy lets it wait")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--rate", type=float, default=50, help="rows a second and table, at most")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--first", type=int, default=1, help="number of the first new row")
    parser.add_argument("tables", nargs="+")
    arguments = parser.parse_args()
    ledger, stop = LedgerFile(arguments.ledger), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [
        threading.Thread(target=write_table, args=(table, arguments.first, arguments, ledger, stop))
        for table in arguments.tables
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
