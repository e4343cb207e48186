#!/usr/bin/env python3
"""Keep the record: who is primary, and which running server has every acknowledged transaction.

  serve    answer guards and managers; the service does this
  init     make the record of a new site, once; the playbook does this
  rebuild  make it again from what the guards say, when the file is lost; with --primary by a person's word
  show     print the record

Exit status: 0 done, 2 usage, 3 configuration, 4 no record, or none can be made, 6 another keeper runs on this host.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path

from holdfast.config import DEFAULT_PATH, Config, load
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode, NotThisHostError, ToolError, UsageError
from holdfast.failover import rebuild as rebuilding
from holdfast.failover.alarms import Alarms
from holdfast.failover.https import serve
from holdfast.failover.keeper import Keeper
from holdfast.failover.record_file import Contents, RecordFile
from holdfast.failover.wire import to_json
from holdfast.lock import hold
from holdfast.systemd import tell_systemd

TICK_SECONDS = 1.0
LOCK = "keeper"


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and do one of the four."""
    config = load(arguments.config)
    if config.host != config.failover.keeper.host:
        raise NotThisHostError(f"{config.host} is not the keeper's host; that is {config.failover.keeper.host}")
    commands = {"serve": run, "init": init, "rebuild": rebuild, "show": show}
    return commands[arguments.command](config, arguments)


def run(config: Config, _arguments: argparse.Namespace) -> int:
    """Answer until stopped."""
    failover = config.failover
    with hold(LOCK, config.state_directory):
        file = RecordFile(failover.keeper.record_file)
        file.settle()
        service = Keeper(failover, file, Alarms(config, "mysql-keeper"))
        pause = threading.Event()
        with serve(
            failover.keeper.address, failover.keeper.port, failover.tls, service.handle, service.allowed_names
        ) as listening:
            tell_systemd("READY=1")
            while listening.alive:
                service.tick()
                if service.broken is not None:
                    raise service.broken
                tell_systemd("WATCHDOG=1")
                pause.wait(TICK_SECONDS)
    raise ToolError("the keeper has stopped listening", remedy="systemd starts it again.")


def init(config: Config, arguments: argparse.Namespace) -> int:
    """Make the first record; does nothing, with status 0, where one is."""
    servers = _servers(config, arguments)
    with hold(LOCK, config.state_directory):
        file = RecordFile(config.failover.keeper.record_file)
        file.settle()
        if file.read() is not None:
            sys.stdout.write("there is a record already; nothing was changed\n")
            return ExitCode.DONE
        _write(file, rebuilding.first_contents(arguments.primary, servers, rebuilding.fresh_version(), arguments.term))
    return ExitCode.DONE


def rebuild(config: Config, arguments: argparse.Namespace) -> int:
    """Show what the guards say; write the record where they agree, or a person names the primary."""
    told = rebuilding.ask_guards(config.failover)
    for each in told:
        sys.stdout.write(f"{each.host}: {rebuilding.told_text(each)}\n")
    by_hand = arguments.primary is not None
    found = (
        rebuilding.by_hand(told, arguments.primary, rebuilding.fresh_version())
        if by_hand
        else rebuilding.rebuilt(told, rebuilding.fresh_version())
    )
    if isinstance(found, str):
        raise ToolError(
            f"no record can be made: {found}",
            remedy="Where one server is gone for good: mysql-keeper rebuild --primary HOST --others-are-off.",
        )
    if by_hand and not arguments.others_are_off:
        raise UsageError(
            "--primary needs --others-are-off",
            meaning="A record by hand is safe only while no other server of the pair can acknowledge a write.",
        )
    with hold(LOCK, config.state_directory):
        file = RecordFile(config.failover.keeper.record_file)
        file.settle()
        if file.read() is not None:
            raise ToolError(f"{file.path}: there is a record; nothing was changed", remedy="Move it away first.")
        _write(file, found)
    return ExitCode.DONE


def show(config: Config, arguments: argparse.Namespace) -> int:
    """Print the record."""
    contents = RecordFile(config.failover.keeper.record_file).read()
    if contents is None:
        raise ToolError(
            f"{config.failover.keeper.record_file}: there is no record",
            meaning="Nothing is granted and nobody is promoted.",
            remedy="The keeper makes it once all servers agree; `mysql-keeper rebuild` shows what they say.",
        )
    if arguments.json:
        sys.stdout.write(json.dumps({"record": to_json(contents.record), "hosts": dict(contents.hosts)}) + "\n")
    else:
        sys.stdout.write("\n".join(rebuilding.lines(contents)) + "\n")
    return ExitCode.DONE


def _write(file: RecordFile, contents: Contents) -> None:
    file.write(contents)
    sys.stdout.write("\n".join(rebuilding.lines(contents)) + "\n")


def _term(text: str) -> int:
    term = int(text)
    if term < 1:
        raise ValueError(text)
    return term


def _servers(config: Config, arguments: argparse.Namespace) -> dict[str, str]:
    names = {host.name for host in config.failover.database_hosts}
    pairs = [text.partition("=") for text in arguments.server]
    servers = {host: uuid for host, _, uuid in pairs if uuid}
    if set(servers) != names or len(set(servers.values())) != len(names) or len(pairs) != len(names):
        raise UsageError(f"--server HOST=UUID must be given once for each of {', '.join(sorted(names))}")
    if arguments.primary not in names:
        raise UsageError(f"--primary {arguments.primary}: not one of {', '.join(sorted(names))}")
    return servers


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="answer guards and managers")
    first = commands.add_parser("init", help="make the record of a new site, once")
    first.add_argument("--primary", required=True, metavar="HOST", help="the host that is primary now")
    first.add_argument("--server", action="append", default=[], metavar="HOST=UUID", help="each host's server_uuid")
    first.add_argument("--term", type=_term, default=1, metavar="N", help="first term, after a disaster (default: 1)")
    again = commands.add_parser(
        "rebuild", help="make the record again from what the guards say; stop the service first"
    )
    again.add_argument("--primary", metavar="HOST", help="by your word: this host is primary")
    again.add_argument("--others-are-off", action="store_true", help="you have made sure that no other server runs")
    shown = commands.add_parser("show", help="print the record")
    shown.add_argument("--json", action="store_true", help="the same for programs")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-keeper", main, parser()))
