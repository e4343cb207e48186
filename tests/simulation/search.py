"""Invariants, and the exhaustive search over deduplicated states."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from simulation.programs import NAMES, Step
from simulation.schedule import faults, steps
from simulation.variants import Variant
from simulation.world import World, settled, start, streams


def violation(world: World) -> str:
    """What the world breaks of the design's promises, or an empty string."""
    able = [db.writable and (not db.enabled or streams(world, 1 - host)) for host, db in enumerate(world.db)]
    if all(able):
        return "two writers: both servers acknowledge writes"
    acked, rec = world.acked, world.rec
    if rec is None:
        if acked & ~world.db[0].all and acked & ~world.db[1].all:
            return "lost: no server has every acknowledged transaction"
        return ""
    line = rec.primary if rec.opened else 1 - rec.primary
    if acked & ~world.db[line].all:
        return f"lost: acknowledged, and not in the line of {NAMES[line]}"
    if rec.in_sync > 0:
        replica, primary = world.db[rec.in_sync - 1], world.db[line]
        if acked & ~(replica.data | replica.relay):
            return "in_sync lies: the replica lacks an acknowledged transaction"
        if (replica.data | replica.relay) & ~primary.all:
            return "diverged: the replica in sync has a transaction that the primary lacks"
    return ""


@dataclass
class Result:
    """What a search found: `trace` is a shortest schedule to the first violation, `last` the state that it ends in.

    `schedules` counts, over all states, the different ways to get there with the fewest faults, then steps.
    """

    states: int = 0
    transitions: int = 0
    schedules: int = 0
    by_faults: list[int] = field(default_factory=list)
    broken: str = ""
    trace: list[str] = field(default_factory=list)
    last: World | None = None


class Search:
    """Breadth first, by number of faults: a state reached with fewer faults is not visited again with more."""

    def __init__(self, variant: Variant, wanted: str, judge: Callable[[World], str], kinds: tuple[str, ...]) -> None:
        self.variant, self.wanted, self.judge, self.kinds = variant, wanted, judge, kinds
        first = settled(start())
        self.parent: dict[World, World | None] = {first: None}
        self.layer: dict[World, int] = {first: 1}  # states of this number of faults, and ways to them
        self.result = Result()

    def run(self, budget: int) -> Result:
        """Search up to a number of faults, or to the first violation that is wanted."""
        for used in range(budget + 1):
            if self._without_faults() or (used < budget and self._one_fault()):
                break
        self.result.states = len(self.parent)
        return self.result

    def _without_faults(self) -> bool:
        ways = self.layer
        depth = dict.fromkeys(ways, 0)
        queue = deque(ways)
        while queue:
            world = queue.popleft()
            below, so_far = depth[world] + 1, ways[world]
            for _, after in steps(world, self.variant):
                self.result.transitions += 1
                if after not in self.parent:
                    self.parent[after] = world
                    depth[after], ways[after] = below, 0
                    queue.append(after)
                    if self._broken(after):
                        return True
                if depth.get(after) == below:
                    ways[after] += so_far
        self.result.by_faults.append(len(ways))
        self.result.schedules += sum(ways.values())
        return False

    def _one_fault(self) -> bool:
        layer: dict[World, int] = {}
        for world, so_far in self.layer.items():
            for label, after in faults(world, self.variant):
                if not label.startswith(self.kinds):
                    continue
                self.result.transitions += 1
                if after not in self.parent:
                    self.parent[after] = world
                    layer[after] = 0
                    if self._broken(after):
                        return True
                if after in layer:
                    layer[after] += so_far
        self.layer = layer
        return False

    def _broken(self, world: World) -> bool:
        broken = self.judge(world)
        if not broken or not broken.startswith(self.wanted):
            return False
        path = [world]
        while (before := self.parent[path[-1]]) is not None:
            path.append(before)
        path.reverse()
        for one, other in zip(path, path[1:], strict=False):
            found: list[Step] = [*steps(one, self.variant), *faults(one, self.variant)]
            self.result.trace.append(next(label for label, after in found if after == other))
        self.result.broken, self.result.last = broken, world
        return True


def search(
    variant: Variant,
    budget: int,
    *,
    wanted: str = "",
    judge: Callable[[World], str] = violation,
    kinds: tuple[str, ...] = ("",),
) -> Result:
    """Search every schedule with at most `budget` faults; stop at the first violation that starts with `wanted`.

    `kinds`: how the faults' names begin; the default is all.
    """
    return Search(variant, wanted, judge, kinds).run(budget)


def describe(world: World) -> str:
    """One line for a person who reads a schedule."""
    servers = " ".join(f"{NAMES[host]}={tuple(db)}" for host, db in enumerate(world.db))
    return f"{servers} rec={world.rec} guards={[tuple(g) for g in world.guard]} {world.manager} acked={world.acked}"
