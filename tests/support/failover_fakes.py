"""A pair of servers, their guards, a keeper and a Robot in memory, with a clock that only moves when somebody waits.

The keeper answers by the real `decide_swap`. `broken` names what fails: "db1.sql", "db1.guard", "keeper", "robot", or
one verb such as "db1.set_read_only"; `before` runs something once, just before a verb: servers go away between steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.database import DatabaseError
from holdfast.errors import ToolError
from holdfast.failover.https import RefusedError, UnreachableError
from holdfast.failover.parties import Clock, Hearing, Host, Site, Times
from holdfast.failover.protocol import Server
from holdfast.failover.record import Instance, Record, SwapAnswer, SwapRequest, decide_swap
from holdfast.failover.wire import GuardReport
from holdfast.gtid import GtidSet

UUIDS = {"db1": "aaaaaaaa-0000-4000-8000-000000000001", "db2": "bbbbbbbb-0000-4000-8000-000000000002"}


@dataclass
class FakeMysqld:
    """One server; `sessions` counts the others' sessions, `relay` what is received and not applied."""

    name: str
    start: int = 1
    running: bool = True
    read_only: bool = False
    offline: bool = False
    source_enabled: bool = True
    waiting: int = 0
    channel: str = ""
    receiving: bool = False
    applying: bool = True
    applier_error: str = ""  # what stops it again whenever it is started
    executed: str = ""
    relay: str = ""
    sessions: int = 3
    beats: int = 0  # what its guard committed as the primary
    events: dict[str, str] = field(default_factory=dict)

    @property
    def instance(self) -> Instance:
        return Instance(UUIDS[self.name], "boot", self.start)

    def server(self, instance: Instance | None = None) -> Server:
        return Server(
            instance or Instance(UUIDS[self.name], "", 0),
            self.read_only,
            self.offline,
            self.source_enabled,
            self.waiting,
            UUIDS.get(self.channel, ""),
            self.receiving,
            bool(self.channel) and self.applying,
            not self.channel or (self.applying and not self.relay),
        )


class World:
    """Everything, and a diary of the verbs that changed something."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.db = {
            "db1": FakeMysqld("db1", executed=f"{UUIDS['db1']}:1-10"),
            "db2": FakeMysqld(
                "db2",
                read_only=True,
                source_enabled=False,
                channel="db1",
                receiving=True,
                executed=f"{UUIDS['db1']}:1-10",
            ),
        }
        self.record: Record | None = Record(7, 1, UUIDS["db1"], True, self.db["db2"].instance)
        self.broken: set[str] = set()
        self.before: dict[str, Callable[[], None]] = {}
        self.diary: list[str] = []
        self.said: list[str] = []
        self.heard_age = 0.5
        self.guard_age = 0.0  # how old its SQL answer is
        self.guard_opens = True
        self.robot_knows: set[str] = set()

    def site(self, **times: float) -> Site:
        limits = {
            "fence_step_seconds": 5.0,
            "drain_seconds": 30.0,
            "heartbeat_window_seconds": 10.0,
            "tick_seconds": 1.0,
        }
        hosts = {
            name: Host(name, (FakeRoute(self, name, "directly"), FakeRoute(self, name, "through its peer")))
            for name in self.db
        }
        return Site(
            FakeKeeper(self),
            hosts,
            FakePower(self),
            Times(**(limits | times)),
            self.said.append,
            Clock(self.clock, self.sleep),
        )

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for db in self.db.values():
            db.executed, db.relay = (
                (f"{db.executed},{db.relay}", "")
                if db.relay and db.applying and "applier" not in self.broken
                else (
                    db.executed,
                    db.relay,
                )
            )

    def happens(self, verb: str) -> None:
        if action := self.before.pop(verb, None):
            action()

    def crash(self, name: str, *, back: bool = True) -> None:
        """What `kill -9` and systemd make of a server: another instance, read-only, its relay log dropped."""
        db = self.db[name]
        db.start, db.running, db.read_only, db.offline, db.source_enabled = db.start + 1, back, True, False, True
        db.waiting, db.relay, db.sessions = 0, "", 0


class FakeSession:
    """A session that is gone when its server's instance is another, and after any error."""

    def __init__(self, world: World, name: str, way: str) -> None:
        self.world, self.name, self.way = world, name, way
        self.instance = world.db[name].instance
        self.gone = False
        self.closed = False

    @property
    def db(self) -> FakeMysqld:
        return self.world.db[self.name]

    def _verb(self, verb: str, *, writes: bool = True) -> FakeMysqld:
        self.world.happens(f"{self.name}.{verb}")
        db = self.db
        lost = {f"{self.name}.{verb}", f"{self.name}.sql", f"{self.name}.sql {self.way}"} & self.world.broken
        if lost or self.gone or not db.running or db.instance != self.instance:
            self.gone = True
            raise DatabaseError(f"{self.name}: {verb}: lost connection", number=2013)
        if writes:
            self.world.diary.append(f"{self.name}.{verb}")
        return db

    def look(self, instance: Instance | None = None) -> Server:
        return self._verb("look", writes=False).server(instance)

    def executed(self) -> GtidSet:
        return GtidSet.parse(self._verb("executed", writes=False).executed)

    def received(self) -> GtidSet:
        db = self._verb("received", writes=False)
        return GtidSet.parse(db.executed) | GtidSet.parse(db.relay)

    def hearing(self) -> Hearing:
        db = self._verb("hearing", writes=False)
        return Hearing(db.receiving and f"{self.name}.io" not in self.world.broken, self.world.heard_age)

    def go_offline(self) -> None:
        self._verb("go_offline").offline = True

    def kill_others(self) -> int:
        db = self._verb("kill_others")
        count, db.sessions = db.sessions, 0
        return count

    def set_source(self, enabled: bool) -> None:
        db = self._verb(f"set_source {enabled}")
        db.source_enabled = enabled
        db.waiting = db.waiting if enabled else 0

    def set_read_only(self, timeout_seconds: float) -> None:
        self._verb("set_read_only").read_only = True

    def stop_receiving(self) -> None:
        self._verb("stop_receiving").receiving = False

    def start_applying(self) -> None:
        db = self._verb("start_applying")
        db.applying = not db.applier_error

    def applier_error(self) -> str:
        return self._verb("applier_error", writes=False).applier_error

    def detach(self) -> None:
        db = self._verb("detach")
        db.channel, db.receiving = "", False

    def events(self) -> dict[str, str]:
        return dict(self._verb("events", writes=False).events)

    def enable_event(self, event: str) -> None:
        self._verb(f"enable_event {event}").events[event] = "ENABLED"

    def close(self) -> None:
        self.closed = self.gone = True


