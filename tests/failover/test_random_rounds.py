"""Rounds of random faults on the real lab, two at a time, from a seed that each test's name carries.

    HOLDFAST_SEED=1234 make test T='tests/failover/test_random_rounds.py -m long'      the same rounds again

What must hold is the suite's post-test: once the faults end all becomes well by itself, no acknowledged row is lost,
and at no sample did two servers acknowledge. Nobody allows a loss here, so nothing excuses one.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from support import guarded
from support.failover_faults import frozen, held_down, power_off, power_on
from support.failover_load import Load
from support.failover_pair import Pair, Roles
from support.hosts import Host

ROUNDS = 20
SEED = int(os.environ.get("HOLDFAST_SEED") or secrets.randbelow(10**6))
LINKS = ("AP", "AR", "PR")

Fault = Callable[[Pair, Roles], AbstractContextManager[None]]


@contextmanager
def mysqld_killed(host: Host) -> Iterator[None]:
    """Kill mysqld; systemd starts it again at once."""
    guarded.kill_mysqld(host)
    yield


@contextmanager
def mysqld_dead(host: Host) -> Iterator[None]:
    """Kill mysqld and hold it down."""
    with held_down(host):
        guarded.kill_mysqld(host)
        yield


@contextmanager
def without_power(host: Host) -> Iterator[None]:
    """Take a host's power."""
    power_off(host)
    try:
        yield
    finally:
        power_on(host)


@contextmanager
def unit_dead(host: Host, unit: str) -> Iterator[None]:
    """Kill a program, and do not let systemd start it again."""
    host.run("systemctl", "kill", "--signal=KILL", unit)
    host.run("systemctl", "stop", unit)
    try:
        yield
    finally:
        host.run("systemctl", "reset-failed", unit, check=False)
        host.run("systemctl", "start", unit)


def cut(pair: Pair, roles: Roles, links: tuple[str, ...]) -> AbstractContextManager[None]:
    """Cut links between primary, replica and app host."""
    letters = {"A": pair.lab.app1, "P": roles.primary, "R": roles.replica}
    return guarded.cut(*((letters[link[0]], letters[link[1]]) for link in links))


FAULTS: dict[str, Fault] = {
    "primary's mysqld killed": lambda pair, roles: mysqld_killed(roles.primary),
    "primary's mysqld dead": lambda pair, roles: mysqld_dead(roles.primary),
    "primary's host without power": lambda pair, roles: without_power(roles.primary),
    "primary's host frozen": lambda pair, roles: frozen(roles.primary),
    "primary's guard dead": lambda pair, roles: unit_dead(roles.primary, "mysql-guard"),
    "replica's mysqld killed": lambda pair, roles: mysqld_killed(roles.replica),
    "replica's mysqld dead": lambda pair, roles: mysqld_dead(roles.replica),
    "replica's host without power": lambda pair, roles: without_power(roles.replica),
    "replica's host frozen": lambda pair, roles: frozen(roles.replica),
    "replica's guard dead": lambda pair, roles: unit_dead(roles.replica, "mysql-guard"),
    "keeper dead": lambda pair, roles: unit_dead(pair.lab.app1, "mysql-keeper"),
    "manager dead": lambda pair, roles: unit_dead(pair.lab.app1, pair.manager_unit),
    **{
        f"cut {' '.join(links)}": lambda pair, roles, links=links: cut(pair, roles, links)  # type: ignore[misc]
        for links in (*((link,) for link in LINKS), ("AP", "PR"), ("AR", "PR"), ("AP", "AR"), LINKS)
    },
}


def fits(first: str, second: str) -> bool:
    """Tell whether both faults can be made at one time: not two on one host, not two cuts (pure)."""
    return first.split()[0] != second.split()[0]


def schedule(seed: int, number: int, detection_seconds: float) -> tuple[str, str, float, float]:
    """Return two faults, the seconds between them, and how long both last (pure: the same for the same seed)."""
    dice = random.Random(f"{seed}-{number}")
    first = dice.choice(sorted(FAULTS))
    second = dice.choice(sorted(name for name in FAULTS if fits(first, name)))
    return first, second, dice.uniform(0, detection_seconds), dice.uniform(0.5, 2.5 * detection_seconds)


@pytest.mark.long
@pytest.mark.parametrize("number", range(ROUNDS), ids=lambda number: f"seed-{SEED}-round-{number}")
def test_two_random_faults(pair: Pair, load: Load, number: int) -> None:
    roles = pair.roles()
    first, second, pause, both = schedule(SEED, number, pair.detection_seconds)
    print(f"seed {SEED}, round {number}: {first}; {pause:.1f} s later {second}; both for {both:.1f} s")
    with ExitStack() as stack:
        stack.enter_context(FAULTS[first](pair, roles))
        time.sleep(pause)  # when the second one comes is what the round tries
        stack.enter_context(FAULTS[second](pair, roles))
        time.sleep(both)
    healed = time.time()
    for host in pair.lab.servers:
        assert host.init_pid(), f"{host.name} is off"
    load.resume()
    pair.settle(120)
    load.wait_for_shop(healed, 60)
