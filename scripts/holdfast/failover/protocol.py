"""What each program of the failover sees, how long it waits, and the steps that it can take (pure).

A decision is a function of one of these views; it has no memory, no clock and no I/O. A timer is a boolean here: the
caller measures on its own monotonic clock and says whether the time is over, and safety must hold whatever it says
(the simulation lets every timer be over at any moment). Times in seconds; source: design section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from holdfast.failover.record import Instance, Record

NO_PROGRESS_SECONDS = 10.0  # no ACK, or no replica: acknowledge alone, by the record
ISOLATION_SECONDS = 5.0  # neither the peer nor any app host
STATEMENT_SECONDS = 5.0  # a SET of fence or guard that does not come back
SQL_SILENT_SECONDS = 10.0  # a mysqld that has answered SQL before, and no longer does
MARKER_SECONDS = 2.0  # re-arming: the marker row's ACK
GREY_FAILURE_SECONDS = 30.0  # the guard's own commit, without a semi-sync wait
SILENCE_SECONDS = 30.0  # the primary, seen from the manager; then
HEARTBEAT_WINDOW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A mysqld as it shows itself to a session.

    `waiting` counts transactions that wait for an ACK, with or without a client. `source_of_channel` is
    the server_uuid that its replication channel points to, empty without a channel.
    """

    instance: Instance
    read_only: bool
    offline: bool
    source_enabled: bool
    waiting: int
    source_of_channel: str
    receiving: bool
    applying: bool
    applier_idle: bool

    @property
    def writable(self) -> bool:
        """Whether a client's write is taken (it may still wait for its ACK)."""
        return not self.read_only and not self.offline


class GuardStep(Enum):
    """What a guard does next; each is one bounded piece of work, after which it looks again."""

    NOTHING = "all is as the record says"
    READ_RECORD = "connect to the server, then read the record: in this order"
    GO_OFFLINE = "offline_mode=ON and kill every other session"
    FINISH_FENCE = "offline_mode=ON, kill every other session, source_enabled=OFF, super_read_only=ON"
    LIFT_OFFLINE = "kill every other session, source_enabled=ON unless it has a channel, offline_mode=OFF"
    OPEN = "kill every other session; source_enabled=ON unless swapped_alone; offline_mode=OFF; read_only=OFF"
    KILL_SERVER = "SIGKILL mysqld, once per instance"
    SWAP_TO_NONE = "ask for in_sync=none; granted: swapped_alone becomes true"
    ACKNOWLEDGE_ALONE = "source_enabled=OFF"
    ARM = "source_enabled=ON, then commit a marker row"
    SWAP_TO_REPLICA = "swapped_alone becomes false, then ask for in_sync=the replica's instance"
    ATTACH = "kill every other session, source_enabled=OFF, CHANGE REPLICATION SOURCE, START REPLICA, compare again"
    START_REPLICA = "kill every other session, source_enabled=OFF, START REPLICA"
    STAY_OUT = "errant transactions: save them, report them, wait for rebuild_replica"
    ALARM = "nothing that a program may do"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other server, asked by this guard. `has_mine`: its executed set holds this server's, read after the marker.

    `lacks_nothing_extra`: this server's executed set is within the peer's (no errant transactions here).
    """

    instance: Instance
    writable: bool
    replicates_from_me: bool
    has_mine: bool
    lacks_nothing_extra: bool


@dataclass(frozen=True, slots=True)
class GuardTimers:
    """Which of a guard's times are over; see the constants above."""

    no_progress: bool = False
    marker_overdue: bool = False
    isolated: bool = False
    statement_overdue: bool = False
    sql_silent: bool = False


@dataclass(frozen=True, slots=True)
class GuardView:
    """Everything that a guard decides from.

    `server` None: SQL is silent. `session_holds`: the SQL session was opened before `record` was read and has not been
    killed since; a guard acts in that session only (docs/decisions/sessions-are-the-fencing-token.md).
    `swapped_alone`: this process asked for in_sync=none, was granted, and has not asked for a replica since.
    """

    me: str
    record: Record | None
    session_holds: bool
    swapped_alone: bool
    server: Server | None
    peer: Peer | None
    timers: GuardTimers = GuardTimers()


class FenceStep(Enum):
    """Steps of the fence in their order; each is proved by reading back."""

    READ_ONLY_WHILE_STREAMING = "super_read_only=ON, replica caught up, kill all other sessions, source_enabled=ON"
    KILL_BY_GUARD = "its guard, directly or through the survivor's relay: SIGKILL of mysqld, which boots read-only"
    CONNECT = "log in to it by SQL, then check that the record's term is still the fence's"
    OFFLINE_AND_KILL = "offline_mode=ON, kill every other session whatever its rights"
    SOURCE_OFF = "rpl_semi_sync_source_enabled=OFF: what waits becomes this server's own, nobody is told"
    READ_ONLY = "super_read_only=ON"
    ROBOT_RESET = "power it off by Hetzner Robot"
    PROVEN = "it cannot acknowledge"
    UNPROVEN = "no way is left within the time limits"


@dataclass(frozen=True, slots=True)
class FenceView:
    """What the fence of one term knows of the old primary.

    `server`: as read back through the fence's own session, None without one. `sessions_killed`: this fence has done
    OFFLINE_AND_KILL in that session. Switches that stand as wanted by an older fence's hand prove nothing: a session
    begun after that fence's kill may still act on the record of its time. `replica_of_successor`: the record's in_sync
    names it, or it streams from the record's primary: its guard has attached it.
    """

    server: Server | None
    sessions_killed: bool
    sql_reachable: bool
    guard_reachable: bool
    robot_available: bool
    replica_streams_and_has_all: bool
    power_is_off: bool
    replica_of_successor: bool = False


class Fence(Enum):
    """How far the fence of this term came, in the memory of the manager that runs it."""

    UNTRIED = "not ended"
    PROVEN = "proven"
    GIVEN_UP = "not provable in time"


class ManagerStep(Enum):
    """What a manager does next."""

    NOTHING = "nothing"
    HOLD = "would act, but may not: alarm with what would make it act"
    PROMOTE = "swap: the candidate becomes the record's primary, not opened"
    ALLOW_LOSS = "the same, by a person's word"
    FENCE = "one step of the fence"
    STOP_RECEIVING = "candidate: offline_mode=ON, kill sessions; with a channel source_enabled=OFF, STOP IO_THREAD"
    WAIT = "until the candidate's applier is idle"
    DETACH = "in the same session: check the instance, STOP REPLICA, RESET REPLICA ALL, source_enabled=ON"
    SWAP_OPENED = "swap: opened"
    ROLL_BACK = "swap: the old primary goes on"


@dataclass(frozen=True, slots=True)
class ManagerView:
    """Everything that a manager decides from. `old` is the other server of the pair: the primary, or the one replaced.

    `candidate_hears_old`: its IO thread is connected to it. `drain_session_holds`: the session that did
    STOP_RECEIVING is alive. `ordered`: a switchover was asked for. `loss_allowed`: a person named the
    loss. The last two are timers.
    """

    record: Record | None
    candidate: Server | None
    old: Server | None
    candidate_hears_old: bool
    fence: Fence
    drain_session_holds: bool
    hold_if_unproven: bool
    ordered: bool = False
    loss_allowed: bool = False
    silent: bool = False
    promotion_overdue: bool = False
