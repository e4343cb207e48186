"""The manager's, the promotion's and the fence's steps, by the real decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from holdfast.failover.decide import decide_fence, decide_manager
from holdfast.failover.protocol import (
    FenceStep,
    FenceView,
    ManagerStep,
    ManagerView,
    Server,
)
from holdfast.failover.record import Change, Record, Witness, decide_rebuild
from simulation.programs import FENCES, NAMES, Step, record_of, server_of, swapped
from simulation.variants import Variant
from simulation.world import (
    APPLIER,
    BOOTABLE,
    KEEPER,
    NO,
    OFF,
    ROOT,
    Rec,
    World,
    acknowledge,
    changed,
    crash,
    kill_sessions,
    path_from_keeper,
    streams,
    talks,
    with_db,
    with_guard,
)


def manager_view(world: World, variant: Variant, **asked: bool) -> ManagerView:
    """What the manager sees."""
    rec = world.rec
    seen: list[Server | None] = [None, None]
    for host in (0, 1):
        db = world.db[host]
        # a login hangs while an account statement waits; a session that is there already does not
        drained = world.manager.drain and rec is not None and rec.primary == host
        if db.answers and (not db.locked or drained) and talks(world, KEEPER, host):
            seen[host] = server_of(db, host)
    candidate = 0 if rec is None else rec.primary if not rec.opened else 1 - rec.primary
    manager = world.manager
    if variant.no_drain:
        seen = [replace(server, applier_idle=True) if server else None for server in seen]
    if rec and not rec.opened and variant.elected_forgotten:
        rec = rec._replace(in_sync=1 + candidate)  # a manager that restarted finishes with the instance that it finds
    return ManagerView(
        record=record_of(rec),
        candidate=seen[candidate],
        old=seen[1 - candidate],
        candidate_hears_old=streams(world, candidate),
        fence=FENCES[manager.fence],
        drain_session_holds=bool(manager.drain),
        hold_if_unproven=variant.hold,
        **asked,
    )


def manager_choices(world: World, variant: Variant) -> list[ManagerStep]:
    """What a manager may do, whatever its timers say."""
    found = []
    for overdue in (False, True):
        step = decide_manager(manager_view(world, variant, silent=True, promotion_overdue=overdue))
        if step not in found:
            found.append(step)
    return found


def manager_steps(world: World, variant: Variant) -> Iterator[Step]:
    """Every step that the manager, its promotion and its fence may take now."""
    if world.rec is None:
        if again := rebuilt(world):
            yield "keeper: rebuilds the record", again
        return
    rec = world.rec
    for step in manager_choices(world, variant):
        if step is ManagerStep.FENCE:
            yield from fence_steps(world, 1 - rec.primary, variant)
        elif step not in (ManagerStep.NOTHING, ManagerStep.HOLD, ManagerStep.WAIT):
            yield "manager: " + step.name, manager_acts(world, step, variant)
    if variant.fence_before_swap and rec.opened and world.manager.fence == 0:
        yield from fence_steps(world, rec.primary, variant)
    if world.manager.stale:
        yield from fence_steps(world, world.manager.fencer, variant, stale=True)
    if world.manager.fence == 2 and rec.opened:
        yield from fence_steps(world, 1 - rec.primary, variant)


def rebuilt(world: World) -> World | None:
    """The world with a record that the keeper makes anew, where it may."""
    witnesses = [
        Witness(
            NAMES[host],
            db.answers and not db.locked and bool(guard.up) and talks(world, KEEPER, host),
            db.writable,
            NAMES[1 - host] if streams(world, host) else "",
            guard.newest_term,
        )
        for host, (db, guard) in enumerate(zip(world.db, world.guard, strict=True))
    ]
    found = decide_rebuild(witnesses, 9)
    if not isinstance(found, Record):
        return None
    return changed(world, Rec(NAMES.index(found.primary), 1, 0), new_term=True)


def manager_acts(world: World, step: ManagerStep, variant: Variant) -> World:
    """What a step of the manager does; swaps go through the keeper's own decision."""
    rec = world.rec
    assert rec is not None
    if step in (ManagerStep.PROMOTE, ManagerStep.ALLOW_LOSS):
        host = 1 - rec.primary
        change = Change.PROMOTE if step is ManagerStep.PROMOTE else Change.ALLOW_LOSS
        granted, world = swapped(world, 1, change, "manager", host, 1 + host)
        if granted and variant.elected_forgotten and world.rec:
            world = world._replace(rec=world.rec._replace(in_sync=0))
        return world._replace(manager=world.manager.new_term()) if granted else world
    if step is ManagerStep.ROLL_BACK:
        granted, world = swapped(world, 1, Change.ROLL_BACK, "manager", 1 - rec.primary)
        return world._replace(manager=world.manager.new_term()) if granted else world
    host = rec.primary
    db = world.db[host]
    if step is ManagerStep.SWAP_OPENED:
        lost = 0 if rec.in_sync or variant.elected_forgotten else world.acked & ~db.all
        _, after = swapped(world, 1, Change.OPEN, "manager", host, 1 + host)
        return after._replace(acked=after.acked & ~lost)
    if step is ManagerStep.STOP_RECEIVING:
        offline = int(not variant.candidate_stays_online)
        enabled = 0 if db.channel else db.enabled
        if not variant.sessions_live:
            world = kill_sessions(world, host, spare="drain")
            db = world.db[host]
        world = with_db(
            world,
            host,
            db._replace(enabled=enabled, offline=offline, run=min(db.run, APPLIER), data=db.all, wait=0, dead=0),
        )
        return world._replace(manager=world.manager._replace(drain=1))
    assert step is ManagerStep.DETACH
    enabled = db.enabled if variant.off_without_channel else 1
    return with_db(world, host, db._replace(channel=0, run=NO, relay=0, enabled=enabled))


