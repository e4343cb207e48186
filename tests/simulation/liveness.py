"""Once faults end: does exactly one server acknowledge again, within a bounded number of rounds?

The rounds are fair and honest: every program looks once a round, the network works, and a timer is over only where its
condition has held for a whole round. A round stands for some seconds (guard every second, manager every five).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.failover.decide import decide_fence, decide_manager
from holdfast.failover.protocol import FenceStep, GuardStep, GuardTimers, ManagerStep
from simulation.guards import guard_acts, guard_step, guard_swaps
from simulation.managers import fence_acts, fence_view, manager_acts, manager_view, rebuilt
from simulation.programs import SETS
from simulation.variants import Variant
from simulation.world import (
    NO,
    NOBODY,
    OFF,
    RESET,
    RUNNING,
    A,
    B,
    World,
    acknowledge,
    settled,
    streams,
    with_db,
    with_guard,
)

ROUNDS = 40


def healed(world: World, dead: int = NOBODY) -> World:
    """All faults end, but for the host `dead`, which stays without power; late messages never come."""
    world = world._replace(cut=0, held=None, late=NOBODY)
    for host in (A, B):
        if host != dead:
            world = with_db(world, host, world.db[host]._replace(up=RUNNING, frozen=0))
            world = with_guard(world, host, world.guard[host]._replace(up=1))
    return settled(world)


def expected(world: World, variant: Variant, dead: int = NOBODY) -> bool:
    """Whether the record allows that a server is opened with the host `dead` gone."""
    rec = world.rec
    if rec is None:
        # only if it can be rebuilt, which the search cannot demand: a person decides
        return False
    if dead == NOBODY:
        return True
    other = 1 - dead
    if rec.primary == other and rec.opened:
        return True
    if variant.hold and not variant.robot:
        return False  # nobody can prove that it is off: held for a person, as the site wants it
    if rec.primary == other:
        return rec.in_sync == 1 + other
    return bool(rec.opened) and rec.in_sync == 1 + other


def done(world: World, variant: Variant, dead: int = NOBODY) -> bool:
    """Exactly one server acknowledges writes; the other is in sync, or stays out because it has errant transactions."""
    rec = world.rec
    able = [db.writable and (not db.enabled or streams(world, 1 - host)) for host, db in enumerate(world.db)]
    if rec is None or not rec.opened or able != [host == rec.primary for host in (A, B)]:
        return False
    if world.db[rec.primary].wait | world.db[rec.primary].dead:
        return False
    replica = 1 - rec.primary
    out = world.db[replica].data & ~world.db[rec.primary].all and world.db[replica].run == NO
    return dead == replica or rec.in_sync == 1 + replica or bool(out) and not variant.no_comparison


def fair_round(world: World, variant: Variant, *, patient: bool) -> World:
    """Every server, guard and manager does one thing. `patient`: no timer is over yet."""
    for host in (A, B):
        world = settled(_server(world, host))
    for host in (A, B):
        guard = world.guard[host]
        db = world.db[host]
        if world.rec and guard.up and db.answers and (guard.session or not db.locked) and not guard.fresh:
            world = with_guard(world, host, guard._replace(view=world.rec, fresh=1, newest_term=1))
        step = guard_step(world, host, variant, GuardTimers())
        if step is GuardStep.NOTHING and not patient:
            step = guard_step(world, host, variant, GuardTimers(no_progress=True, marker_overdue=True))
        if step in SETS and world.db[host].locked:
            step = GuardStep.KILL_SERVER
        if step in (GuardStep.SWAP_TO_NONE, GuardStep.SWAP_TO_REPLICA):
            world = guard_swaps(world, host, 2 - host if step is GuardStep.SWAP_TO_REPLICA else 0, variant)
        elif step not in (GuardStep.NOTHING, GuardStep.READ_RECORD, GuardStep.ALARM, GuardStep.STAY_OUT):
            world = guard_acts(world, host, step, variant)
        world = settled(world)
    return settled(_manager(world, variant, patient=patient))


def _server(world: World, host: int) -> World:
    db = world.db[host]
    if db.up == RUNNING - 1:
        return with_db(world, host, db._replace(up=RUNNING))
    other = 1 - host
    if not db.answers:
        return world
    missing = db.all & ~(world.db[other].data | world.db[other].relay)
    if streams(world, other):
        world = with_db(world, other, world.db[other]._replace(relay=world.db[other].relay | missing))
        world = acknowledge(world, host)
    db = world.db[host]
    if db.linger and not db.locked:
        if db.linger != RESET:
            world = acknowledge(world, host)
        db = world.db[host]
        after = db._replace(channel=0, run=NO, relay=0) if db.linger == RESET else db._replace(enabled=0)
        db = after._replace(linger=0)
        world = with_db(world, host, db)
    if db.relay and db.run != NO and not db.enabled:
        world = with_db(world, host, db._replace(data=db.data | db.relay, relay=0))
    return world


def _manager(world: World, variant: Variant, *, patient: bool) -> World:
    if world.rec is None:
        return rebuilt(world) or world
    view = manager_view(world, variant, silent=not patient)
    step = decide_manager(view)
    target = 1 - world.rec.primary
    if step is ManagerStep.FENCE or (world.rec.opened and world.manager.fence == 2):
        fence = decide_fence(fence_view(world, target, variant))
        if fence is FenceStep.UNPROVEN and world.rec.opened:
            return world
        return fence_acts(world, target, fence, variant)
    if step in (ManagerStep.NOTHING, ManagerStep.HOLD, ManagerStep.WAIT):
        return world
    return manager_acts(world, step, variant)


@dataclass
class Liveness:
    """A judge that remembers which situations end well, so that each is followed once."""

    variant: Variant
    good: dict[int, set[tuple[World, bool]]] = field(default_factory=dict)
    longest: int = 0

    def __call__(self, world: World) -> str:
        """Return what does not come to an end, or an empty string."""
        for dead in (NOBODY, A, B):
            if dead != NOBODY and world.db[dead].up != OFF:
                continue
            if expected(world, self.variant, dead) and not self._ends(healed(world, dead), dead):
                return f"never ends: with {'all hosts' if dead == NOBODY else 'AB'[dead] + ' off'} after the faults"
        return ""

    def _ends(self, world: World, dead: int) -> bool:
        good = self.good.setdefault(dead, set())
        path: list[tuple[World, bool]] = []
        for count in range(ROUNDS):
            patient = count % 2 == 0
            if (world, patient) in good or done(world, self.variant, dead):
                good.update(path)
                self.longest = max(self.longest, count)
                return True
            path.append((world, patient))
            world = fair_round(world, self.variant, patient=patient)
        return False
