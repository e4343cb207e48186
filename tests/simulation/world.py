"""The state of the simulated world, and what MySQL, the network and the hosts do to it.

A state is a tuple of small integers, so that equal situations are equal values. Nothing in it counts: a version or
a term is only "current" or "older", an instance only "running" or "gone" (see `aged`). There is no clock: a timer may
be over at any moment its condition holds. A transaction that both servers have executed is forgotten, its number used
again.
"""

from __future__ import annotations

from typing import NamedTuple

A, B = 0, 1
NOBODY = -1
OFF, BOOTABLE, RUNNING = 0, 1, 2  # Db.up: no power; mysqld down; mysqld runs
SET_OFF, SET_OFF_SPARED, RESET = 1, 2, 3  # Db.linger: enabled=OFF (spared by the next guard); RESET REPLICA ALL
NO, APPLIER, BOTH = 0, 1, 2  # Db.run: replication threads
ORDINARY = 0b0011  # bits of transactions; the others are of a kind that matters
ROOT = 0b0100  # its session has CONNECTION_ADMIN and survives offline_mode
ACCOUNT = 0b1000  # ALTER USER: while it waits, SET and new logins hang


class Db(NamedTuple):
    """A database host and its mysqld; data, wait, dead and relay are sets of transactions.

    `wait` is in the binlog and its client waits for OK; `dead` the same with the client's connection killed: it becomes
    data without an acknowledgement. `channel`: configured to replicate from the other. A crash turns both into data.
    """

    up: int = RUNNING
    frozen: int = 0  # 1 the host, 2 mysqld alone
    ro: int = 1
    offline: int = 0
    enabled: int = 1
    channel: int = 0
    run: int = NO
    data: int = 0
    wait: int = 0
    dead: int = 0
    relay: int = 0
    linger: int = 0  # a statement whose program died and that may still come through, see SET_OFF

    @property
    def answers(self) -> bool:
        return self.up == RUNNING and not self.frozen

    @property
    def all(self) -> int:
        """Everything in its binary log."""
        return self.data | self.wait | self.dead

    @property
    def locked(self) -> bool:
        return bool((self.wait | self.dead) & ACCOUNT)

    @property
    def writable(self) -> bool:
        return self.up == RUNNING and not self.frozen and not self.ro and not self.offline


class Rec(NamedTuple):
    """The record. in_sync: 0 none, 1+host its running instance, -(1+host) an instance that is gone."""

    primary: int
    opened: int
    in_sync: int


class Guard(NamedTuple):
    """A guard's process; `view` is the record it read last, `fresh` whether the record is still that version.

    `session`: its SQL session is older than the view and alive. `newest_term`: it has seen the record's term.
    """

    up: int = 1
    session: int = 0
    alone: int = 0
    view: Rec | None = None
    fresh: int = 0
    newest_term: int = 0


class Manager(NamedTuple):
    """The manager's memory. fence: 0 untried, 1 proven, 2 given up. fencer: the host a fence's session is on.

    `killed`: that fence has killed the other sessions. `stale`: it is one of an older term that has not noticed.
    """

    fence: int = 0
    fencer: int = NOBODY
    drain: int = 0
    killed: int = 0
    stale: int = 0

    def fencer_gone(self) -> Manager:
        return self._replace(fencer=NOBODY, killed=0, stale=0)

    def new_term(self) -> Manager:
        """What is left when the record's term changes: a session of the last fence, if it has one."""
        return Manager(0, self.fencer, 0, self.killed, int(self.fencer != NOBODY))


class World(NamedTuple):
    """`cut`: bits of `link`. `held`: a guard's request that may still reach the keeper, (asker, wanted in_sync)."""

    db: tuple[Db, Db]
    guard: tuple[Guard, Guard]
    rec: Rec | None
    manager: Manager = Manager()
    cut: int = 0
    acked: int = 0
    held: tuple[int, int] | None = None
    late: int = NOBODY  # only when guards use late answers: to whom "swapped to none" is on its way


KEEPER = 2
LINKS = ((A, B), (B, A), (A, KEEPER), (KEEPER, A), (B, KEEPER), (KEEPER, B))
_BIT = {link: 1 << place for place, link in enumerate(LINKS)}


def link(source: int, target: int) -> int:
    """The bit of a link in one direction."""
    return _BIT[source, target]


def talks(world: World, one: int, other: int) -> bool:
    """Whether a request and its answer pass."""
    return not world.cut & (_BIT[one, other] | _BIT[other, one])


