"""Every free step of the world, and every fault."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.failover.decide import decide_manager
from holdfast.failover.protocol import GuardStep, ManagerStep
from holdfast.failover.record import Change
from simulation.guards import guard_choices, guard_steps, guard_swaps
from simulation.managers import manager_acts, manager_choices, manager_steps, manager_view
from simulation.programs import NAMES, Step, swapped
from simulation.variants import Variant
from simulation.world import (
    ACCOUNT,
    BOOTABLE,
    KEEPER,
    LINKS,
    NO,
    OFF,
    ORDINARY,
    RESET,
    ROOT,
    RUNNING,
    SET_OFF,
    SET_OFF_SPARED,
    A,
    B,
    Guard,
    Manager,
    World,
    acknowledge,
    changed,
    crash,
    link,
    settled,
    streams,
    with_db,
    with_guard,
)

PLACES = "ABK"
PAIRS = ((A, B), (A, KEEPER), (B, KEEPER))


def steps(world: World, variant: Variant) -> Iterator[Step]:
    """Everything that may happen next without a fault, in canonical form."""
    for label, after in _steps(world, variant):
        after = settled(after)
        if after != world:
            yield label, after


def _steps(world: World, variant: Variant) -> Iterator[Step]:
    for host in (A, B):
        yield from _server(world, host, variant)
        if not variant.replication_manager:
            yield from guard_steps(world, host, variant)
    if variant.replication_manager:
        yield from _replication_manager(world)
    else:
        yield from manager_steps(world, variant)
    if variant.switchovers:
        yield from (found for found in _persons(world, variant) if "ordered" in found[0])
    for one, other in PAIRS:
        bits = link(one, other) | link(other, one)
        if world.cut & bits:
            yield f"link {PLACES[one]}-{PLACES[other]} heals", world._replace(cut=world.cut & ~bits)
    if world.held:
        host, wanted = world.held
        change = Change.TO_REPLICA if wanted else Change.TO_NONE
        _, after = swapped(world._replace(held=None), 1, change, NAMES[host], wanted=wanted)
        yield f"late request of guard {NAMES[host]} arrives", after
    if world.late >= 0 and world.guard[world.late].up:
        guard = world.guard[world.late]._replace(alone=1)
        yield "a late answer arrives", with_guard(world, world.late, guard)._replace(late=-1)


def _server(world: World, host: int, variant: Variant) -> Iterator[Step]:
    db, name = world.db[host], NAMES[host]
    if db.up != RUNNING:
        booted = with_db(world, host, db._replace(up=RUNNING))
        if db.up == OFF:
            booted = with_guard(booted, host, world.guard[host]._replace(up=1))
        yield f"{name} boots", booted
        return
    if GuardStep.STAY_OUT in guard_choices(world, host, variant):
        # CLONE restarts mysqld; what it had and the primary has not was saved before
        fresh = crash(world, host, keeps_identity=variant.names_are_hosts)
        data = world.db[1 - host].data
        yield f"a person rebuilds {name}", with_db(fresh, host, fresh.db[host]._replace(data=data, channel=0))
    if not world.guard[host].up:
        yield f"guard {name} starts", with_guard(world, host, world.guard[host]._replace(up=1))
    if db.frozen:
        thawed = with_db(world, host, db._replace(frozen=0))
        if variant.timer_at_thaw and db.enabled and db.wait:
            thawed = acknowledge(thawed, host)
        yield f"{name} thaws", thawed
        return
    other = 1 - host
    replica = world.db[other]
    if variant.opener and db.ro and not db.channel:
        yield f"Replication Manager opens {name}", with_db(world, host, db._replace(ro=0))
    if db.writable:
        free = variant.writes & ~_used(world)
        while free:
            yield f"a client writes on {name}", written(world, host, free & -free)
            # ordinary transactions are alike: the first free one stands for all
            free &= ~ORDINARY if free & ORDINARY else free - 1
    if db.linger and not db.locked:
        off = acknowledge(world, host)
        if db.linger == RESET:
            off = with_db(world, host, db._replace(channel=0, run=NO, relay=0))
        else:
            off = with_db(off, host, off.db[host]._replace(enabled=0))
        yield f"what hung on {name} comes through", with_db(off, host, off.db[host]._replace(linger=0))
    if db.wait | db.dead:
        if variant.timer and db.enabled:
            off = acknowledge(world, host)
            yield f"MySQL's timer on {name}", with_db(off, host, off.db[host]._replace(enabled=0))
        if streams(world, other) and not db.all & ~(replica.data | replica.relay):
            yield f"{name} gets the ACK", acknowledge(world, host)
    missing = db.all & ~(replica.data | replica.relay)
    if missing and streams(world, other):
        yield f"{name} ships", with_db(world, other, replica._replace(relay=replica.relay | missing))
    # with enabled=ON a replica's applier waits for an ACK of its own, for ever
    if db.relay and db.run != NO and not db.enabled:
        yield f"{name} applies", with_db(world, host, db._replace(data=db.data | db.relay, relay=0))


def _used(world: World) -> int:
    one, two = world.db
    return one.all | one.relay | two.all | two.relay | world.acked


def written(world: World, host: int, transaction: int) -> World:
    """A client's commit: at once with enabled OFF, else it waits for the ACK."""
    db = world.db[host]
    if db.enabled:
        return with_db(world, host, db._replace(wait=db.wait | transaction))
    return with_db(world, host, db._replace(data=db.data | transaction))._replace(acked=world.acked | transaction)


