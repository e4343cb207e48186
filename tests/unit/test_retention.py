"""The planner against months that nobody planned: what is promised and was restorable stays so; each rule counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from holdfast.backup import retention, retention_backups, retention_binlogs
from holdfast.backup.retention import Decision, deletions
from holdfast.backup.store import StoredObject
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
        make_plan(history.manifests, [*history.entries, *history.open_files], history.lines, ToTime(at))
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
    stops = random.choice([None, None, "drills", "backups"]) if trouble else None
    for number in range(rounds):
        if number == 2 and stops:
            setattr(story, stops, False)
        story.go_on(random.choice([0.25, 1, 3, 9, 20] if number < 3 or not stops else [30, 60]))
        before = story.history
        after = clean(before)
        since = before.now - timedelta(days=POLICY.point_in_time_days)
        asked = moments(before, since, random, samples)
        found += [f"{at} cannot be restored any more" for at in before.restorable(asked) - after.restorable(asked)]
        for at in random.sample(asked, min(plans, len(asked))):
            if not planned(after, at) and planned(before, at):
                found.append(f"{at} is not planned any more")
        found += weekly_fulls_lost(before, after) + chains_lost(before, after) + drilled_lost(before, after)
        found += broken_lost(before, after) + binlogs_lost(before, after)
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


def broken_lost(before: History, after: History) -> list[str]:
    left = {item.id for item in after.manifests}
    young = [item for item in before.manifests if item.started_at >= before.now - timedelta(days=90)]
    return [
        f"{item.id} is broken, and nobody saw it" for item in young if not before.whole(item) and item.id not in left
    ]


def binlogs_lost(before: History, after: History) -> list[str]:
    left = {item.entry_name for item in after.entries}
    oldest = before.now - timedelta(days=30)
    young = [item for item in before.entries if max(item.archived_at, item.last_time or item.archived_at) >= oldest]
    return [f"{item.entry_name} is younger than 30 days" for item in young if item.entry_name not in left]


# A seed has nothing that could be made smaller.
@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.3, 1.0, 3.0]))
def test_what_is_promised_and_was_restorable_stays_restorable(seed: int, trouble: float) -> None:
    assert violations(seed, trouble=trouble) == []


def left_out(rules: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    return tuple(rule for place, rule in enumerate(rules) if place != number)


def all_pieces_go(view: Any, held: Any, streamed: Mapping[str, Sequence[StoredObject]]) -> list[Decision]:
    return [Decision(retention.PIECES, key, tuple(objects), True, "old") for key, objects in streamed.items()]


# What the other rules make up for in all but odd cases is in test_retention_rules.py.
MUTANTS: dict[str, tuple[Any, str, Any]] = {
    **{
        f"without {rule.__name__}": (retention_backups, "RULES", left_out(retention_backups.RULES, number))
        for number, rule in enumerate(retention_backups.RULES)
    },
    "without parents": (retention_backups, "parents", lambda view, reasons: reasons),
    "without binlogs by date": (retention_binlogs, "RULES", left_out(retention_binlogs.RULES, 0)),
    "without binlogs of the base": (retention_binlogs, "RULES", retention_binlogs.RULES[:1]),
    "without what was streamed alone": (retention, "_streamed", all_pieces_go),
    "with segments that are missing": (retention, "intact", lambda manifests, _: {item.id for item in manifests}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_that_is_left_out_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MUTANTS[name])
    assert any(violations(seed, trouble=trouble) for seed in range(12) for trouble in (0.0, 1.0, 3.0))


@pytest.mark.parametrize("seed", range(2))
def test_a_quiet_year_keeps_no_more_than_the_policy_asks_for(seed: int) -> None:
    story = Story(Random(seed), BEGINS, trouble=0.0)
    for _ in range(24):
        story.go_on(15)
        story.history = clean(story.history)
    left, now = story.history, story.history.now
    weekly = [item for item in left.manifests if now - item.started_at > timedelta(days=38)]
    assert all(item.type == "full" and item.started_at.astimezone(BERLIN).weekday() == 6 for item in weekly)
    assert len(left.manifests) <= 38 + 13
    assert all(now - item.archived_at <= timedelta(days=39) for item in left.entries)
