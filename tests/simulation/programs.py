"""The programs' steps: the real decisions, fed with what each program can see, and what the steps do to the world.

Atomic here, because nothing of another program can come between that is not the same as coming before or after:
a compare-and-swap with its answer (the asker acts on the answer in a later step, so an answer that waits is a step
that waits); looking and deciding (a look that waits is a view that is older: views may be of any age); a guard's own
few statements (its session is alone on the server once it has killed the others, and dying between two of them leaves
what a half-done fence leaves); an ACK on its way, which is the same as one that came just before what overtook it.
Not atomic: reading the record and acting on it; the fence's statements; draining, detaching, opening.
"""

from __future__ import annotations

from functools import cache

from holdfast.failover.protocol import (
    Fence,
    GuardStep,
    Server,
)
from holdfast.failover.record import Change, Instance, Record, SwapRequest, decide_swap
from simulation.world import (
    BOTH,
    NO,
    Db,
    Rec,
    World,
    changed,
)

Step = tuple[str, World]
NAMES = "AB"
SETS = frozenset(
    {
        GuardStep.GO_OFFLINE,
        GuardStep.FINISH_FENCE,
        GuardStep.LIFT_OFFLINE,
        GuardStep.OPEN,
        GuardStep.ACKNOWLEDGE_ALONE,
        GuardStep.ARM,
    }
)
FENCES = (Fence.UNTRIED, Fence.PROVEN, Fence.GIVEN_UP)


def instance(code: int) -> Instance | None:
    return Instance(NAMES[abs(code) - 1], "boot", int(code > 0)) if code else None


def code_of(found: Instance | None) -> int:
    return 0 if found is None else (1 if found.process_start else -1) * (1 + NAMES.index(found.server_uuid))


@cache
def record_of(rec: Rec | None, fresh: int = 1) -> Record | None:
    if rec is None:
        return None
    return Record(1 + fresh, 1 + fresh, NAMES[rec.primary], bool(rec.opened), instance(rec.in_sync))


def server_of(db: Db, host: int) -> Server:
    return Server(
        instance=Instance(NAMES[host], "boot", 1),
        read_only=bool(db.ro),
        offline=bool(db.offline),
        source_enabled=bool(db.enabled),
        waiting=(db.wait | db.dead).bit_count(),
        source_of_channel=NAMES[1 - host] if db.channel else "",
        receiving=db.run == BOTH,
        applying=db.run != NO,
        applier_idle=not db.relay,
    )


@cache
def _swap(
    rec: Rec | None, fresh: int, change: Change, asker: str, primary: str, wanted: int
) -> tuple[bool, Rec | None, bool]:
    request = SwapRequest(change, asker, 1 + fresh, 1 + fresh, primary, instance(wanted))
    answer = decide_swap(record_of(rec), request)
    if not answer.granted or answer.record is None:
        return False, rec, False
    got = answer.record
    return True, Rec(NAMES.index(got.primary), int(got.opened), code_of(got.in_sync)), got.term != 2


def swapped(
    world: World, fresh: int, change: Change, asker: str, primary: int = 0, wanted: int = 0
) -> tuple[bool, World]:
    """The keeper's answer, and the world with its record."""
    granted, rec, new_term = _swap(world.rec, fresh, change, asker, NAMES[primary], wanted)
    return granted, changed(world, rec, new_term=new_term) if granted else world
