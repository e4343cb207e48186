#!/usr/bin/env python3
"""Write one row after the other over the socket and note each answer. Runs on a database host of the lab."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pymysql

SOCKET = "/run/mysqld/mysqld.sock"


def main() -> None:
    """Write until SIGTERM."""
    connection: pymysql.connections.Connection[Any] | None = None
    with Path(sys.argv[1]).open("a", encoding="ascii", buffering=1) as answers:
        while True:
            row, sent, error = time.time_ns(), time.time(), ""
            try:
                if connection is None:
                    connection = pymysql.connect(unix_socket=SOCKET, user="probe", password="probe", autocommit=True)
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO probe.rows_ VALUES (%s)", (row,))
            except (pymysql.MySQLError, OSError) as problem:
                error, connection = str(problem) or "error", None
            answer = {"row": row, "sent": sent, "answered": time.time(), "error": error}
            answers.write(json.dumps(answer) + "\n")
            time.sleep(0.1)


if __name__ == "__main__":
    main()
