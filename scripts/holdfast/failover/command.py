"""A promotion by order of a person or of Replication Manager: under the lock, with each step printed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from holdfast import lock
from holdfast.config import Config
from holdfast.errors import ExitCode, ToolError, UsageError
from holdfast.failover import explain
from holdfast.failover.conduct import Conductor, HeldError, Order, start_fencer
from holdfast.failover.look import Seen, look
from holdfast.failover.memory import Memory
from holdfast.failover.messenger import messenger
from holdfast.failover.promotion import Course, Ended
from holdfast.failover.record import Change, Record, SwapRequest
from holdfast.failover.ways import site_of

PROMOTION_LOCK = "promotion"
log = logging.getLogger(__name__)


def say_aloud(line: str) -> None:
    """Print a line for whoever ordered it, and log it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    log.info("%s", line)


def carry_out(config: Config, act: Callable[[Conductor], Course]) -> Course:
    """Do something under the lock that everybody holds who promotes. Raises LockedError, and HeldError."""
    with lock.hold(PROMOTION_LOCK, config.state_directory), messenger(config) as tell:
        memory = Memory(config.state_directory)
        course = act(Conductor(site_of(config, say_aloud), memory, tell, start_fencer))
    for line in explain.table(course.seconds):
        say_aloud(line)
    return course


def exit_code(course: Course) -> int:
    """0 only for a promotion that can be written to."""
    return ExitCode.DONE if course.ended is Ended.PROMOTED and course.opened else ExitCode.TOOL


def conduct(conductor: Conductor, order: Order, *, wanted: str | None = None, unwanted: str | None = None) -> Course:
    """Look, check that the order can be meant, and promote, or finish what is under way.

    `wanted` is who shall be the primary, `unwanted` who is to be replaced. Raises UsageError, HeldError.
    """
    uuids = dict(conductor.memory.get("uuids"))
    seen = look(conductor.site, uuids)
    if seen.record is not None and not seen.record.opened:
        say_aloud(f"a promotion of term {seen.record.term} is under way: it is ended first")
        if wanted is not None and (seen.roles is None or seen.roles.candidate.name != wanted):
            # Replication Manager opens whom it has chosen when its script returns
            raise HeldError(f"it is not {wanted} that is being promoted", remedy="mysql-failover status shows who is.")
        if not (order.loss_allowed and _cannot_be_finished(seen, seen.record)):
            return conductor.finish(seen, order)
        give_up(conductor, seen, seen.record)
        seen = look(conductor.site, uuids)
    _check_names(seen, wanted, unwanted)
    return conductor.promote(seen, order)


def give_up(conductor: Conductor, seen: Seen, record: Record) -> None:
    """Let the record name the old primary again, though it is silent, so that a person can allow the loss."""
    if seen.roles is None or not seen.roles.old_uuid:
        raise ToolError("nobody knows the old primary's server_uuid", remedy="Start its guard, and try again.")
    request = SwapRequest(Change.ROLL_BACK, "manager", record.version, record.term, seen.roles.old_uuid)
    answer = conductor.site.keeper.swap(request)
    if answer.refusal:
        raise ToolError(f"the keeper refused: {answer.refusal}", remedy="Look again: mysql-failover status")


def _cannot_be_finished(seen: Seen, record: Record) -> bool:
    return seen.candidate is not None and record.in_sync is not None and seen.candidate.instance != record.in_sync


def _check_names(seen: Seen, wanted: str | None, unwanted: str | None) -> None:
    roles = seen.roles
    if roles is None:
        return
    if wanted is not None and wanted == roles.old.name:
        raise UsageError(f"{wanted} is the primary already", meaning="Nothing was done.")
    if wanted is not None and wanted != roles.candidate.name:
        what = f"{wanted} cannot be promoted: {roles.candidate.name} is the replica in sync"
        raise UsageError(what, meaning="Nothing was done.")
    if unwanted is not None and unwanted != roles.old.name:
        what = f"{unwanted} is not the record's primary: {roles.old.name} is"
        raise UsageError(what, meaning="Nothing was done.", remedy="mysql-failover status shows who is who.")
