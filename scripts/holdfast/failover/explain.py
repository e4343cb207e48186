"""Words for people: why a failover is held and what would make it act, the messages, the status screen (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.clock import format_utc
from holdfast.failover.look import Seen
from holdfast.failover.memory import Pause
from holdfast.failover.promotion import Course, Ended
from holdfast.failover.protocol import Fence
from holdfast.failover.wire import GuardReport
from holdfast.notify import duration_text

PARTS = ("detection", "fence", "drain", "opened", "writable", "first write")
LOSS = "mysql-failover failover --allow-data-loss"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nothing is done, what would make it act, and the runbook."""

    what: str
    remedy: str
    runbook: str = "failover_held.md"


def reasons(seen: Seen, window_seconds: float, pause: Pause | None, *, ordered: bool = False) -> list[Reason]:
    """Return everything that is in the way of promoting the other server now; empty: nothing is."""
    record, roles = seen.record, seen.roles
    if record is None:
        remedy = (
            "It acts as soon as the keeper answers with a record: systemctl status mysql-keeper; mysql-keeper rebuild."
        )
        return [Reason(f"no record: {seen.keeper_error}", remedy, "keeper.md")]
    if roles is None:
        return [Reason("nobody knows which host the record's primary is", "It acts once a guard answers.")]
    found = []
    name = roles.candidate.name
    if pause is not None and not ordered:
        until = format_utc(pause.until)
        found.append(
            Reason(f"paused by {pause.by} until {until}", f"It acts after {until}, or after mysql-failover resume.")
        )
    if not record.opened:
        found.append(
            Reason(f"a promotion of {name} (term {record.term}) is under way", "It is finished or rolled back first.")
        )
    report = seen.reports.get(name)
    if report is None:
        what = f"{name}'s guard does not answer"
        found.append(Reason(what, f"It acts once it does: systemctl status mysql-guard on {name}."))
    elif report.server is None:
        what = f"{name}'s MySQL does not answer its guard ({report.sql_error or 'no error told'})"
        found.append(Reason(what, f"It acts once it does: systemctl status mysql on {name}."))
    if record.opened and record.in_sync is None:
        what = f"nobody is in sync: {name} may lack acknowledged transactions"
        remedy = f"It acts once {roles.old.name} and {name} replicate again; or, accepting the loss: {LOSS}."
        found.append(Reason(what, remedy))
    elif record.opened and report and report.server and report.server.instance != record.in_sync:
        what = f"{name}'s mysqld is not the one that is in sync: it restarted, and its relay log may have been dropped"
        remedy = f"It acts once {roles.old.name} has armed it again; or, accepting the loss: {LOSS}."
        found.append(Reason(what, remedy))
    if not ordered and not seen.old_answers and seen.hearing.within(window_seconds):
        what = f"{name} still hears {roles.old.name}: it is this host that is cut off from it, not dead"
        found.append(
            Reason(what, "It acts when the replica hears nothing either; or by order: mysql-failover failover.")
        )
    return found


def started(kind: str, term: int, old: str, new: str) -> str:
    """A promotion has begun."""
    return f"{kind.upper()} started: {old} -> {new}, term {term}"


def ended(kind: str, old: str, new: str, course: Course) -> str:
    """A promotion has ended, one way or another, with its table."""
    lines = {
        Ended.PROMOTED: f"{kind.upper()} done: {new} is the primary, term {course.term}",
        Ended.ROLLED_BACK: f"{kind.upper()} rolled back: {old} goes on as the primary",
        Ended.WOULD_ROLL_BACK: f"{kind.upper()} is given up: {old} will go on as the primary",
        Ended.HELD: f"{kind.upper()} HELD, term {course.term}: no server is writable",
        Ended.OVERTAKEN: f"{kind.upper()} of term {course.term} was ended by another",
    }[course.ended]
    text = [lines, course.why]
    if course.fence is not Fence.UNTRIED:
        text.append(f"fence of {old}: {course.fence.value}")
        text += [f"  {proof.text}" for proof in course.proofs if proof.done][-1:]
    if course.fence is Fence.GIVEN_UP and course.ended is Ended.PROMOTED:
        text.append(f"UNPROVEN: {old} cannot acknowledge a write, but may still answer reads; a fencer keeps trying.")
    return "\n".join([*text, *table(course.seconds)])


