"""A promotion from the swap to the opened server, or back; one procedure for both managers, and for their restarts.

It looks, lets `decide_promotion` decide, does one step and looks again; it remembers nothing that the record
does not say, so whoever finds `opened=no` can run it from the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from holdfast.errors import HoldfastError, ToolError
from holdfast.failover.candidate import Candidate
from holdfast.failover.decide import decide_promotion
from holdfast.failover.fence import FenceRun, MovedOnError, Proof
from holdfast.failover.look import SOMEBODY
from holdfast.failover.parties import Host, Site
from holdfast.failover.probe import sql_answers
from holdfast.failover.protocol import Fence, ManagerStep, ManagerView
from holdfast.failover.record import Change, Record, SwapRequest

POLL_SECONDS = 0.1
KEEPER_SECONDS = 20.0  # a keeper that is silent for so long: report, and let the next run go on
OPEN_SECONDS = 20.0  # the candidate's guard opens it within two of its ticks
SAY_EVERY_SECONDS = 5.0  # while it waits: nobody is left without a word
MISSING_SECONDS = 5.0  # without a word from the candidate or its guard
FAILED_STEPS = 5  # of one kind in a run: report, and let the next run go on


class Ended(Enum):
    """How a run ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back: the old primary goes on"
    WOULD_ROLL_BACK = "to be rolled back, once nobody can open the candidate any more"
    HELD = "held: neither forward nor back for now"
    OVERTAKEN = "ended by another"


@dataclass(frozen=True, slots=True)
class Terms:
    """How it may go. `may_roll_back` is false for a script whose caller opens the candidate when it returns.

    `no_way_answers`: nobody answered on any way to the old primary a moment ago, so the fence does not ask again.
    """

    hold_if_unproven: bool
    old_primary_is_off: bool = False
    may_roll_back: bool = True
    no_way_answers: bool = False


@dataclass(slots=True)
class Course:
    """How it went: seconds from the begin of the run to the end of each part, the proofs, what was in the way."""

    ended: Ended = Ended.HELD
    why: str = ""
    term: int = 0
    fence: Fence = Fence.UNTRIED
    proofs: list[Proof] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    opened: bool = False


