#!/usr/bin/env python3
"""Look after Replication Manager: what it would do, a pause that ends by itself, a switchover.

  status         whether it would replace a dead primary now, and why not (exit 4)
  pause --for 2h it goes on watching and does not fail over, until then or `resume`; over 4 h is told
  resume         it fails over by itself again
  switchover     primary and replica change places
  reset-limit    it acts again after ERR00027; find out first why it failed over so often
  watch          what a timer runs each minute: tells people what status finds

Exit status: 0 done, 2 usage, 3 configuration, 4 it does not answer, or would not act.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.clock import format_utc, utc_now
from holdfast.config import Config
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode, ToolError
from holdfast.failover import repman_watch
from holdfast.failover.repman import PROTECTS_NOTHING, Alert, Seen, complaints
from holdfast.failover.repman_api import Api
from holdfast.failover.repman_credentials import api_account_file, load_for_unit
from holdfast.failover.repman_spool import SPOOL, leave

FOLDER = repman_watch.FOLDER


def main(arguments: argparse.Namespace) -> int:
    """Do what the command line asks."""
    config = load_for_unit()
    api = Api(config.cluster, arguments.api_account or api_account_file())
    commands = {
        "status": status,
        "pause": pause,
        "resume": resume,
        "switchover": switchover,
        "reset-limit": reset_limit,
        "watch": watch,
    }
    return commands[arguments.command](api, config, arguments)


def status(api: Api, config: Config, arguments: argparse.Namespace) -> int:
    """Print what it is and what is wrong."""
    now = utc_now()
    paused = repman_watch.read_pause(FOLDER)
    seen: Seen = api.look()
    found = complaints(seen, paused=paused is not None)
    lines = [f"{name}: {state}" for name, state in sorted(seen.servers.items())]
    lines.append(f"topology {seen.topology}, {'automatic' if seen.automatic else 'manual'}")
    lines.append(f"failovers {seen.failovers} of {seen.limit or 'any number'}")
    if paused is not None:
        lines.append(f"paused until {format_utc(paused.until)}, it is {format_utc(now)}")
    lines += [part for alert in found.values() for part in (f"WRONG: {alert.head}", f"To do: {alert.todo}")]
    if not found and paused is None:
        lines.append(f"it would replace a dead primary of {config.cluster}")
    sys.stdout.write("\n".join(lines) + "\n")
    return ExitCode.TOOL if found else ExitCode.DONE


def pause(api: Api, config: Config, arguments: argparse.Namespace) -> int:
    """Make it manual until a moment."""
    length = repman_watch.pause_for(arguments.duration)
    now = utc_now()
    asked = repman_watch.Pause(now, now + length)
    repman_watch.write_pause(FOLDER, asked)
    try:
        api.set_automatic(False)
    except BaseException:
        (FOLDER / repman_watch.PAUSE_FILE).unlink(missing_ok=True)
        raise
    what = f"Replication Manager of {config.cluster} is paused until {format_utc(asked.until)}: nobody fails over"
    if length > repman_watch.LONG_PAUSE:
        leave(Alert(what, "`mysql-repman resume`, if it is not meant.", PROTECTS_NOTHING))
    sys.stdout.write(what + "\n")
    return ExitCode.DONE


def resume(api: Api, config: Config, arguments: argparse.Namespace) -> int:
    """Make it automatic, and forget the pause."""
    changed = api.set_automatic(True)
    (FOLDER / repman_watch.PAUSE_FILE).unlink(missing_ok=True)
    sys.stdout.write(f"Replication Manager of {config.cluster} {'is' if changed else 'was'} automatic\n")
    return ExitCode.DONE


def switchover(api: Api, config: Config, arguments: argparse.Namespace) -> int:
    """Have primary and replica change places, and see that they did."""
    before = primaries(api.look())
    api.switch_over()
    after = primaries(api.look())
    was, now = (", ".join(names) or "none" for names in (before, after))
    if before == after or len(after) != 1:
        raise ToolError(
            f"the switchover did not happen: the primary was {was}, is {now}",
            meaning="Replication Manager, or the fence before it, refused; nothing was promoted.",
            remedy="`journalctl -u replication-manager -u 'mysql-fence@*' --since -5m` says why.",
        )
    sys.stdout.write(f"the primary was {was}, is {now}\n")
    return ExitCode.DONE


def reset_limit(api: Api, config: Config, arguments: argparse.Namespace) -> int:
    """Let it act again."""
    api.reset_failover_counter()
    sys.stdout.write(f"Replication Manager counts {api.look().failovers} failovers now\n")
    return ExitCode.DONE


def watch(api: Api, config: Config, arguments: argparse.Namespace) -> int:
    """Look once, tell what is due."""
    now = utc_now()
    seen, paused = repman_watch.look(api, FOLDER, now)
    watched = repman_watch.watch(seen, paused, repman_watch.read_known(FOLDER), now)
    for alert in watched.alerts:
        leave(alert, arguments.spool)
    repman_watch.write_known(FOLDER, watched.known)
    return ExitCode.DONE


def primaries(seen: Seen) -> list[str]:
    """Which servers it holds for the primary."""
    return sorted(name for name, state in seen.servers.items() if state == "Master")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--api-account", type=Path, metavar="FILE", help="a file with user:password")
    made.add_argument("--spool", type=Path, default=SPOOL, metavar="FOLDER", help=argparse.SUPPRESS)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("status")
    commands.add_parser("pause").add_argument("--for", dest="duration", required=True, metavar="TIME", help="30m, 2h")
    for name in ("resume", "switchover", "reset-limit", "watch"):
        commands.add_parser(name)
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-repman", main, parser()))