def table(seconds: Mapping[str, float]) -> list[str]:
    """Return the lines of the table: seconds at which each part ended, counted from the primary's last answer."""
    return [f"{part:<12}{seconds[part]:6.1f} s" for part in PARTS if part in seconds]


def screen(
    seen: Seen,
    blocks: Sequence[Reason],
    *,
    manager: str,
    since: Mapping[str, Any],
    last: Mapping[str, Any],
    pause: Pause | None,
    watch: str,
    now: datetime,
) -> str:
    """Return one screen for whoever is on call."""
    lines = [f"failover by {manager}, seen at {format_utc(now)}", *_record_lines(seen, since, now), ""]
    lines += [_server_line(name, seen.reports[name], seen) for name in sorted(seen.reports)]
    lines += ["", f"manager    {watch}"]
    lines.append(f"pause      {f'until {format_utc(pause.until)}, by {pause.by}' if pause else 'none'}")
    if last:
        who = f"{last.get('old', '?')} -> {last.get('new', '?')}"
        lines.append(f"last       {last.get('at', '?')}: {last.get('kind', '?')} {who}")
        lines += [f"           {line}" for line in str(last.get("text", "")).splitlines()[:9]]
    else:
        lines.append("last       no failover yet")
    lines.append("")
    if blocks:
        lines.append("if the primary died now: NOTHING would be promoted:")
        for reason in blocks:
            lines += [f"  - {reason.what}", f"    {reason.remedy}"]
    elif seen.roles is not None:
        lines.append(
            f"if the primary died now: {seen.roles.candidate.name} would be promoted, with every acknowledged write"
        )
    return "\n".join(lines) + "\n"


def _record_lines(seen: Seen, since: Mapping[str, Any], now: datetime) -> list[str]:
    record, roles = seen.record, seen.roles
    if record is None:
        return [f"record     NONE: {seen.keeper_error}"]
    names = {} if roles is None else {roles.candidate_uuid: roles.candidate.name, roles.old_uuid: roles.old.name}
    state = "opened" if record.opened else "NOT OPENED: a promotion is under way"
    in_sync = "nobody" if record.in_sync is None else names.get(record.in_sync.server_uuid, record.in_sync.server_uuid)
    when = f", since {since['at']}" if since.get("at") else ""
    primary = names.get(record.primary, record.primary)
    return [
        f"record     term {record.term}, version {record.version}: primary {primary}, {state}",
        f"in sync    {in_sync}{when}",
    ]


def _server_line(name: str, report: GuardReport | None, seen: Seen) -> str:
    if report is None:
        return f"{name:<11}its guard does not answer"
    server = report.server
    if server is None:
        silent = duration_text(report.seconds_since_sql)
        return f"{name:<11}MySQL silent for {silent}: {report.sql_error or 'no error told'}"
    words = ["writable" if server.writable else "read-only"]
    words += ["OFFLINE"] if server.offline else []
    if server.source_of_channel:
        how = "connected" if report.io_connected else "NOT CONNECTED"
        words.append(f"replica of {report.source_host or server.source_of_channel}, {how}")
        words += [] if server.applying else ["APPLIER STOPPED"]
    else:
        words.append("no replication channel")
    if server.writable:
        words.append("acknowledges with the replica" if server.source_enabled else "acknowledges ALONE")
    words += [f"{server.waiting} commits wait"] if server.waiting else []
    words += [f"notice: {notice}" for notice in report.notices]
    return f"{name:<11}{', '.join(words)} (MySQL {report.version})"
