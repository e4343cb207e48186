"""The keeper: holds the record, answers who may ask, and changes it by compare-and-swap alone (design section 7)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.config_failover import FailoverConfig
from holdfast.errors import ToolError
from holdfast.failover.alarms import Alarms
from holdfast.failover.https import RefusedError, Request
from holdfast.failover.rebuild import Told, ask_guards, described, fresh_version, rebuilt
from holdfast.failover.record import Change, SwapAnswer, SwapRequest, decide_swap
from holdfast.failover.record_file import Contents, RecordFile, RecordFileError, UnsureError
from holdfast.failover.wire import from_json, to_json

MANAGER = "manager"
OF_GUARDS = (Change.TO_NONE, Change.TO_REPLICA)
GUARD_SILENT_SECONDS = 10.0
# a keeper that has just started: the playbook puts it there before the guards
GUARD_FIRST_SECONDS = 120.0
REBUILD_EVERY_SECONDS = 10.0
RUNBOOK = "keeper.md"

log = logging.getLogger(__name__)


class Keeper:
    """Answers requests in the server's threads; `tick` is called each second by the program's own.

    Once `broken` is set nothing is answered any more, and the program has to end: the next one makes the file durable
    before it tells anybody.
    """

    def __init__(
        self,
        failover: FailoverConfig,
        file: RecordFile,
        alarms: Alarms,
        *,
        ask: Callable[[], list[Told]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broken: ToolError | None = None
        self._failover = failover
        self._file = file
        self._alarms = alarms
        self._ask = ask or (lambda: ask_guards(failover))
        self._clock = clock
        self._lock = threading.Lock()
        self._names = {host.name for host in failover.database_hosts}
        self._heard = dict.fromkeys(self._names, clock() + GUARD_FIRST_SECONDS - GUARD_SILENT_SECONDS)
        self._rebuild_at = clock()

    @property
    def allowed_names(self) -> set[str]:
        """Who may ask at all."""
        return self._names | {self._failover.keeper.host}

    def handle(self, request: Request) -> Mapping[str, Any]:
        """Answer GET /record and POST /swap. Raises RefusedError and WireError."""
        if request.peer in self._names:
            self._heard[request.peer] = self._clock()
        if (request.method, request.path) == ("GET", "/record"):
            with self._lock:
                contents = self._read()
            return {"record": None if contents is None else to_json(contents.record)}
        if (request.method, request.path) == ("POST", "/swap"):
            return self._swap(request)
        raise RefusedError(404, f"{request.method} {request.path}: the keeper answers GET /record and POST /swap")

    def tick(self) -> None:
        """Look after what nobody asks for: silent guards, a damaged file, a record that is not there."""
        now = self._clock()
        for host, heard in sorted(self._heard.items()):
            if now - heard > GUARD_SILENT_SECONDS:
                self._alarms.begin(
                    f"guard {host}",
                    f"the guard of {host} has been silent for {GUARD_SILENT_SECONDS:g} s",
                    "Its server is not watched: it cannot go on without its replica, nor be opened after a restart.",
                    f"See `systemctl status mysql-guard` on {host}, and the network between it and this host.",
                    RUNBOOK,
                )
            else:
                self._alarms.end(f"guard {host}")
        try:
            with self._lock:
                missing = self._read() is None
        except RefusedError:
            return
        if missing and now >= self._rebuild_at:
            self._rebuild_at = now + REBUILD_EVERY_SECONDS
            self._rebuild()
        elif not missing:
            self._alarms.end("record")

    def _read(self) -> Contents | None:
        if self.broken is not None:
            raise RefusedError(503, self.broken.what)
        try:
            contents = self._file.read()
        except RecordFileError as error:
            self._alarms.begin("file", error.what, error.meaning, error.remedy, RUNBOOK)
            raise RefusedError(503, f"{error.what}; nothing is granted") from None
        self._alarms.end("file")
        return contents

    def _swap(self, request: Request) -> Mapping[str, Any]:
        if request.document.get("host") != request.peer:
            raise RefusedError(403, f"{request.peer} asks in the name of {request.document.get('host')!r}")
        asked = from_json(SwapRequest, request.document.get("request"), "request")
        with self._lock:
            contents = self._read()
            hosts = {} if contents is None else contents.hosts
            self._authorise(request.peer, asked, hosts)
            answer = decide_swap(None if contents is None else contents.record, asked)
            if answer.granted and answer.record is not None:
                learned = {} if asked.asker == MANAGER else {asked.asker: request.peer}
                answer = self._written(Contents(answer.record, {**hosts, **learned}), answer, contents)
        log.info("swap %s by %s (%s): %s", asked.change.name, request.peer, asked.asker, _outcome(answer))
        return {"record": to_json(answer.record), "refusal": answer.refusal}

    def _authorise(self, peer: str, asked: SwapRequest, hosts: Mapping[str, str]) -> None:
        if peer == self._failover.keeper.host:
            allowed = asked.change not in OF_GUARDS and asked.asker == MANAGER
        else:
            allowed = asked.change in OF_GUARDS and asked.asker != MANAGER and hosts.get(asked.asker, peer) == peer
        if not allowed:
            log.warning("%s asks for %s as %r and may not", peer, asked.change.name, asked.asker)
            raise RefusedError(403, f"{peer} may not ask for {asked.change.name} as {asked.asker!r}")

    def _written(self, contents: Contents, answer: SwapAnswer, before: Contents | None) -> SwapAnswer:
        try:
            self._file.write(contents)
        except RecordFileError as error:
            self._alarms.begin(
                "disk", error.what, "Swaps are refused: a primary without its replica waits.", error.remedy, RUNBOOK
            )
            return SwapAnswer(None if before is None else before.record, error.what)
        except UnsureError as error:
            self.broken = error
            raise RefusedError(503, error.what) from None
        self._alarms.end("disk")
        return answer

    def _rebuild(self) -> None:
        found = rebuilt(self._ask(), fresh_version())
        known = self._file.known_term
        if not isinstance(found, str) and known >= found.record.term:
            found = f"this keeper wrote term {known}, and no guard has seen it yet"
        if isinstance(found, str):
            self._alarms.begin(
                "record",
                f"there is no record, and it cannot be rebuilt: {found}",
                "Nothing is granted and nobody is promoted; a primary with its replica goes on.",
                "It is tried every 10 s. `mysql-keeper rebuild` shows what each server says.",
                RUNBOOK,
            )
            return
        with self._lock:
            if self._read() is None and self._written(found, SwapAnswer(found.record, ""), None).granted:
                log.warning("the record was missing and has been rebuilt: %s", described(found.record))


def _outcome(answer: SwapAnswer) -> str:
    return f"granted, {described(answer.record)}" if answer.granted else f"refused: {answer.refusal}"