def _replication_manager(world: World) -> Iterator[Step]:
    """Facts A4 and A6: it asks nobody but the primary, and opens the candidate itself."""
    if world.rec and not world.db[A].ro and world.db[B].ro:
        unreachable = not world.db[A].answers or world.cut & (link(A, KEEPER) | link(KEEPER, A))
        if unreachable and world.db[B].answers and not world.cut & (link(B, KEEPER) | link(KEEPER, B)):
            db = world.db[B]
            db = db._replace(ro=0, enabled=0, channel=0, run=NO, data=db.data | db.relay, relay=0)
            after = with_db(world, B, db)
            yield "Replication Manager promotes B", after


def faults(world: World, variant: Variant) -> Iterator[Step]:
    """Everything that may go wrong next; each costs one of the budget."""
    for label, after in _faults(world, variant):
        after = settled(after)
        if after != world:
            yield label, after


def _faults(world: World, variant: Variant) -> Iterator[Step]:
    for one, other in PAIRS:
        for bits, what in (
            (link(one, other) | link(other, one), "both ways"),
            (link(one, other), "one way"),
            (link(other, one), "the other way"),
        ):
            if not world.cut & bits:
                yield f"CUT {PLACES[one]}-{PLACES[other]} {what}", world._replace(cut=world.cut | bits)
    everything = (1 << len(LINKS)) - 1
    for name, alone in (("A", A), ("B", B), ("the app host", KEEPER), ("every host", -1)):
        off = everything if alone < 0 else sum(link(one, other) for one, other in LINKS if alone in (one, other))
        yield f"CUT {name} off", world._replace(cut=world.cut | off)
    for host in (A, B):
        yield from _host_faults(world, host, variant)
    dark = world
    for host in (A, B):
        dark = crash(dark, host, OFF, keeps_identity=variant.names_are_hosts)
    yield "POWER of every host", dark._replace(manager=Manager(), cut=0)
    if ManagerStep.DETACH in manager_choices(world, variant) and world.rec:
        host = world.rec.primary
        dead = with_db(world, host, world.db[host]._replace(linger=RESET))
        yield "MANAGER dies, its RESET REPLICA hangs", dead._replace(manager=Manager())
    if world.manager != Manager():
        yield "MANAGER dies and starts", world._replace(manager=Manager())
    if world.rec:
        yield "RECORD deleted", changed(world, None, new_term=False)
        yield from _persons(world, variant)


def _persons(world: World, variant: Variant) -> Iterator[Step]:
    if world.rec:
        orders = (("ordered", ManagerStep.PROMOTE), ("loss_allowed", ManagerStep.ALLOW_LOSS))
        for asked, wanted in orders[: 1 if variant.elected_forgotten else 2]:
            if world.rec.opened and decide_manager(manager_view(world, variant, **{asked: True})) is wanted:
                after = manager_acts(world, wanted, variant)
                yield f"PERSON: {asked}", after
                if asked == "loss_allowed" and world.db[world.rec.primary].up == OFF:
                    proven = after._replace(manager=after.manager._replace(fence=1))
                    yield "PERSON: loss allowed, old primary is off", proven


def _host_faults(world: World, host: int, variant: Variant) -> Iterator[Step]:
    db, guard, name = world.db[host], world.guard[host], NAMES[host]
    same = variant.names_are_hosts
    if db.up == OFF:
        return
    yield f"POWER of {name}", crash(world, host, OFF, keeps_identity=same)
    if guard.up:
        yield f"GUARD {name} killed", with_guard(world, host, Guard(0, newest_term=guard.newest_term))
    if db.up != RUNNING:
        return
    yield f"CRASH of mysqld {name}", crash(world, host, keeps_identity=same)
    if db.frozen:
        return
    yield f"FREEZE of {name}", with_db(world, host, db._replace(frozen=1))
    yield f"HANG of mysqld {name}", with_db(world, host, db._replace(frozen=2))
    if db.locked and guard.alone and GuardStep.KILL_SERVER in guard_choices(world, host, variant):
        hung = with_guard(world, host, Guard(0, newest_term=guard.newest_term))
        hung = with_db(hung, host, db._replace(linger=SET_OFF_SPARED if variant.guard_leaves_sessions else SET_OFF))
        yield f"GUARD {name} killed, its SET enabled=OFF hangs", hung
    if variant.sigterm_acknowledges:
        yield f"STOP of {name}", crash(acknowledge(world, host), host, BOOTABLE, keeps_identity=same)
    if db.writable:
        for kind, what in ((ROOT, "a root session"), (ACCOUNT, "ALTER USER")):
            if not kind & _used(world):
                yield f"WRITE by {what} on {name}", written(world, host, kind)
    for step in guard_choices(world, host, variant):
        if step in (GuardStep.SWAP_TO_NONE, GuardStep.SWAP_TO_REPLICA) and guard.fresh:
            yield from _lost_and_late(world, host, 0 if step is GuardStep.SWAP_TO_NONE else 2 - host, variant)


def _lost_and_late(world: World, host: int, wanted: int, variant: Variant) -> Iterator[Step]:
    """A guard's request whose answer is lost or late, or that itself is late; a repeated one is stale."""
    if world.cut & link(host, KEEPER):
        return
    what = f"guard {NAMES[host]}'s swap to {'a replica' if wanted else 'none'}"
    lost = guard_swaps(world, host, wanted, variant, answered=False)
    yield f"ANSWER LOST to {what}", lost
    if variant.late_answers_count and not wanted:
        yield f"ANSWER LATE to {what}", lost._replace(late=host)
    if not world.held:
        asked = world
        if wanted and not variant.alone_without_swap:
            asked = with_guard(world, host, world.guard[host]._replace(alone=0))
        yield f"REQUEST LATE: {what}", asked._replace(held=(host, wanted))
