"""The guard: look, decide by `decide_guard`, do one step, look again (design section 7, "Guard").

The order within a look matters: the session is opened first, the record read second, and what is decided from both is
done in that session only (docs/decisions/sessions-are-the-fencing-token.md).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from holdfast.config import Config
from holdfast.config_failover import DatabaseHostConfig
from holdfast.database import DatabaseError
from holdfast.errors import ConfigurationError, HoldfastError, ToolError
from holdfast.failover import guard_memory
from holdfast.failover.decide import decide_guard
from holdfast.failover.guard_alarms import GuardAlarms
from holdfast.failover.guard_memory import Memory
from holdfast.failover.guard_session import OverdueError, Session, dial
from holdfast.failover.guard_view import Judge, Situation
from holdfast.failover.guard_work import Salvage, Work
from holdfast.failover.heartbeat import ASK_FOR_ROOM_SECONDS, Heartbeat, Room, free_bytes, is_grey
from holdfast.failover.keeper_client import KeeperClient
from holdfast.failover.mysqld import Mysqld
from holdfast.failover.own_server import OwnServer
from holdfast.failover.protocol import GuardStep
from holdfast.failover.record import Instance, Record
from holdfast.failover.surroundings import Surroundings
from holdfast.failover.timers import Clocks
from holdfast.failover.wire import GuardReport

log = logging.getLogger(__name__)

# short, as an isolated server is found by looks that end; a swap is worth to wait for
RECORD_SECONDS = 1.0
SWAP_SECONDS = 3.0
# what was seen longer ago is not said of the server any more
STALE_SECONDS = 4.0
SOON_SECONDS = 0.2
# so long a guard whose server is being promoted looks often: it opens it the sooner; a promotion that is held may last
PROMOTION_SECONDS = 60.0
NEVER_SECONDS = 1e9


class Guard:
    """Everything that one guard process knows. `tick` is for one thread; report, kill and leave for others."""

    def __init__(self, config: Config, alarms: GuardAlarms, *, clock: Callable[[], float] = time.monotonic) -> None:
        failover, host = config.failover, own_host(config)
        peer = next((other for other in failover.database_hosts if other.name != config.host), None)
        self._config = config
        self._host = host
        self._peer = peer
        self._clock = clock
        self._alarms = alarms
        self._memory_lock = threading.Lock()
        self._memory_file = config.state_directory / "guard.json"
        self.memory = guard_memory.load(self._memory_file)
        self._clocks = Clocks(failover.timing, clock())
        self._judge = Judge(self._clocks)
        self._reader = KeeperClient(failover, config.host, RECORD_SECONDS)
        self.keeper = KeeperClient(failover, config.host, SWAP_SECONDS)
        self.surroundings = Surroundings(failover, peer, clock)
        self.server = OwnServer(failover, host, self._clocks, clock)
        if self.memory.answered is not None:
            self.server.take_hold(self.memory.answered, self.memory.pid)
        self._heartbeat = Heartbeat(config.host, lambda: dial(failover, host, None), clock)
        self._work = Work(self, failover, peer)
        self._salvage = Salvage()
        self.record: Record | None = None
        self.swapped_alone = False
        self._leaving: tuple[Instance | None, float] = (None, 0.0)
        self._record_session: Session | None = None
        self._room = Room()
        self._promotion: tuple[int, float] = (0, 0.0)
        self._keeper_error = ""
        self._last_step: tuple[GuardStep, str] = (GuardStep.NOTHING, "")

    @property
    def me(self) -> str:
        """The own server's uuid; empty as long as none has ever answered."""
        return self.memory.answered.server_uuid if self.memory.answered else ""

    def leaves(self, seconds: float) -> None:
        """Say for so long that this server is about to be stopped; the one that is started then is another."""
        self._leaving = (self.memory.answered, self._clock() + seconds)

    def run(self, alive: Callable[[], None]) -> None:
        """Work for ever; `alive` is called with each look."""
        self.surroundings.start()
        pause = threading.Event()
        while True:
            alive()
            began = self._clock()
            try:
                wanted = self.tick()
            except Exception:
                # a guard that ends protects nobody; what is wrong shows in the log
                log.exception("a bug: please report it with these lines")
                wanted = self._config.failover.timing.tick_seconds
            pause.wait(max(0.02, wanted - (self._clock() - began)))

    def tick(self) -> float:
        """Look, decide, do one step; in how many seconds from its beginning to look again."""
        self.server.connect()
        mysqld = self.server.mysqld
        if mysqld is not None and self.memory.answered != mysqld.instance:
            self._answered_by(mysqld)
        fresh = self._ask_keeper()
        committed_began = self._heartbeat.beat.committed_began
        self.server.look(self._uuids())
        situation = self._situation(committed_began, fresh)
        try:
            view = self._judge.view(situation)
        except ValueError as error:
            log.error("the peer reports what is no GTID set: %s", error)
            situation = replace(situation, report=None)
            view = self._judge.view(situation)
        step = self._judge.tempered(decide_guard(view), situation)
        armed = self._clocks.marker.instance is not None
        self._heartbeat.term = self.record.term if situation.writes and self.record else None
        if armed and self._clocks.marker.executed is None:
            self._heartbeat.poke()
        errors = (self.server.error, self._keeper_error)
        self._alarms.look(situation, step, self.surroundings.seen, self._heartbeat.beat, errors)
        self._salvage.look(situation.now, situation.errant if step is GuardStep.STAY_OUT else None)
        done = self._do(step, situation)
        soon = done or armed or self._is_being_promoted()
        return SOON_SECONDS if soon else self._config.failover.timing.tick_seconds

    def _is_being_promoted(self) -> bool:
        """Whether a promotion of this server is under way, and has been for a short time only."""
        record = self.record
        if record is None or record.opened or record.primary != self.me:
            return False
        if record.term != self._promotion[0]:
            self._promotion = (record.term, self._clock())
        return self._clock() - self._promotion[1] < PROMOTION_SECONDS

    def _ask_keeper(self) -> bool:
        session = self.server.session
        try:
            record = self._reader.record()
        except ToolError as error:
            return self._no_record(error.what)
        self._clocks.heard(self._clock())
        if record is None:
            return self._no_record("it has none")
        if record.term < self.memory.highest_term:
            return self._no_record(f"its term is {record.term}, and this guard knows term {self.memory.highest_term}")
        self.remember(lambda memory: memory.with_record(record))
        if record != self.record:
            log.info("%s", record)
        self._keeper_error = ""
        self.record, self._record_session = record, session
        return True

    def _answered_by(self, mysqld: Mysqld) -> None:
        self.remember(lambda memory: replace(memory, answered=mysqld.instance, pid=mysqld.pid))

    def _no_record(self, why: str) -> bool:
        if why != self._keeper_error:
            log.info("keeper: no record: %s", why)
        self._keeper_error = why
        return False

    def remember(self, change: Callable[[Memory], Memory]) -> None:
        """Keep something for the next guard; from any thread. A full disk does not stop this one."""
        with self._memory_lock:
            before, self.memory = self.memory, change(self.memory)
            if self.memory == before:
                return
            try:
                guard_memory.save(self._memory_file, self.memory)
            except ToolError as error:
                log.error("%s", error)

    def _uuids(self) -> dict[str, str]:
        report = self.surroundings.seen.report
        uuids = {self._host.address: self.me}
        if self._peer is not None and report is not None:
            uuids[self._peer.address] = report.server_uuid
        return uuids

    def _situation(self, committed_began: float, fresh: bool) -> Situation:
        now, around = self._clock(), self.surroundings.seen
        self._clocks.heard(around.contact_at)
        session = self.server.session
        grey = self._grey(now)
        return Situation(
            now=now,
            me=self.me,
            record=self.record,
            fresh=fresh,
            session_holds=session is not None and self._record_session is session,
            swapped_alone=self.swapped_alone,
            seen=self.server.seen,
            report=around.report if now - around.report_at < STALE_SECONDS else None,
            committed_began=committed_began,
            observed_runs=self.server.runs,
            grey=grey,
        )

    def _grey(self, now: float) -> bool:
        beat, seen = self._heartbeat.beat, self.server.seen
        limit_seconds = self._config.failover.timing.grey_failure_seconds
        if seen is None or beat.waiting_since is None or now - beat.waiting_since < ASK_FOR_ROOM_SECONDS:
            return False
        # also long before it counts: MySQL goes on waiting for a while once there is room again
        room_seconds = self._room.seconds(now, free_bytes(self._config.mysql.data_directory))
        if now - beat.waiting_since < limit_seconds:
            return False
        state = self.server.state_of(beat)
        if state is None:
            return False
        return is_grey(beat, now, limit_seconds, waiting=seen.server.waiting, state=state, room_seconds=room_seconds)

    def _do(self, step: GuardStep, situation: Situation) -> bool:
        """Do it; whether something was done, so that it is worth to look again soon."""
        if step in (GuardStep.NOTHING, GuardStep.READ_RECORD, GuardStep.STAY_OUT, GuardStep.ALARM):
            self._last_step = (step, "")
            return False
        began = self._clock()
        try:
            outcome = self.server.kill() if step is GuardStep.KILL_SERVER else self._work.do(step, situation) or "done"
        except OverdueError as error:
            self.server.failed(error)
            self.server.hang_up()
            outcome = f"OVERDUE: {error.what}"
        except HoldfastError as error:
            if isinstance(error, DatabaseError):
                self.server.hang_up()
            outcome = f"failed: {error.what}"
        repeated = (step, outcome) == self._last_step
        self._last_step = (step, outcome)
        if not repeated:
            term = self.record.term if self.record else 0
            log.info("step %s: %s (%.2f s; term %d)", step.name, outcome, self._clock() - began, term)
        return not repeated

    def report(self) -> GuardReport:
        """What this guard says of its server now; for any thread."""
        now, seen, record, answered = self._clock(), self.server.seen, self.record, self._clocks.answered
        if seen is not None and now - self.server.seen_at > STALE_SECONDS:
            seen = None
        return GuardReport(
            host=self._host.name,
            server_uuid=self.me,
            highest_term=self.memory.highest_term,
            server=seen.server if seen else None,
            gtid_executed=seen.gtid_executed if seen else "",
            received_position=seen.received_position if seen else "",
            sql_error=self.server.error,
            source_host=seen.source_host if seen else "",
            io_connected=seen.io_connected if seen else False,
            in_sync_view=str(record.in_sync) if record and record.in_sync else "",
            version=seen.version if seen else "",
            swapped_alone=self.swapped_alone,
            seconds_since_sql=NEVER_SECONDS if answered is None else now - answered,
            notices=self._alarms.notices(leaving=self._leaving[0] == self.memory.answered and now < self._leaving[1]),
        )


def own_host(config: Config) -> DatabaseHostConfig:
    """This host among those of the pair. Raises ConfigurationError."""
    for host in config.failover.database_hosts:
        if host.name == config.host:
            return host
    raise ConfigurationError(f"failover.database_hosts: has no {config.host}, which is this host")
