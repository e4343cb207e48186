"""A guard's steps: the real decision, fed with what it can see, and what its steps do to the world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from holdfast.failover.decide import decide_guard
from holdfast.failover.protocol import (
    GuardStep,
    GuardTimers,
    GuardView,
    Peer,
)
from holdfast.failover.record import Change, Instance
from simulation.programs import NAMES, SETS, Step, record_of, server_of, swapped
from simulation.variants import Variant
from simulation.world import (
    BOTH,
    KEEPER,
    ROOT,
    RUNNING,
    Db,
    Guard,
    World,
    acknowledge,
    crash,
    kill_sessions,
    streams,
    talks,
    with_db,
    with_guard,
)

TIMERS = (GuardTimers(), GuardTimers(no_progress=True), GuardTimers(marker_overdue=True))


@cache
def _guard_view(
    host: int, me: Db, guard: Guard, peer: Db | None, has_mine: bool, extra: bool, hears: bool
) -> GuardView:
    other = Instance(NAMES[1 - host], "boot", 1)
    return GuardView(
        me=NAMES[host],
        record=record_of(guard.view, guard.fresh),
        session_holds=bool(guard.session),
        swapped_alone=bool(guard.alone),
        server=server_of(me, host),
        peer=Peer(other, peer.writable, hears, has_mine, not extra) if peer is not None else None,
    )


@cache
def _guard_steps(view: GuardView, isolated: bool, locked: bool) -> tuple[GuardStep, ...]:
    found = []
    for timers in (*TIMERS, GuardTimers(isolated=isolated)):
        step = decide_guard(replace(view, timers=timers))
        if step in SETS and locked:
            step = GuardStep.KILL_SERVER
        if step not in found:
            found.append(step)
    return tuple(found)


@cache
def _silent(host: int) -> tuple[GuardStep, ...]:
    return (decide_guard(GuardView(NAMES[host], None, False, False, None, None, GuardTimers(sql_silent=True))),)


def sql_silent(db: Db, guard: Guard) -> bool:
    """Whether a guard gets no answer from its server: mysqld hangs, or a login waits for the ACL lock."""
    return bool(
        guard.up and db.up == RUNNING and (db.frozen == 2 or (db.locked and not guard.session and not db.frozen))
    )


def guard_choices(world: World, host: int, variant: Variant) -> tuple[GuardStep, ...]:
    """What a guard may do, whatever its timers say."""
    me, guard = world.db[host], world.guard[host]
    if sql_silent(me, guard):
        return _silent(host)
    if not guard.up or not me.answers:
        return ()
    isolated = not talks(world, host, 1 - host) and not talks(world, host, KEEPER)
    return _guard_steps(guard_view(world, host, variant), isolated, me.locked)


def guard_view(world: World, host: int, variant: Variant) -> GuardView:
    """What a guard sees, with no timer over; its server must answer."""
    me, guard, other = world.db[host], world.guard[host], 1 - host
    together = talks(world, host, other)
    peer = world.db[other] if together and world.db[other].answers else None
    has_mine = peer is not None and (variant.trust_status or not me.all & ~peer.data)
    extra = peer is not None and not variant.no_comparison and bool(me.data & ~peer.all)
    if variant.sessions_live:
        guard = guard._replace(session=int(guard.view is not None))
    return _guard_view(host, me, guard, peer, has_mine, extra, streams(world, other))


def guard_step(world: World, host: int, variant: Variant, timers: GuardTimers) -> GuardStep:
    """What a guard does with exactly these timers over."""
    me, guard = world.db[host], world.guard[host]
    if sql_silent(me, guard):
        return _silent(host)[0]
    if not guard.up or not me.answers:
        return GuardStep.NOTHING
    return decide_guard(replace(guard_view(world, host, variant), timers=timers))


def guard_steps(world: World, host: int, variant: Variant) -> Iterator[Step]:
    """Every step that a guard may take now."""
    guard = world.guard[host]
    name = f"guard {NAMES[host]}: "
    readable = guard.up and world.db[host].answers and world.rec is not None and talks(world, host, KEEPER)
    if readable and not guard.fresh and (guard.session or not world.db[host].locked):
        yield name + "reads the record", with_guard(world, host, Guard(1, 1, guard.alone, world.rec, 1, 1))
    for step in guard_choices(world, host, variant):
        if step in (GuardStep.SWAP_TO_NONE, GuardStep.SWAP_TO_REPLICA):
            if talks(world, host, KEEPER) and (guard.fresh or variant.no_version):
                wanted = 0 if step is GuardStep.SWAP_TO_NONE else 2 - host
                yield name + step.name, guard_swaps(world, host, wanted, variant)
            elif not world.cut & _toward_keeper(host) and guard.fresh:
                wanted = 0 if step is GuardStep.SWAP_TO_NONE else 2 - host
                yield name + step.name + ", no answer", guard_swaps(world, host, wanted, variant, answered=False)
        elif step not in (GuardStep.NOTHING, GuardStep.READ_RECORD, GuardStep.ALARM, GuardStep.STAY_OUT):
            yield name + step.name, guard_acts(world, host, step, variant)


def _toward_keeper(host: int) -> int:
    return (4, 16)[host]


def guard_swaps(world: World, host: int, wanted: int, variant: Variant, *, answered: bool = True) -> World:
    """A guard's request, carried out by the keeper; without an answer the guard only knows that it asked."""
    if wanted and not variant.alone_without_swap:
        world = with_guard(world, host, world.guard[host]._replace(alone=0))
    change = Change.TO_REPLICA if wanted else Change.TO_NONE
    fresh = 1 if variant.no_version else world.guard[host].fresh
    granted, after = swapped(world, fresh, change, NAMES[host], wanted=wanted)
    if variant.no_version:
        after = after._replace(held=world.held)
    if not granted or not answered:
        return after
    guard = after.guard[host]
    return with_guard(after, host, guard._replace(alone=int(not wanted), view=after.rec, fresh=1))


