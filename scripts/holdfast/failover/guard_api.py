"""What others may ask of a guard: its report, the end of its server (a fence), and leave to stop it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.config_failover import FailoverConfig
from holdfast.errors import ToolError
from holdfast.failover.guard import Guard
from holdfast.failover.https import RefusedError, Request
from holdfast.failover.record import Change, SwapRequest
from holdfast.failover.wire import WireError, to_json

log = logging.getLogger(__name__)

# for a planned stop: so long the primary does not take this server for its replica again
LEAVING_SECONDS = 120.0
LEFT_SECONDS = 5.0
SWAP_ATTEMPTS = 3


def allowed_names(failover: FailoverConfig) -> set[str]:
    """Who may ask at all."""
    return {failover.keeper.host, *(host.name for host in failover.database_hosts)}


def handler(guard: Guard, failover: FailoverConfig, host: str) -> Callable[[Request], Mapping[str, Any]]:
    """Answers GET /report, POST /kill and POST /leave."""

    def handle(request: Request) -> Mapping[str, Any]:
        match request.method, request.path:
            case "GET", "/report":
                document: Mapping[str, Any] = to_json(guard.report())
                return document
            case "POST", "/kill":
                _only(request, failover.keeper.host)
                return kill(guard, request.document.get("term"))
            case "POST", "/leave":
                _only(request, host, failover.keeper.host)
                return leave(guard)
        raise RefusedError(404, f"{request.method} {request.path}: a guard answers /report, /kill and /leave")

    return handle


def publish(guard: Guard, file: Path | None) -> None:
    """Lay the report down for programs of this host without a certificate, such as the health responder."""
    if file is None:
        return
    temporary = file.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(to_json(guard.report())), encoding="ascii")
        temporary.chmod(0o644)
        temporary.replace(file)
    except OSError as error:
        log.warning("%s: cannot be written: %s", file, error.strerror)


def _only(request: Request, *names: str) -> None:
    if request.peer not in names:
        log.warning("%s asks for %s and may not", request.peer, request.path)
        raise RefusedError(403, f"{request.peer} may not ask for {request.path}")


def kill(guard: Guard, term: object) -> dict[str, Any]:
    """End the server for a fence of that term. Raises RefusedError when this server is that term's primary."""
    if type(term) is not int or term < 1:
        raise WireError(f"term: must be a whole number above 0, not {term!r}")
    refusal = guard.memory.refusal_of_kill(term, guard.me)
    if refusal:
        raise RefusedError(409, refusal)
    # first: from here on no older record is read, so that nothing opens what boots next
    guard.remember(lambda memory: memory.with_fence(term))
    outcome = guard.server.kill()
    log.warning("fenced for term %d: %s", term, outcome)
    mysqld = guard.server.mysqld
    if mysqld is None:
        raise RefusedError(503, outcome)
    return {"killed": not mysqld.runs, "instance": to_json(mysqld.instance), "text": outcome}


def leave(guard: Guard, *, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """Before a planned stop of a replica: from now on nobody counts on it.

    Raises RefusedError: the primary cannot leave, and without the keeper nobody can.
    """
    try:
        for _ in range(SWAP_ATTEMPTS):
            record = guard.keeper.record()
            if record is None:
                raise RefusedError(503, "the keeper has no record")
            if record.primary == guard.me:
                raise RefusedError(409, "this server is the primary: switch over first")
            guard.leaves(LEAVING_SECONDS)
            if record.in_sync is None or record.in_sync.server_uuid != guard.me or not record.opened:
                break
            if guard.keeper.swap(SwapRequest(Change.TO_NONE, guard.me, record.version, record.term)).granted:
                break
        else:
            raise RefusedError(409, "the record changes all the time")
    except RefusedError:
        raise
    except ToolError as error:
        raise RefusedError(503, f"the keeper does not answer: {error.what}") from None
    return {"left": True, "primary_goes_on": _primary_goes_on(guard, clock() + LEFT_SECONDS, clock)}


def _primary_goes_on(guard: Guard, deadline: float, clock: Callable[[], float]) -> bool:
    """Wait until the primary acknowledges without this server, so that the stop costs nobody a moment."""
    while clock() < deadline:
        report = guard.surroundings.seen.report
        if report is not None and report.server is not None and not report.server.source_enabled:
            return True
        time.sleep(0.1)
    return False