def path_from_keeper(world: World, host: int) -> bool:
    """Directly, or through the survivor's relay."""
    other = 1 - host
    if talks(world, KEEPER, host):
        return True
    return (
        talks(world, KEEPER, other)
        and world.db[other].up != OFF
        and world.db[other].frozen != 1
        and talks(world, other, host)
    )


def start() -> World:
    """A healthy pair: A is primary, B in sync."""
    rec = Rec(A, 1, 1 + B)
    guard = Guard(1, 1, 0, rec, 1, 1)
    return World((Db(ro=0), Db(enabled=0, channel=1, run=BOTH)), (guard, guard), rec)


def with_db(world: World, host: int, db: Db) -> World:
    return world._replace(db=(db, world.db[B]) if host == A else (world.db[A], db))


def with_guard(world: World, host: int, guard: Guard) -> World:
    return world._replace(guard=(guard, world.guard[B]) if host == A else (world.guard[A], guard))


def streams(world: World, replica: int) -> bool:
    """The replica's IO thread is connected: its source runs, is not offline, and both directions pass."""
    db, source = world.db[replica], world.db[1 - replica]
    return bool(
        db.channel and db.run == BOTH and db.answers and source.answers and not source.offline and talks(world, A, B)
    )


def aged(world: World, host: int) -> World:
    """Every name of the host's running instance now names one that is gone."""

    def old(rec: Rec | None) -> Rec | None:
        return rec._replace(in_sync=-(1 + host)) if rec and rec.in_sync == 1 + host else rec

    one, two = (guard._replace(view=old(guard.view)) for guard in world.guard)
    held = world.held
    if held and held[1] == 1 + host:
        held = (held[0], -(1 + host))
    return world._replace(rec=old(world.rec), guard=(one, two), held=held)


def crash(world: World, host: int, up: int = BOOTABLE, *, keeps_identity: bool = False) -> World:
    """Mysqld is gone: recovery commits what waited, the relay log is dropped, my.cnf's switches return."""
    db = world.db[host]
    world = with_db(world, host, Db(up=up, channel=db.channel, data=db.all))
    guard = world.guard[host]._replace(session=0)
    if up == OFF:
        guard = Guard(0, newest_term=guard.newest_term)
    world = with_guard(world, host, guard)
    manager = world.manager
    if manager.fencer == host:
        manager = manager.fencer_gone()
    # the drain's session is on the candidate, which is the record's primary
    if manager.drain and (world.rec is None or world.rec.primary == host):
        manager = manager._replace(drain=0)
    world = world._replace(manager=manager)
    return world if keeps_identity else aged(world, host)


def kill_sessions(world: World, host: int, *, spare: str = "") -> World:
    """KILL of every session but the killer's own; `spare` names that: guard, fencer or drain."""
    db = world.db[host]
    world = with_db(world, host, db._replace(wait=0, dead=db.dead | db.wait, linger=0))
    if spare != "guard":
        world = with_guard(world, host, world.guard[host]._replace(session=0))
    manager = world.manager
    if spare != "fencer" and manager.fencer == host:
        manager = manager.fencer_gone()
    if spare != "drain" and manager.drain and world.rec and world.rec.primary == host:
        manager = manager._replace(drain=0)
    return world._replace(manager=manager)


def acknowledge(world: World, host: int) -> World:
    """Everything that waits on a host comes through; clients that still wait get OK."""
    db = world.db[host]
    return with_db(world, host, db._replace(data=db.all, wait=0, dead=0))._replace(acked=world.acked | db.wait)


def changed(world: World, rec: Rec | None, *, new_term: bool) -> World:
    """The record was replaced: all views and requests are of an older version."""
    one, two = (guard._replace(fresh=0, newest_term=0 if new_term else guard.newest_term) for guard in world.guard)
    return world._replace(rec=rec, guard=(one, two), held=None)


def settled(world: World) -> World:
    """The canonical form: what cannot make a difference is made equal.

    A guard that has no usable view and can get one gets it at once. To read later is no other behaviour: after a
    change of the record it may keep the older view as long as the search likes, and reads again when the search likes.
    """
    rec = world.rec
    for host in (A, B):
        guard, db = world.guard[host], world.db[host]
        blind = guard.up and not (guard.session and guard.view)
        if rec and blind and db.answers and not db.locked and talks(world, host, KEEPER):
            world = with_guard(world, host, Guard(1, 1, guard.alone, rec, 1, 1))
            if db.linger == SET_OFF and not guard.session:
                # a guard that connects kills what an earlier guard left in the server
                world = with_db(world, host, db._replace(linger=0))
    both = world.db[A].data & world.db[B].data
    if both:
        one, two = (db._replace(data=db.data & ~both) for db in world.db)
        world = world._replace(db=(one, two), acked=world.acked & ~both)
    return world