def guard_acts(world: World, host: int, step: GuardStep, variant: Variant) -> World:
    """What a guard's step does to its own server."""
    db, guard = world.db[host], world.guard[host]
    if step is GuardStep.KILL_SERVER:
        return crash(world, host, keeps_identity=variant.names_are_hosts)
    if step is GuardStep.ACKNOWLEDGE_ALONE:
        world = acknowledge(world, host)
        return with_db(world, host, world.db[host]._replace(enabled=0))
    if step is GuardStep.ARM:
        return with_db(world, host, db._replace(enabled=1))
    if step in (GuardStep.ATTACH, GuardStep.START_REPLICA):
        if not (variant.sessions_live or variant.start_spares_sessions):
            world = kill_sessions(world, host, spare="guard")
            db = world.db[host]
        enabled = db.enabled if variant.start_leaves_enabled else 0
        return with_db(world, host, db._replace(enabled=enabled, channel=1, run=BOTH))
    if step is GuardStep.LIFT_OFFLINE:
        if not (variant.sessions_live or variant.start_spares_sessions):
            world = kill_sessions(world, host, spare="guard")
            db = world.db[host]
        enabled = db.enabled if db.channel or variant.off_without_channel else 1
        return with_db(world, host, db._replace(offline=0, enabled=enabled))
    if not variant.sessions_live:
        world = kill_sessions(world, host, spare="guard")
        db = world.db[host]
    if step is GuardStep.GO_OFFLINE:
        return with_db(world, host, db._replace(offline=1))
    if step is GuardStep.OPEN:
        enabled = int(not guard.alone or db.enabled)
        if variant.off_stays:
            enabled = db.enabled
        return with_db(world, host, db._replace(ro=0, offline=0, enabled=enabled))
    assert step is GuardStep.FINISH_FENCE
    if variant.kill_spares_root:
        world = world._replace(acked=world.acked | (db.dead | db.wait) & ROOT)
    return with_db(world, host, db._replace(offline=1, enabled=0, ro=1, data=db.all, wait=0, dead=0))