def fence_steps(world: World, host: int, variant: Variant, *, stale: bool = False) -> Iterator[Step]:
    """The fence's next step against a host; a stale one only goes on in the session that it has."""
    view = fence_view(world, host, variant, stale=stale)
    if world.manager.fencer == host and view.server is None and world.manager.stale == stale:
        world = world._replace(manager=world.manager.fencer_gone())
    if stale and view.server is None:
        yield f"stale fence {NAMES[host]} notices", world
        return
    step = decide_fence(view)
    if stale and step is FenceStep.PROVEN:
        yield f"stale fence {NAMES[host]} ends", world._replace(manager=world.manager.fencer_gone())
        return
    what = "stale fence" if stale else "fence"
    yield f"{what} {NAMES[host]}: {step.name}", fence_acts(world, host, step, variant)


def fence_view(world: World, host: int, variant: Variant, *, stale: bool = False) -> FenceView:
    """What the fence sees of a host."""
    db, path = world.db[host], path_from_keeper(world, host)
    mine = world.manager.fencer == host and (world.manager.stale == stale or variant.fence_believes_switches)
    everything = streams(world, 1 - host) and not db.all & ~(world.db[1 - host].data | world.db[1 - host].relay)
    return FenceView(
        server=server_of(db, host) if mine and db.answers and path and not db.locked else None,
        sessions_killed=bool(world.manager.killed) or variant.fence_believes_switches,
        sql_reachable=path and db.answers and not db.locked,
        guard_reachable=path and bool(world.guard[host].up) and db.frozen != 1 and db.up != OFF,
        robot_available=variant.robot,
        replica_streams_and_has_all=bool(everything and not db.wait | db.dead),
        power_is_off=variant.robot and db.up == OFF,
        replica_of_successor=not variant.fencer_never_ends and _replica_of_successor(world, host),
    )


def _replica_of_successor(world: World, host: int) -> bool:
    rec = world.rec
    return rec is not None and rec.primary != host and (rec.in_sync == 1 + host or streams(world, host))


def fence_acts(world: World, host: int, step: FenceStep, variant: Variant) -> World:
    """What a step of the fence does."""
    db, manager = world.db[host], world.manager
    if step is FenceStep.OFFLINE_AND_KILL:
        world = world._replace(manager=manager._replace(killed=1))
    current = world.rec is not None and world.rec.primary != host
    if step is FenceStep.CONNECT:
        return world._replace(manager=manager._replace(fencer=host, killed=0, stale=0))
    if step is FenceStep.OFFLINE_AND_KILL:
        if variant.sessions_live or variant.kill_spares_root:
            spared = db.wait & ROOT if variant.kill_spares_root else 0
            db = db._replace(offline=1, wait=spared, dead=db.dead | db.wait & ~spared)
            return with_db(world, host, db)
        world = kill_sessions(world, host, spare="fencer")
        return with_db(world, host, world.db[host]._replace(offline=1))
    if step is FenceStep.SOURCE_OFF:
        world = acknowledge(world, host)
        return with_db(world, host, world.db[host]._replace(enabled=0))
    if step is FenceStep.READ_ONLY:
        return with_db(world, host, db._replace(ro=1))
    if step is FenceStep.READ_ONLY_WHILE_STREAMING:
        enabled = db.enabled if variant.off_without_channel else 1
        world = kill_sessions(with_db(world, host, db._replace(ro=1, enabled=enabled)), host)
    elif step in (FenceStep.KILL_BY_GUARD, FenceStep.ROBOT_RESET):
        down = OFF if step is FenceStep.ROBOT_RESET or db.up == OFF else BOOTABLE
        world = crash(world, host, down, keeps_identity=variant.names_are_hosts)
        world = with_guard(world, host, world.guard[host]._replace(view=None, fresh=0, session=0, alone=0))
    fence = 2 if step is FenceStep.UNPROVEN else 1
    manager = world.manager
    if manager.fencer == host:
        manager = manager.fencer_gone()
    return world._replace(manager=manager._replace(fence=fence) if current else manager)
