#!/usr/bin/env python3
"""Answer proxies and monitors over HTTP: /primary, /replica and /metrics of this host's MySQL server.

/primary is 200 while the server takes writes. /replica is 200 while it replicates and is not too far behind; add
?max_lag_seconds=N for another limit. Everything else is 503 with the reason in one line, within a second.
Runs as mysql-health.service, without any right on this host; it reads no file but the account's and the guard's report.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.entry_point import run_program
from holdfast.errors import ConfigurationError
from holdfast.failover.health_service import HealthServer, Responder, Sampler, Server, local_session


def main(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    try:
        arguments.account_file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{arguments.account_file}: cannot be read: {error.strerror}",
            meaning="It holds the account with which the server is asked.",
            remedy="The role mysql_guard writes it; run playbooks/proxy.yml.",
        ) from None
    server = Server(lambda: local_session(arguments.socket, arguments.account_file))
    responder = Responder(Sampler(server.look), arguments.max_lag_seconds, arguments.guard_report)
    with HealthServer(arguments.address, arguments.port, responder) as listener:
        listener.serve_forever(poll_interval=0.5)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--address", required=True, help="private address to listen on")
    made.add_argument("--port", type=int, default=7333, help="default: %(default)s")
    made.add_argument("--socket", type=Path, default=Path("/run/mysqld/mysqld.sock"), metavar="FILE")
    made.add_argument("--account-file", type=Path, required=True, metavar="FILE", help="option file with [client]")
    made.add_argument("--max-lag-seconds", type=int, default=60, metavar="N", help="default: %(default)s")
    made.add_argument("--guard-report", type=Path, metavar="FILE", help="what the guard last reported, as JSON")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-health", main, parser()))
