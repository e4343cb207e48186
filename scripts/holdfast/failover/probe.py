"""Which ways lead to a database host now: all are asked at once, so that a dead host costs one time limit, not six."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from holdfast.database import DatabaseError
from holdfast.errors import HoldfastError
from holdfast.failover.parties import Hearing, Host, Route
from holdfast.failover.sql import answers
from holdfast.failover.wire import GuardReport


@dataclass(frozen=True, slots=True)
class Found:
    """The ways on which a host's SQL and its guard answered, what the guard said, whether its replica hears it."""

    sql: tuple[Route, ...]
    guards: tuple[Route, ...]
    report: GuardReport | None
    heard: bool


def probe(host: Host, replica: Host, window_seconds: float) -> Found:
    """Ask every way; heard means that the replica got something within that time, over a connection that stands."""
    routes = host.routes
    with ThreadPoolExecutor(2 * len(routes) + 1) as pool:
        logins = [pool.submit(_logs_in, route) for route in routes]
        reports = [pool.submit(report_of, route) for route in routes]
        hearing = pool.submit(hearing_of, replica)
        answered = [(route, report.result()) for route, report in zip(routes, reports, strict=True)]
        return Found(
            sql=tuple(route for route, login in zip(routes, logins, strict=True) if login.result()),
            guards=tuple(route for route, report in answered if report is not None),
            report=next((report for _, report in answered if report is not None), None),
            heard=hearing.result().within(window_seconds),
        )


def report_of(route: Route) -> GuardReport | None:
    """Return what a guard says, None if it says nothing that can be read."""
    try:
        return route.report()
    except HoldfastError:
        return None


def hearing_of(replica: Host) -> Hearing:
    """Return how a replica hears its source; not at all, if it cannot be asked."""
    try:
        session = replica.direct.connect()
    except HoldfastError:
        return Hearing(connected=False, age_seconds=None)
    try:
        return session.hearing()
    except HoldfastError:
        return Hearing(connected=False, age_seconds=None)
    finally:
        session.close()


def sql_answers(route: Route) -> bool:
    """Whether SQL answers there, if only with an error: a full or misconfigured server is not a dead one."""
    try:
        session = route.connect()
    except DatabaseError as error:
        return answers(error)
    except HoldfastError:
        return False
    try:
        session.look()
    except DatabaseError as error:
        return answers(error)
    finally:
        session.close()
    return True


def _logs_in(route: Route) -> bool:
    try:
        route.connect().close()
    except HoldfastError:
        return False
    return True
