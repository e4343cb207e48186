"""From the decision to promote to the last message: elect, run the promotion, enable events, start the fencer, tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.clock import format_utc, utc_now
from holdfast.database import DatabaseError
from holdfast.errors import HoldfastError, ToolError
from holdfast.failover import explain
from holdfast.failover.candidate import Candidate
from holdfast.failover.decide import decide_manager
from holdfast.failover.look import Seen, view_of
from holdfast.failover.memory import Memory
from holdfast.failover.parties import Host, Site
from holdfast.failover.promotion import Course, Ended, Promotion, Terms
from holdfast.failover.protocol import Fence, ManagerStep
from holdfast.failover.record import Change, Instance, SwapRequest
from holdfast.process import run as run_process

ANSWER_SECONDS = 10.0  # for a swap whose answer was lost: until the record shows whether it was done
FIRST_WRITE_SECONDS = 15.0
CONFIRM_ATTEMPTS = 3
POLL_SECONDS = 0.2
ENABLED, ON_REPLICA = "ENABLED", ("REPLICA_SIDE_DISABLED", "SLAVESIDE_DISABLED")


class HeldError(ToolError):
    """Nothing was changed; why, and what would make it act."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, and by whom: `ordered` by a person or Replication Manager, else by silence."""

    kind: str
    terms: Terms
    ordered: bool = False
    loss_allowed: bool = False
    silent: bool = False
    detection_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Conductor:
    """Who conducts. `tell` must not block; `start_fencer` gets the term of an unproven fence."""

    site: Site
    memory: Memory
    tell: Callable[[str], None]
    start_fencer: Callable[[int], None]

    def promote(self, seen: Seen, order: Order, candidate: Candidate | None = None) -> Course:
        """Elect the candidate and promote it. Raises HeldError with nothing changed."""
        record, roles = seen.record, seen.roles
        window = self.site.times.heartbeat_window_seconds
        if record is None or roles is None or not record.opened:
            raise self._held(seen, order)
        if order.ordered and not order.loss_allowed and explain.reasons(seen, window, None, ordered=True):
            raise self._held(seen, order)  # all of it at once, rather than what is met first
        candidate = candidate or Candidate(self.site, roles.candidate)
        instance = self._confirmed(candidate)
        view = view_of(
            seen,
            window,
            ordered=order.ordered,
            loss_allowed=order.loss_allowed and record.in_sync != instance,
            silent=order.silent,
            candidate=candidate.look(),
        )
        step = decide_manager(view)
        if step not in (ManagerStep.PROMOTE, ManagerStep.ALLOW_LOSS):
            candidate.leave()
            raise self._held(seen, order)
        if seen.old_answers:
            self.remember_events(roles.old)
        change = Change.PROMOTE if step is ManagerStep.PROMOTE else Change.ALLOW_LOSS
        self._swap(
            SwapRequest(change, "manager", record.version, record.term, instance.server_uuid, instance), candidate
        )
        self.tell(explain.started(order.kind, record.term + 1, roles.old.name, roles.candidate.name))
        return self._run(order, candidate, roles.old, record.primary)

    def _confirmed(self, candidate: Candidate) -> Instance:
        """Return which mysqld the candidate's session is on. Raises HeldError.

        A step of its guard ends every other session there, so a session that is lost is opened anew, a few times.
        """
        for attempt in range(1, CONFIRM_ATTEMPTS + 1):
            try:
                candidate.connect()
                return candidate.confirm()
            except HoldfastError as error:
                was_there = candidate.connected
                candidate.leave()
                if attempt == CONFIRM_ATTEMPTS or not (was_there and isinstance(error, DatabaseError)):
                    remedy = error.remedy or f"See that {candidate.host.name} answers, and order it again."
                    raise HeldError(error.what, meaning=error.meaning, remedy=remedy) from None
                self.site.say(
                    f"candidate {candidate.host.name}: the session was ended, a new one is tried: {error.what}"
                )
        raise AssertionError("the last attempt returns or raises")

    def finish(self, seen: Seen, order: Order) -> Course:
        """Finish or roll back the promotion that the record shows under way. Raises HeldError."""
        roles = seen.roles
        if seen.record is None or roles is None:
            raise self._held(seen, order)
        return self._run(order, Candidate(self.site, roles.candidate), roles.old, roles.old_uuid)

    def settle(self, seen: Seen) -> None:
        """Do what is left of a promotion whose program ended once the record said opened; nothing if none is left."""
        record, roles = seen.record, seen.roles
        if record is None or roles is None or not record.opened or not seen.old_answers:
            return
        settled = self.memory.get("settled").get("term")
        if settled == record.term:
            return
        if settled is None:
            self.memory.put("settled", {"term": record.term})  # a new site, or a new manager host
        elif self._enable_events(roles.old, record.term):
            self.tell(
                f"{roles.old.name} is the primary, term {record.term}; who promoted it ended before it could say so."
            )

    def remember_events(self, primary: Host) -> None:
        """Take note of the scheduled events that run on the primary; on a replica a disabled one looks the same."""
        try:
            session = primary.direct.connect()
            try:
                running = sorted(name for name, status in session.events().items() if status == ENABLED)
            finally:
                session.close()
            self.memory.put("events", {"primary": primary.name, "running": running})
        except HoldfastError as error:
            self.site.say(f"events of {primary.name}: {error.what}")

    def _held(self, seen: Seen, order: Order) -> HeldError:
        found = explain.reasons(seen, self.site.times.heartbeat_window_seconds, None, ordered=order.ordered)
        if not found:
            return HeldError("the primary answers: there is nothing to do", remedy="mysql-failover switchover")
        return HeldError(
            "; ".join(reason.what for reason in found),
            remedy=" ".join(dict.fromkeys(reason.remedy for reason in found)),
        )

    def _swap(self, request: SwapRequest, candidate: Candidate) -> None:
        try:
            answer = self.site.keeper.swap(request)
        except ToolError as error:
            self.site.say(f"keeper: {error.what}: whether it was done is looked up")
            if self._was_done(request):
                return
            candidate.leave()
            raise HeldError(f"the keeper did not answer: {error.what}", remedy="See docs/runbooks/keeper.md.") from None
        if answer.refusal:
            candidate.leave()
            raise HeldError(f"the keeper refused: {answer.refusal}", remedy="Look again: mysql-failover status")

    def _was_done(self, request: SwapRequest) -> bool:
        deadline = self.site.clock.now() + ANSWER_SECONDS
        while self.site.clock.now() < deadline:
            try:
                record = self.site.keeper.record()
            except ToolError:
                self.site.clock.sleep(5 * POLL_SECONDS)
                continue
            return bool(record and record.term == request.expected_term + 1 and record.primary == request.primary)
        return False

    def _run(self, order: Order, candidate: Candidate, old: Host, old_uuid: str) -> Course:
        new = candidate.host
        course = Promotion(self.site, candidate, old, old_uuid, order.terms).run()
        if course.ended is Ended.PROMOTED and course.opened:
            self._first_write(new, course)
            self._enable_events(new, course.term)
        course.seconds = {part: at + order.detection_seconds for part, at in course.seconds.items()}
        if order.detection_seconds:
            course.seconds["detection"] = order.detection_seconds
        if course.ended is Ended.PROMOTED and course.fence is Fence.GIVEN_UP:
            self.start_fencer(course.term)
        if course.ended is Ended.ROLLED_BACK:
            self.memory.put("settled", {"term": course.term + 1})
        if course.ended in (Ended.PROMOTED, Ended.ROLLED_BACK):
            text = explain.ended(order.kind, old.name, new.name, course)
            self.tell(text)
            last: dict[str, Any] = {"at": format_utc(utc_now()), "kind": order.kind, "old": old.name, "new": new.name}
            self.memory.put("last", last | {"text": text, "seconds": course.seconds, "term": course.term})
        return course

    def _first_write(self, new: Host, course: Course) -> None:
        """Wait for the first transaction of the new primary's own: its guard's heartbeat, if no client was faster."""
        began = self.site.clock.now()
        before: object = None
        while self.site.clock.now() - began < FIRST_WRITE_SECONDS:
            try:
                executed = new.direct.report().gtid_executed
            except ToolError:
                executed = None
            if before is not None and executed not in (None, before):
                course.seconds["first write"] = course.seconds["writable"] + self.site.clock.now() - began
                return
            before = before or executed
            self.site.clock.sleep(POLL_SECONDS)
        self.site.say(f"{new.name} took no write in {FIRST_WRITE_SECONDS:g} s: look at its guard")

    def _enable_events(self, new: Host, term: int) -> bool:
        running = self.memory.get("events").get("running")  # on whoever was the primary last; None: never noted
        try:
            session = new.direct.connect()
            try:
                asleep = [event for event, status in session.events().items() if status in ON_REPLICA]
                for event in asleep:
                    if running is None or event in running:
                        session.enable_event(event)
                        self.site.say(f"event {event} runs on {new.name} now")
            finally:
                session.close()
            self.memory.put("settled", {"term": term})
        except HoldfastError as error:
            self.tell(
                f"Scheduled events were not enabled on {new.name}: {error.what}\nTo do: SHOW EVENTS there, and"
                " ALTER DEFINER = ... EVENT ... ENABLE for each that ran before."
            )
            return False
        return True


def start_fencer(term: int) -> None:
    """Let the background fencer of that term go on trying; a failure is told by its own message."""
    unit = f"mysql-fencer@{term}.service"
    run_process(["systemctl", "start", "--no-block", unit], name=unit, timeout_seconds=20, check=False)
