#!/usr/bin/env python3
"""Replace the primary: by itself when it dies, or by order. Runs on the keeper's host only.

  serve       watch, and promote when the primary is dead; the service does this
  status      one screen: record, servers, last failover, what would happen now and what is in the way
  switchover  make the other server the primary, losing nothing
  failover    the same without waiting for the primary's death; --allow-data-loss where the replica may lack something
  pause       no automatic failover for a while; resume ends it early
  remember    take note of the scheduled events that run on the primary (serve does it by itself)

Exit status: 0 done, 2 usage, 3 configuration or wrong host, 4 held (the message says why and what would make it act),
6 another manager or promotion is at work.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import re
import sys
import time
from datetime import timedelta
from pathlib import Path

from holdfast import lock
from holdfast.clock import format_utc, utc_now
from holdfast.config import DEFAULT_PATH, Config, load
from holdfast.entry_point import run_program
from holdfast.errors import ConfigurationError, ExitCode, ToolError, UsageError
from holdfast.failover import explain
from holdfast.failover.alarms import Alarms
from holdfast.failover.command import PROMOTION_LOCK, carry_out, conduct, exit_code, say_aloud
from holdfast.failover.conduct import Conductor, Order, start_fencer
from holdfast.failover.look import look
from holdfast.failover.manager import Manager
from holdfast.failover.memory import Memory
from holdfast.failover.messenger import messenger
from holdfast.failover.promotion import Terms
from holdfast.failover.ways import host_named, site_of
from holdfast.systemd import tell_systemd

log = logging.getLogger(__name__)
UNITS = {"m": 60, "h": 3600, "d": 86400}


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and do one of them."""
    config = load(arguments.config)
    commands = {
        "serve": serve,
        "status": status,
        "switchover": switchover,
        "failover": failover,
        "pause": pause,
        "resume": resume,
        "remember": remember,
    }
    return commands[arguments.command](config, arguments)


def serve(config: Config, arguments: argparse.Namespace) -> int:
    """Watch for ever."""
    _ours(config)
    site = site_of(config, lambda line: log.warning("%s", line))
    with lock.hold("failover-manager", config.state_directory), messenger(config) as tell:
        manager = Manager(
            Conductor(site, Memory(config.state_directory), tell, start_fencer),
            Alarms(config, "failover"),
            lambda: lock.hold(PROMOTION_LOCK, config.state_directory),
            silence_seconds=config.failover.timing.silence_seconds,
            hold_if_unproven=config.failover.fence_policy == "hold",
        )
        tell_systemd("READY=1")
        while True:
            pause_seconds = manager.tick()
            tell_systemd("WATCHDOG=1")
            time.sleep(pause_seconds)


def status(config: Config, arguments: argparse.Namespace) -> int:
    """One screen."""
    site = site_of(config, lambda _: None)
    memory = Memory(config.state_directory)
    seen = look(site, dict(memory.get("uuids")))
    now = utc_now()
    stands = memory.pause(now)
    manager = memory.get("manager")
    watch = f"looked at {manager.get('at', 'no time')}, primary silent for {manager.get('silent_seconds', '?')} s"
    if config.failover.manager != "mysql_failover":
        watch = "Replication Manager: see its own page; mysql-fence does the promotion for it"
    screen = explain.screen(
        seen,
        explain.reasons(seen, site.times.heartbeat_window_seconds, stands),
        manager=config.failover.manager,
        since=memory.get("in_sync"),
        last=memory.get("last"),
        pause=stands,
        watch=watch,
        now=now,
    )
    sys.stdout.write(screen)
    return ExitCode.DONE


def switchover(config: Config, arguments: argparse.Namespace) -> int:
    """Make the other server the primary."""
    _ours(config)
    wanted = None if arguments.to is None else host_named(config.failover, arguments.to)
    order = Order("switchover", Terms(config.failover.fence_policy == "hold"), ordered=True)
    return exit_code(carry_out(config, lambda conductor: conduct(conductor, order, wanted=wanted)))


def failover(config: Config, arguments: argparse.Namespace) -> int:
    """Promote now."""
    _ours(config)
    terms = Terms(config.failover.fence_policy == "hold", old_primary_is_off=arguments.old_primary_is_off)
    order = Order("failover", terms, ordered=True, loss_allowed=arguments.allow_data_loss)
    return exit_code(carry_out(config, lambda conductor: conduct(conductor, order)))


def pause(config: Config, arguments: argparse.Namespace) -> int:
    """No automatic failover for a while; mysql-fence refuses Replication Manager's for as long."""
    site_of(config, say_aloud)
    found = re.fullmatch(r"([1-9][0-9]{0,3})([mhd])", arguments.duration)
    if found is None:
        raise UsageError(f"--for {arguments.duration!r}: not a duration", remedy="Write 30m, 2h or 1d.")
    duration = timedelta(seconds=int(found[1]) * UNITS[found[2]])
    made = Memory(config.state_directory).set_pause(utc_now(), duration, getpass.getuser())
    say_aloud(f"paused until {format_utc(made.until)}: the primary is not replaced by itself until then")
    return ExitCode.DONE


def resume(config: Config, arguments: argparse.Namespace) -> int:
    """End a pause."""
    site_of(config, say_aloud)
    Memory(config.state_directory).end_pause()
    say_aloud("no pause stands")
    return ExitCode.DONE


def remember(config: Config, arguments: argparse.Namespace) -> int:
    """Take note of the primary's events."""
    site = site_of(config, say_aloud)
    memory = Memory(config.state_directory)
    seen = look(site, dict(memory.get("uuids")))
    if seen.roles is None or not seen.old_answers or (seen.record and not seen.record.opened):
        raise ToolError("the primary does not answer, or a promotion is under way: nothing was noted")
    with lock.hold(PROMOTION_LOCK, config.state_directory):
        conductor = Conductor(site, memory, say_aloud, start_fencer)
        conductor.settle(seen)
        conductor.remember_events(seen.roles.old)
    return ExitCode.DONE


def _ours(config: Config) -> None:
    if config.failover.manager != "mysql_failover":
        raise ConfigurationError(
            f"failover.manager: is {config.failover.manager}, which promotes on this site",
            meaning="Two managers would promote against each other, so mysql-failover only shows the status here.",
            remedy="playbooks/switchover.yml asks whichever manager the site has.",
        )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="watch and promote; the service does this")
    commands.add_parser("status", help="one screen for whoever is on call")
    turn = commands.add_parser("switchover", help="make the other server the primary")
    turn.add_argument("--to", metavar="HOST", help="who shall be the primary; default: the replica in sync")
    now = commands.add_parser("failover", help="promote now, without waiting")
    now.add_argument(
        "--allow-data-loss",
        action="store_true",
        help="promote a replica that may lack acknowledged transactions; they are lost",
    )
    now.add_argument(
        "--old-primary-is-off",
        action="store_true",
        help="I have seen that the old primary's power is off: take that for the fence's proof",
    )
    rest = commands.add_parser("pause", help="no automatic failover for a while")
    rest.add_argument("--for", dest="duration", default="2h", metavar="2h", help="30m, 2h, 1d; default: %(default)s")
    commands.add_parser("resume", help="end the pause")
    commands.add_parser("remember", help="take note of the primary's scheduled events")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-failover", main, parser()))