@dataclass
class FakeRoute:
    world: World
    name: str
    label: str

    def connect(self) -> FakeSession:
        db, broken = self.world.db[self.name], self.world.broken
        if not db.running or {f"{self.name}.sql", f"{self.name}.sql {self.label}"} & broken:
            raise DatabaseError(f"{self.name}: connect {self.label}", number=2003)
        if f"{self.name}.full" in broken:
            raise DatabaseError(f"{self.name}: connect {self.label}", number=1040)
        return FakeSession(self.world, self.name, self.label)

    def report(self) -> GuardReport:
        self.world.happens(f"{self.name}.report")
        self._guard()
        db = self.world.db[self.name]
        record = self.world.record
        mine = record is not None and record.opened and record.primary == UUIDS[self.name]
        if mine and self.world.guard_opens and db.running:
            db.read_only = db.offline = False
            db.beats += self.name == "db2"
            db.executed = f"{db.executed.partition(',' + UUIDS['db2'])[0]}" + (
                f",{UUIDS['db2']}:1-{db.beats}" if db.beats else ""
            )
        server = db.server(db.instance) if db.running else None
        age = self.world.guard_age if db.running else 99.0
        connected = db.receiving and f"{self.name}.io" not in self.world.broken
        return GuardReport(
            self.name,
            UUIDS[self.name],
            1,
            server,
            db.executed,
            "",
            "",
            db.channel,
            connected,
            "",
            "9.7.4",
            False,
            age,
            (),
        )

    def kill(self, term: int) -> Instance | None:
        self.world.happens(f"{self.name}.kill")
        self._guard()
        if f"{self.name}.kill" in self.world.broken:
            raise RefusedError(409, f"term {term}")
        self.world.diary.append(f"{self.name}.kill {term}")
        db = self.world.db[self.name]
        ended = db.instance if db.running else None
        if f"{self.name}.kill lands" not in self.world.broken:
            self.world.crash(self.name)
        return ended

    def _guard(self) -> None:
        if {f"{self.name}.guard", f"{self.name}.guard {self.label}"} & self.world.broken:
            raise UnreachableError(f"{self.name}: guard {self.label}: no answer")


@dataclass
class FakeKeeper:
    """`lost answers` in broken: each swap is done and its answer lost."""

    world: World

    def record(self) -> Record | None:
        self.world.happens("keeper.record")
        if "keeper" in self.world.broken:
            raise UnreachableError("keeper: no answer")
        return self.world.record

    def swap(self, request: SwapRequest) -> SwapAnswer:
        self.world.happens("keeper.swap")
        if "keeper" in self.world.broken:
            raise UnreachableError("keeper: no answer")
        answer = decide_swap(self.world.record, request)
        self.world.diary.append(f"swap {request.change.name.lower()}{': refused' if answer.refusal else ''}")
        if answer.granted:
            self.world.record = answer.record
        if "lost answers" in self.world.broken:
            raise UnreachableError("keeper: no answer")
        return answer


@dataclass
class FakePower:
    world: World

    def knows(self, host: str) -> bool:
        return host in self.world.robot_knows

    def switch_off(self, host: str, timeout_seconds: float) -> str:
        self.world.diary.append(f"robot {host}")
        if "robot" in self.world.broken:
            raise ToolError("Robot: HTTP 401")
        self.world.crash(host, back=False)
        return f"Robot says that {host} is off"
