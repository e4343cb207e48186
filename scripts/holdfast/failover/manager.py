"""Our failover manager: a thin loop that looks, decides and acts at most once, and says why it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from holdfast.clock import format_utc, utc_now
from holdfast.errors import HoldfastError, LockedError, ToolError
from holdfast.failover import explain
from holdfast.failover.alarms import Alarms
from holdfast.failover.candidate import Candidate
from holdfast.failover.conduct import Conductor, HeldError, Order
from holdfast.failover.decide import decide_manager
from holdfast.failover.look import Lookout, Roles, Seen, Watch, view_of
from holdfast.failover.promotion import Course, Ended, Terms
from holdfast.failover.protocol import ManagerStep
from holdfast.failover.record import Record

log = logging.getLogger(__name__)
LOOKS_PER_SILENCE = 6  # at the seed's 30 s: one look every 5 s
REMEMBER_SECONDS = 60.0
LONG_PAUSE_SECONDS = 4 * 3600
MEANING = "The primary is not replaced by a program for as long as this lasts."
RUNBOOK = "failover_held.md"


class Manager:
    """The loop's state: who answered when, and a candidate that is prepared while the primary is silent.

    `acting` is the lock that everybody holds who promotes; LockedError when another does.
    """

    def __init__(
        self,
        conductor: Conductor,
        alarms: Alarms,
        acting: Callable[[], AbstractContextManager[None]],
        *,
        silence_seconds: float,
        hold_if_unproven: bool,
    ) -> None:
        self._conductor, self._alarms, self._acting = conductor, alarms, acting
        self._silence_seconds = silence_seconds
        self._window_seconds = conductor.site.times.heartbeat_window_seconds
        self._terms = Terms(hold_if_unproven)
        self._lookout = Lookout(conductor.site)
        self._watch = Watch(silence_seconds, self._window_seconds)
        self._uuids: dict[str, str] = dict(conductor.memory.get("uuids"))
        self._prepared: Candidate | None = None
        self._remembered_at = float("-inf")

    def tick(self) -> float:
        """Look, and act if it is due; seconds until the next look."""
        site = self._conductor.site
        seen = self._lookout.look(self._uuids)
        now = site.clock.now()
        if seen.record is None:
            self._hold(seen, "keeper")
        else:
            self._alarms.end("keeper")
            if not seen.record.opened:
                self._under_lock(lambda: self._finish(seen))
            elif seen.roles is None:
                self._hold(seen, "held")
            else:
                self._watch_primary(seen, seen.record, seen.roles, now)
        self._note(seen, now)
        pause_seconds = self._silence_seconds / LOOKS_PER_SILENCE
        due = self._watch.due_in(site.clock.now())
        return min(pause_seconds, due) if 0 < due < pause_seconds else pause_seconds

    def _watch_primary(self, seen: Seen, record: Record, roles: Roles, now: float) -> None:
        self._watch.heard(record.primary, seen.old_asked_at, now)
        silent_for, no_way_answers = self._watch.silent_for(now), False
        if seen.old_answers:
            self._drop_candidate()
            self._settle(seen)
        else:
            log.warning("%s has not answered for %.1f s", roles.old.name, silent_for)
            no_way_answers = self._lookout.no_way_answers(roles, self._window_seconds)
            if silent_for >= self._silence_seconds:
                self._prepare(roles)
        silent = self._watch.due_in(now) <= 0
        step = decide_manager(view_of(seen, self._window_seconds, silent=silent))
        if step is ManagerStep.NOTHING:
            self._alarms.end("held")
        elif step is ManagerStep.HOLD or self._conductor.memory.pause(utc_now()) is not None:
            self._hold(seen, "held")
        else:
            order = Order(
                "failover",
                replace(self._terms, no_way_answers=no_way_answers),
                silent=True,
                detection_seconds=silent_for,
            )
            self._under_lock(lambda: self._conductor.promote(seen, order, self._take_candidate()))

    def _settle(self, seen: Seen) -> None:
        try:
            with self._acting():
                self._conductor.settle(seen)
        except HoldfastError as error:
            log.info("%s", error.what)

    def _prepare(self, roles: Roles) -> None:
        """Learn in the window before the decision which mysqld the candidate's session is on: it costs no time then."""
        if self._prepared is None:
            self._prepared = Candidate(self._conductor.site, roles.candidate)
        try:
            self._prepared.connect()
            self._prepared.confirm()
        except HoldfastError as error:
            log.warning("candidate %s: %s", roles.candidate.name, error.what)
            self._drop_candidate()

    def _take_candidate(self) -> Candidate | None:
        taken, self._prepared = self._prepared, None
        return taken

    def _drop_candidate(self) -> None:
        if self._prepared is not None:
            self._prepared.leave()
            self._prepared = None

    def _finish(self, seen: Seen) -> Course:
        log.warning(
            "a promotion of term %s is under way: it is finished or rolled back", seen.record and seen.record.term
        )
        return self._conductor.finish(seen, Order("failover", self._terms))

    def _under_lock(self, act: Callable[[], Course]) -> None:
        """Act, unless somebody else does: an operator's command, or one that it left running."""
        try:
            with self._acting():
                course = act()
        except LockedError as error:
            log.info("%s", error.what)
        except HeldError as error:
            self._alarms.begin("held", f"failover held: {error.what}", MEANING, error.remedy, RUNBOOK)
        else:
            if course.ended is Ended.HELD:
                self._alarms.begin("held", f"promotion held: {course.why}", "No server is writable.", "", RUNBOOK)
            elif course.ended is Ended.PROMOTED and not course.opened:
                remedy = "Look at mysql-guard on it: only its guard opens it."
                self._alarms.begin("held", f"not writable: {course.why}", "No server is writable.", remedy, RUNBOOK)
            else:
                self._alarms.end("held")

    def _hold(self, seen: Seen, key: str) -> None:
        pause = self._conductor.memory.pause(utc_now())
        for reason in explain.reasons(seen, self._window_seconds, pause)[:1]:
            self._alarms.begin(key, f"failover held: {reason.what}", MEANING, reason.remedy, reason.runbook)

    def _note(self, seen: Seen, now: float) -> None:
        """Remember what status shows and what a failover will need; a full disk must not stop the loop."""
        memory, moment = self._conductor.memory, format_utc(utc_now())
        silent = 0.0 if seen.old_answers else self._watch.silent_for(now)
        try:
            memory.put("manager", {"at": moment, "silent_seconds": round(silent, 1)})
            memory.put("uuids", self._uuids)
            if seen.record is not None:
                who = seen.record.in_sync.server_uuid if seen.record.in_sync else ""
                if memory.get("in_sync").get("who") != who:
                    memory.put("in_sync", {"who": who, "at": moment})
        except ToolError as error:
            log.warning("%s", error.what)
        pause = memory.pause(utc_now())
        if pause is not None and (utc_now() - pause.since).total_seconds() > LONG_PAUSE_SECONDS:
            what = f"failover has been paused by {pause.by} since {format_utc(pause.since)}"
            self._alarms.begin("pause", what, MEANING, "mysql-failover resume", RUNBOOK)
        else:
            self._alarms.end("pause")
        if now - self._remembered_at > REMEMBER_SECONDS and seen.roles is not None and seen.old_answers:
            self._remembered_at = now
            self._conductor.remember_events(seen.roles.old)
