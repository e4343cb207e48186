"""How a record comes to be: of a new site, from what all guards say, or by a person's word. Nothing else makes one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.config_failover import DatabaseHostConfig, FailoverConfig
from holdfast.failover.https import RefusedError, UnreachableError, call
from holdfast.failover.record import Record, Witness, decide_rebuild
from holdfast.failover.record_file import Contents
from holdfast.failover.wire import GuardReport, WireError, from_json

REPORT_TIMEOUT_SECONDS = 3.0
# a report older than this tells of a server that may have been anything since
FRESH_SECONDS = 5.0
# a guard that is silent may know later terms than those that answer, but not this many
TERMS_LEFT_OUT = 1000


@dataclass(frozen=True)
class Told:
    """What one host's guard said, or why it said nothing."""

    host: str
    report: GuardReport | None
    problem: str = ""


def ask_guard(failover: FailoverConfig, host: DatabaseHostConfig) -> Told:
    """Ask a guard for its report; never raises."""
    try:
        answer = call(
            host.address, host.guard_port, "GET", "/report", None, failover.tls, host.name, REPORT_TIMEOUT_SECONDS
        )
        return Told(host.name, from_json(GuardReport, answer))
    except (UnreachableError, RefusedError, WireError) as error:
        return Told(host.name, None, error.what)


def ask_guards(failover: FailoverConfig) -> list[Told]:
    """Ask every guard of the pair, one after the other."""
    return [ask_guard(failover, host) for host in failover.database_hosts]


def witness_of(told: Told) -> Witness:
    """What a guard's report is worth when there is no record (pure)."""
    report = told.report
    if report is None or report.host != told.host:
        return Witness(told.host, False, False, "", 0)
    server = report.server
    if server is None or not report.server_uuid or report.seconds_since_sql > FRESH_SECONDS:
        return Witness(report.server_uuid or told.host, False, False, "", report.highest_term)
    return Witness(report.server_uuid, True, server.writable, server.source_of_channel, report.highest_term)


def rebuilt(told: Sequence[Told], fresh_version: int) -> Contents | str:
    """Return the contents that all guards agree on, or why there are none (pure)."""
    witnesses = [witness_of(each) for each in told]
    hosts = {witness.server_uuid: each.host for witness, each in zip(witnesses, told, strict=True)}
    if len(hosts) != len(told):
        return f"two hosts say that they run the same server: {', '.join(hosts)}"
    record = decide_rebuild(witnesses, fresh_version)
    return record if isinstance(record, str) else Contents(record, hosts)


def fresh_version() -> int:
    """A version that no request sent before can carry."""
    return random.SystemRandom().randrange(2**62)


def first_contents(primary: str, servers: Mapping[str, str], version: int, term: int = 1) -> Contents:
    """The contents of a new site (pure); `servers` are server_uuids by host, `primary` is a host of them.

    A site that was lost and restored begins with a term that no server of before can know.
    """
    record = Record(version=version, term=term, primary=servers[primary], opened=True, in_sync=None)
    return Contents(record, {uuid: host for host, uuid in servers.items()})


def by_hand(told: Sequence[Told], primary: str, fresh_version: int) -> Contents | str:
    """The contents by a person's word that `primary` is primary and no other server runs, or why not (pure).

    Its own guard must answer, for the record holds server_uuids.
    """
    reports = {each.host: each.report for each in told}
    mine = reports.get(primary)
    if mine is None or not mine.server_uuid:
        return f"the guard of {primary} does not say which server it watches"
    term = max(report.highest_term for report in reports.values() if report) + TERMS_LEFT_OUT
    hosts = {report.server_uuid: host for host, report in reports.items() if report and report.server_uuid}
    return Contents(Record(fresh_version, term, mine.server_uuid, opened=True, in_sync=None), hosts)


def told_text(told: Told) -> str:
    """What a guard said, in one line (pure)."""
    report = told.report
    if report is None:
        return f"does not answer: {told.problem}"
    if report.server is None:
        return f"MySQL does not answer: {report.sql_error or 'silent'}; highest term {report.highest_term}"
    server = report.server
    role = "writable" if server.writable else "read-only"
    source = f"replicates from {server.source_of_channel}" if server.source_of_channel else "no channel"
    return f"{report.server_uuid} {role}, {source}, highest term {report.highest_term}"


def lines(contents: Contents) -> list[str]:
    """The record for a person (pure)."""
    record = contents.record

    def name(uuid: str) -> str:
        return f"{contents.hosts.get(uuid, 'unknown host')} ({uuid})"

    in_sync = "nobody: it may acknowledge alone, and nobody may be promoted"
    if record.in_sync is not None:
        in_sync = (
            f"{name(record.in_sync.server_uuid)}, boot {record.in_sync.boot_id}, start {record.in_sync.process_start}"
        )
    return [
        f"primary  {name(record.primary)}{'' if record.opened else ', being promoted: not opened yet'}",
        f"in sync  {in_sync}",
        f"term     {record.term}",
        f"version  {record.version}",
    ]


def described(record: Record | None) -> str:
    """A record in one line (pure)."""
    if record is None:
        return "no record"
    in_sync = "none" if record.in_sync is None else record.in_sync.server_uuid
    opened = "" if record.opened else ", not opened"
    return f"version {record.version}, term {record.term}, primary {record.primary}{opened}, in sync {in_sync}"
