"""What `mysql-fence` does: by hand, for Replication Manager, for what was left under way, and in the background."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.clock import utc_now
from holdfast.config import Config
from holdfast.errors import ExitCode, HoldfastError, ToolError, UsageError
from holdfast.failover import explain
from holdfast.failover.alarms import Alarms
from holdfast.failover.command import carry_out, conduct, exit_code, say_aloud
from holdfast.failover.conduct import Conductor, Order
from holdfast.failover.fence import FenceRun, MovedOnError
from holdfast.failover.look import look
from holdfast.failover.memory import Memory
from holdfast.failover.messenger import messenger
from holdfast.failover.parties import Site
from holdfast.failover.promotion import Course, Ended, Terms
from holdfast.failover.protocol import Fence
from holdfast.failover.ways import host_named, site_of
from holdfast.process import run as run_process

log = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
FENCER_SECONDS = 15.0
ROBOT_EVERY = 40  # tries of the fencer: ten minutes, for Robot allows fifty resets an hour
FINISH_UNIT = "mysql-fence-finish.service"
ARGUMENTS = 7


def by_hand(config: Config, old: str, new: str, policy: str) -> int:
    """Promote by a person's order. Raises UsageError for a host that is not known."""
    replaced, wanted = host_named(config.failover, old), host_named(config.failover, new)
    order = Order("failover", Terms(policy == "hold"), ordered=True)
    return exit_code(carry_out(config, lambda conductor: conduct(conductor, order, wanted=wanted, unwanted=replaced)))


def dry_run(config: Config, old: str, new: str) -> int:
    """Say what would be found and done first."""
    replaced, wanted = host_named(config.failover, old), host_named(config.failover, new)
    site = site_of(config, say_aloud)
    seen = look(site, dict(Memory(config.state_directory).get("uuids")))
    for line in FenceRun(site, 0, site.hosts[replaced], site.hosts[wanted]).foresee():
        say_aloud(line)
    found = explain.reasons(seen, site.times.heartbeat_window_seconds, None, ordered=True)
    if seen.roles is not None and seen.roles.old.name != replaced:
        say_aloud(f"REFUSED: {replaced} is not the record's primary: {seen.roles.old.name} is")
        return ExitCode.TOOL
    for reason in found:
        say_aloud(f"REFUSED: {reason.what}. {reason.remedy}")
    if not found:
        say_aloud(f"{wanted} would be elected: it is in sync")
    return ExitCode.TOOL if found else ExitCode.DONE


def as_script(arguments: Sequence[str], configuration: Callable[[], Config]) -> int:
    """Promote for Replication Manager; returns only when the new server is the primary."""
    try:
        config = configuration()
        alarms = Alarms(config, "mysql-fence")
        while (course := _script(config, arguments)).ended is Ended.HELD:
            alarms.begin("held", f"promotion held: {course.why}", "No server is writable.", "", "failover_held.md")
            time.sleep(RETRY_SECONDS)
        if course.ended is Ended.PROMOTED:
            return ExitCode.DONE
        why = course.why
    except HoldfastError as error:
        log.error("veto: %s", error)
        why = str(error)
    except Exception as error:
        # Returning would let Replication Manager promote; a bug must not.
        log.exception("veto: a bug")
        why = f"a bug: {type(error).__name__}: {error}"
    say_aloud(f"veto: {why}. Replication Manager is restarted; nothing was promoted.")
    while True:
        # Its unit's end ends this script too; a restart that could not be ordered is ordered again.
        try:
            run_process(["systemctl", "start", "--no-block", FINISH_UNIT], name=FINISH_UNIT, timeout_seconds=20)
        except HoldfastError as error:
            log.error("%s", error.what)
        time.sleep(60.0)


def finish(config: Config) -> int:
    """Finish or roll back what is under way; waits while neither is possible. Raises ToolError without a record."""
    order = Order("failover", Terms(config.failover.fence_policy == "hold"))
    alarms = Alarms(config, "mysql-fence")
    while True:
        course = carry_out(config, lambda conductor: _finish(conductor, order))
        if course.ended is not Ended.HELD:
            say_aloud(f"the record stands: {course.why}")
            return ExitCode.DONE
        alarms.begin("held", f"promotion held: {course.why}", "No server is writable.", "", "failover_held.md")
        time.sleep(RETRY_SECONDS)


def in_background(config: Config, term: int) -> int:
    """Go on fencing until it is proven, or the term is over, or the old primary has become the new one's replica."""
    site = site_of(config, say_aloud)
    memory = Memory(config.state_directory)
    tries = 0
    with messenger(config) as tell:
        while True:
            tries += 1
            end = _try_in_background(site if tries % ROBOT_EVERY == 0 else replace(site, power=None), memory, term)
            if end:
                tell(f"Fence of term {term}: {end}")
                return ExitCode.DONE
            time.sleep(FENCER_SECONDS)


def _try_in_background(site: Site, memory: Memory, term: int) -> str:
    """Try once; how it ended, empty if it must go on."""
    seen = look(site, dict(memory.get("uuids")))
    record, roles = seen.record, seen.roles
    if record is None:
        say_aloud(f"keeper: {seen.keeper_error}")
        return ""
    if record.term != term:
        return "that term is over, nothing is left to fence for it"
    if not record.opened or roles is None:
        return ""
    # of an opened record: roles.old is its primary, and the other is who was replaced
    last = memory.get("last")
    replaced = site.hosts.get(str(last.get("old"))) if last.get("term") == term else None
    old, new = replaced or roles.candidate, roles.old
    run = FenceRun(site, term, old, new)
    try:
        fenced = run.run()
    except MovedOnError as error:
        return error.what
    except HoldfastError as error:
        say_aloud(error.what)
        return ""
    return f"{old.name} is fenced now: {run.proofs[-1].text}" if fenced is Fence.PROVEN else ""


def _script(config: Config, arguments: Sequence[str]) -> Course:
    if len(arguments) != ARGUMENTS or arguments[-1] not in ("failover", "switchover"):
        raise UsageError(
            f"{len(arguments)} arguments, the last {arguments[-1]!r}",
            meaning="Replication Manager gives seven, the last failover or switchover: is it another version?",
        )
    old, new = host_named(config.failover, arguments[0]), host_named(config.failover, arguments[1])
    switchover = arguments[-1] == "switchover"
    stands = Memory(config.state_directory).pause(utc_now())
    if stands is not None and not switchover:
        raise ToolError(f"failover is paused by {stands.by}", remedy="mysql-failover resume")
    # Its own judgement that the primary is dead counts as silence; whether the replica still hears it, it does not ask.
    terms = Terms(config.failover.fence_policy == "hold", may_roll_back=False)
    order = Order(arguments[-1], terms, ordered=switchover, silent=True)
    return carry_out(config, lambda conductor: conduct(conductor, order, wanted=new, unwanted=old))


def _finish(conductor: Conductor, order: Order) -> Course:
    seen = look(conductor.site, dict(conductor.memory.get("uuids")))
    if seen.record is None:
        raise ToolError(f"no record: {seen.keeper_error}", remedy="See docs/runbooks/keeper.md.")
    if seen.record.opened:
        return Course(Ended.OVERTAKEN, "no promotion is under way", seen.record.term)
    return conductor.finish(seen, order)