class Promotion:
    """The promotion that the record names, of `new`, in the place of `old` (its server_uuid is `old_uuid`)."""

    def __init__(self, site: Site, candidate: Candidate, old: Host, old_uuid: str, terms: Terms) -> None:
        self._site, self._candidate, self._old, self._old_uuid, self._terms = site, candidate, old, old_uuid, terms
        self._began = site.clock.now()
        self._drain_began: float | None = None
        self._said_at = self._began
        self._failures: Counter[ManagerStep] = Counter()
        self.course = Course()

    def run(self) -> Course:
        """Finish it, roll it back, or say what is in the way."""
        try:
            self._run()
        finally:
            self._candidate.leave()
        return self.course

    def _run(self) -> None:
        while True:
            record = self._record()
            if record is None:
                return self._end(Ended.HELD, "the keeper does not answer, or has no record")
            if record.opened or (self.course.term and record.term != self.course.term):
                mine = record.opened and record.term == self.course.term
                return self._opened() if mine else self._end(Ended.OVERTAKEN, f"the record is at term {record.term}")
            self.course.term = record.term
            step, view = self._decide(record)
            if step is ManagerStep.HOLD:
                return self._end(Ended.HELD, why_held(view))
            if step is ManagerStep.ROLL_BACK and not self._terms.may_roll_back:
                return self._end(Ended.WOULD_ROLL_BACK, why_held(view))
            try:
                if self._take(step, record):
                    return None
            except MovedOnError as error:
                return self._end(Ended.OVERTAKEN, error.what)
            except HoldfastError as error:
                self._failures[step] += 1
                self._site.say(f"promotion of {self._candidate.host.name}: {step.name.lower()}: {error.what}")
                if self._failures[step] >= FAILED_STEPS:
                    return self._end(Ended.HELD, error.what)
                self._candidate.leave()
                self._site.clock.sleep(POLL_SECONDS)

    def _record(self) -> Record | None:
        deadline = self._site.clock.now() + KEEPER_SECONDS
        while True:
            try:
                return self._site.keeper.record()
            except ToolError as error:
                if self._site.clock.now() >= deadline:
                    self._site.say(f"keeper: {error.what}")
                    return None
                self._site.clock.sleep(10 * POLL_SECONDS)

    def _decide(self, record: Record) -> tuple[ManagerStep, ManagerView]:
        """Decide; the old primary, which may cost a time limit, is only asked where its answer matters."""
        view = ManagerView(
            record=record,
            candidate=self._candidate.look(),
            old=None,
            candidate_hears_old=False,
            fence=self.course.fence,
            drain_session_holds=self._candidate.drained,
            hold_if_unproven=self._terms.hold_if_unproven,
        )
        if view.candidate is None and self._is_short():
            return ManagerStep.WAIT, view
        step = decide_promotion(view)
        overdue = self._overdue()
        if (step is ManagerStep.HOLD or overdue) and sql_answers(self._old.direct):
            view = replace(view, old=SOMEBODY, promotion_overdue=overdue)
            step = decide_promotion(view)
        return step, view

    def _is_short(self) -> bool:
        """Whether the candidate may be missing only for a moment: this very promotion has ended its guard's session."""
        if self._candidate.seen_at is None:
            self._candidate.seen_at = self._site.clock.now()
        return self._site.clock.now() - self._candidate.seen_at < MISSING_SECONDS

    def _overdue(self) -> bool:
        if self._drain_began is None:
            return False
        return self._site.clock.now() - self._drain_began > self._site.times.drain_seconds

    def _take(self, step: ManagerStep, record: Record) -> bool:
        """Do a step; whether it was the last."""
        actions: dict[ManagerStep, Callable[[Record], bool]] = {
            ManagerStep.FENCE: self._fence,
            ManagerStep.STOP_RECEIVING: self._stop_receiving,
            ManagerStep.WAIT: self._wait,
            ManagerStep.DETACH: self._detach,
            ManagerStep.SWAP_OPENED: self._swap_opened,
            ManagerStep.ROLL_BACK: self._roll_back,
        }
        return actions[step](record)

    def _fence(self, record: Record) -> bool:
        run = FenceRun(
            self._site,
            record.term,
            self._old,
            self._candidate.host,
            power_is_off=self._terms.old_primary_is_off,
            no_way_answers=self._terms.no_way_answers,
        )
        try:
            self.course.fence = run.run()
        finally:
            self.course.proofs += run.proofs
        self._mark("fence")
        return False

    def _stop_receiving(self, record: Record) -> bool:
        """Everything else on the candidate ends here: a backup that blocks its applier, and its guard's older view."""
        if self._drain_began is None:
            self._drain_began = self._site.clock.now()
        self._candidate.connect()
        again = self._site.keeper.record()
        if again is None or again.opened or again.term != record.term:
            raise MovedOnError(f"promotion of term {record.term}: the record moved on")
        session = self._candidate.session
        session.go_offline()
        count = session.kill_others()
        server = session.look()
        if server.source_of_channel:
            session.set_source(False)
            session.stop_receiving()
            if not server.applying:  # it has just booted, or a person stopped it
                session.start_applying()
        self._candidate.confirm()
        self._candidate.drained = True
        self._site.say(f"candidate {self._candidate.host.name}: offline, {count} sessions ended, receives no more")
        return False

    def _wait(self, record: Record) -> bool:
        """Wait for the applier, or a candidate that is missing for a moment. Raises ToolError for a stopped applier."""
        name, now = self._candidate.host.name, self._site.clock.now()
        if self._candidate.drained and not self._candidate.session.look().applying:
            why = self._candidate.session.applier_error() or "it gave no reason"
            raise ToolError(f"its applier does not run: {why}. It goes on once it does: SHOW REPLICA STATUS on {name}")
        if now - self._said_at >= SAY_EVERY_SECONDS:
            self._said_at = now
            what = "what it received is still being applied" if self._candidate.drained else "no answer yet"
            self._site.say(f"candidate {name}: {what}, {now - self._began:.0f} s so far")
        self._site.clock.sleep(POLL_SECONDS)
        return False

    def _detach(self, record: Record) -> bool:
        session = self._candidate.session
        session.detach()
        session.set_source(True)
        server = session.look()
        if server.source_of_channel or not server.source_enabled:
            raise ToolError("what was read back is not what was set: still a channel, or semi-sync is OFF")
        self._mark("drain")
        self._site.say(f"candidate {self._candidate.host.name}: applied everything, detached")
        return False

    def _swap_opened(self, record: Record) -> bool:
        request = SwapRequest(
            Change.OPEN, "manager", record.version, record.term, record.primary, self._candidate.confirm()
        )
        answer = self._site.keeper.swap(request)
        if answer.refusal:
            raise ToolError(f"the keeper refused to open term {record.term}: {answer.refusal}")
        return False  # the record says so, to this run as to one whose answer was lost

    def _roll_back(self, record: Record) -> bool:
        request = SwapRequest(Change.ROLL_BACK, "manager", record.version, record.term, self._old_uuid)
        answer = self._site.keeper.swap(request)
        if answer.refusal:
            raise ToolError(f"the keeper refused to roll back term {record.term}: {answer.refusal}")
        self._end(Ended.ROLLED_BACK, "the old primary answers and the candidate could not be finished")
        return True

    def _opened(self) -> None:
        """The promotion stands; what is left is the guard's, and to be told."""
        self._mark("opened")
        self._candidate.leave()
        deadline = self._site.clock.now() + OPEN_SECONDS
        name = self._candidate.host.name
        while not self._is_writable():
            if self._site.clock.now() >= deadline:
                return self._end(Ended.PROMOTED, f"{name} is the primary, but its guard has not opened it for writing")
            self._site.clock.sleep(POLL_SECONDS)
        self.course.opened = True
        self._mark("writable")
        return self._end(Ended.PROMOTED, f"{name} is the primary")

    def _is_writable(self) -> bool:
        try:
            server = self._candidate.host.direct.report().server
        except ToolError:
            return False
        return server is not None and server.writable

    def _mark(self, part: str) -> None:
        self.course.seconds.setdefault(part, self._site.clock.now() - self._began)

    def _end(self, ended: Ended, why: str) -> None:
        self.course.ended, self.course.why = ended, why
        self._site.say(f"promotion of {self._candidate.host.name}, term {self.course.term}: {ended.value}: {why}")


def why_held(view: ManagerView) -> str:
    """Say what is in the way of a promotion under way, and what would end that (pure)."""
    record, candidate = view.record, view.candidate
    if record is None:
        return "there is no record"
    if candidate is None:
        return (
            "the candidate or its guard does not answer; it goes on when it does, or back when the old primary answers"
        )
    if record.in_sync is not None and record.in_sync != candidate.instance:
        return (
            "the candidate's mysqld restarted after it was elected and may lack transactions; it goes back when the old"
            " primary answers, or forward by mysql-failover failover --allow-data-loss"
        )
    if view.fence is Fence.GIVEN_UP:
        rule = "a person allowed a loss" if record.in_sync is None else "the policy is hold"
        return (
            f"the old primary is not proven to be fenced, and {rule}; it goes on when the fence lands, or by"
            " mysql-failover failover --old-primary-is-off"
        )
    return "the drain takes longer than it may, and the old primary answers"
