"""The planner against months that nobody planned: what was restorable and is promised stays so, and each rule counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.backup import retention, retention_backups, retention_binlogs
from holdfast.backup.retention import deletions
from holdfast.config_retention import RetentionConfig
from holdfast.recovery.plan import PlanError, make_plan
from holdfast.recovery.target import ToTime
from support.histories import BEGINS, BERLIN, History, Story, moments

POLICY = RetentionConfig(
    point_in_time_days=30,
    weekly_full_days=90,
    binlog_days=30,
    minimum_chains=2,
    drill_maximum_age_days=14,
    newest_backup_maximum_age_days=3,
    orphan_minimum_age_hours=48,
    object_lock_days=0,
    maximum_backups=20,
    maximum_binlogs=2000,
    maximum_share_percent=35,
    full_weekday="sunday",
    time_of_day="04:00",
)


def planned(history: History, at: Any) -> bool:
    """Whether the restore's own planner finds a way."""
    try:
        make_plan(history.manifests, history.entries, history.lines, ToTime(at))
    except PlanError:
        return False
    return True


def clean(history: History) -> History:
    gone = deletions(retention.decide(history.held, POLICY, BERLIN, history.now))
    return history.without(item.name for item in gone)


def violations(seed: int, *, trouble: float, rounds: int = 6, samples: int = 10, plans: int = 2) -> list[str]:
    """What goes wrong in one history that is cleaned again and again."""
    random = Random(seed)
    story = Story(random, BEGINS + timedelta(days=random.randint(0, 200)), trouble=trouble)
    story.go_on(random.randint(20, 60))
    found: list[str] = []
    for _ in range(rounds):
        story.go_on(random.choice([0.25, 1, 3, 9, 20]))
        before = story.history
        after = clean(before)
        since = before.now - timedelta(days=POLICY.point_in_time_days)
        asked = moments(before, since, random, samples)
        found += [f"{at} cannot be restored any more" for at in before.restorable(asked) - after.restorable(asked)]
        for at in random.sample(asked, min(plans, len(asked))):
            if not planned(after, at) and planned(before, at):
                found.append(f"{at} is not planned any more")
        found += weekly_fulls_lost(before, after) + chains_lost(before, after) + drilled_lost(before, after)
        found += [f"{item.id} lost its parent" for item in after.manifests if before.whole(item) > after.whole(item)]
        if clean(after).held != after.held:
            found.append("a second run deletes more")
        story.history = after
    return found


def weekly_fulls_lost(before: History, after: History) -> list[str]:
    """Day by day from each Sunday: the first full that can be restored must still be there."""
    left = {item.id for item in after.manifests}
    fulls = sorted(
        (item for item in before.manifests if item.type == "full" and before.whole(item)), key=lambda item: item.id
    )
    found = []
    day = (before.now - timedelta(days=90)).astimezone(BERLIN).date()
    while day.weekday() != 6:
        day += timedelta(days=1)
    while day <= before.now.astimezone(BERLIN).date():
        week = {day + timedelta(days=more) for more in range(7)}
        first = next((item for item in fulls if item.started_at.astimezone(BERLIN).date() in week), None)
        if first and first.started_at >= before.now - timedelta(days=90) and first.id not in left:
            found.append(f"{first.id} was the full of its week")
        day += timedelta(days=7)
    return found


def chains_lost(before: History, after: History) -> list[str]:
    had = [item.id for item in before.manifests if item.type == "full" and before.whole(item)]
    have = [item.id for item in after.manifests if item.type == "full" and after.whole(item)]
    needed = min(len(had), POLICY.minimum_chains)
    return [] if len(have) >= needed else [f"{len(have)} chains are left of {len(had)}"]


def drilled_lost(before: History, after: History) -> list[str]:
    by_id = {item.id: item for item in before.manifests}
    passed = [by_id[drill.backup_id] for drill in before.drills if drill.passed and drill.backup_id in by_id]
    if not passed:
        return []
    chain = max(passed, key=lambda item: item.started_at).chain_id
    gone = {item.id for item in before.manifests} - {item.id for item in after.manifests}
    return [f"{key} is of the chain that a drill verified" for key in gone if by_id[key].chain_id == chain]


# A seed has nothing that could be made smaller.
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.3, 1.0, 3.0]))
def test_what_is_promised_and_was_restorable_stays_restorable(seed: int, trouble: float) -> None:
    assert violations(seed, trouble=trouble) == []
