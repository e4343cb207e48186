"""Every schedule with a bounded number of faults, by breadth-first search over deduplicated states.

Each test also follows every state that it reaches to its end after the faults (liveness).
"""

from __future__ import annotations

import time

import pytest

from simulation.liveness import ROUNDS, Liveness
from simulation.search import Result, search, violation
from simulation.variants import Variant
from simulation.world import ROOT, World

SITES = [
    ("policy hold", Variant(hold=True)),
    ("Hetzner Robot", Variant(robot=True)),
    ("clients that survive offline_mode", Variant(writes=ROOT)),
    ("two transactions at a time", Variant(writes=0b0011)),
    ("Replication Manager opens what it likes", Variant(opener=True)),
]


def explored(name: str, variant: Variant, faults: int, counts: list[str], *, live: bool = True) -> Result:
    liveness = Liveness(variant)

    def judge(world: World) -> str:
        return violation(world) or (liveness(world) if live else "")

    started = time.monotonic()
    result = search(variant, faults, judge=judge)
    end = f", writable again after at most {liveness.longest} rounds" if live else ""
    counts.append(
        f"{name}, {faults} faults: {result.states} states, {result.transitions} transitions,"
        f" {result.schedules:.3g} schedules,"
        f" by faults {result.by_faults}{end}, {time.monotonic() - started:.0f} s"
    )
    assert not result.broken, "\n".join([result.broken, *result.trace])
    assert liveness.longest < ROUNDS
    return result


def test_two_faults(counts: list[str]) -> None:
    """The search of `make test`: no loss, no two writers, and an end to every outage."""
    result = explored("one transaction at a time", Variant(), 2, counts)
    assert result.states > 50_000, "the search has become too small to tell anything"


@pytest.mark.parametrize(("name", "variant"), SITES)
def test_one_fault_of_each_site(name: str, variant: Variant, counts: list[str]) -> None:
    explored(name, variant, 1, counts)


@pytest.mark.long
@pytest.mark.parametrize(("name", "variant"), [*SITES, ("switchovers at any time", Variant(switchovers=True))])
def test_two_faults_of_each_site(name: str, variant: Variant, counts: list[str]) -> None:
    explored(name, variant, 2, counts)


@pytest.mark.long
def test_three_faults(counts: list[str]) -> None:
    explored("one transaction at a time", Variant(), 3, counts, live=False)
