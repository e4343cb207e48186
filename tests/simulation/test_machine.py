"""Long random schedules, with many faults and two transactions at a time; Hypothesis shrinks what breaks.

HYPOTHESIS_SEED picks the seed, which is printed; HYPOTHESIS_SCHEDULES how many schedules (make test-long takes more).
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from simulation.liveness import ROUNDS, Liveness
from simulation.schedule import faults, steps
from simulation.search import describe, violation
from simulation.variants import Variant
from simulation.world import ORDINARY, ROOT, World, settled, start

FAULTS = 8
CHOICE = st.integers(0, 2**16)


class Schedule(RuleBasedStateMachine):
    """A schedule: what may happen next is chosen by number, so that shrinking tends to the first choices."""

    variant = Variant(writes=ORDINARY | ROOT, opener=True)
    lively = Liveness(variant)

    def __init__(self) -> None:
        super().__init__()
        self.world: World = settled(start())
        self.faults = 0

    @rule(choice=CHOICE)
    def step(self, choice: int) -> None:
        """One of the steps that need no fault."""
        found = list(steps(self.world, self.variant))
        if found:
            label, self.world = found[choice % len(found)]
            note(label)

    @rule(choices=st.lists(CHOICE, min_size=3, max_size=12))
    def many_steps(self, choices: list[int]) -> None:
        """Several, so that a schedule gets somewhere between two faults."""
        for choice in choices:
            self.step(choice)

    @precondition(lambda self: self.faults < FAULTS)
    @rule(choice=CHOICE)
    def fault(self, choice: int) -> None:
        """One of the faults."""
        found = list(faults(self.world, self.variant))
        label, self.world = found[choice % len(found)]
        self.faults += 1
        note(label)

    @invariant()
    def promises_hold(self) -> None:
        """No acknowledged transaction is lost, no two servers acknowledge."""
        broken = violation(self.world)
        assert not broken, f"{broken}: {describe(self.world)}"

    def teardown(self) -> None:
        """After the faults one server acknowledges writes again."""
        broken = self.lively(self.world)
        assert not broken, f"{broken}: {describe(self.world)}"


def run(schedules: int, counts: list[str]) -> None:
    chosen = int(os.environ.get("HYPOTHESIS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"HYPOTHESIS_SEED={chosen}")
    counts.append(f"random schedules: HYPOTHESIS_SEED={chosen}, {schedules} of up to {FAULTS} faults")
    run_state_machine_as_test(
        seed(chosen)(Schedule),
        settings=settings(
            max_examples=schedules,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Schedule.lively.longest < ROUNDS


def test_random_schedules(counts: list[str]) -> None:
    run(int(os.environ.get("HYPOTHESIS_SCHEDULES") or 300), counts)


@pytest.mark.long
def test_many_random_schedules(counts: list[str]) -> None:
    run(int(os.environ.get("HYPOTHESIS_SCHEDULES") or 10_000), counts)
