from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.failover.guard_alarms import CAUSES, RUNBOOK, GuardAlarms
from holdfast.failover.guard_look import LEAVING
from holdfast.failover.heartbeat import Beat
from holdfast.failover.protocol import GuardStep
from holdfast.failover.surroundings import Seen
from support.guards import PRIMARY, RECORD, REPLICA, REPLICA_LOOK, REPORT, SITUATION, A, B, looked
from support.repository import ROOT

AROUND = Seen(REPORT, 100.0, 100.0, "")
AS_REPLICA = replace(SITUATION, me=B, seen=REPLICA_LOOK)
WELL: dict[str, Any] = {"step": GuardStep.NOTHING, "around": AROUND, "beat": Beat(), "errors": ("", "")}


class Told:
    """Stands in for alarms.py."""

    def __init__(self) -> None:
        self.began: dict[str, str] = {}
        self.ended: list[str] = []

    def begin(self, key: str, what: str, meaning: str, remedy: str, runbook: str) -> None:
        assert meaning
        assert remedy
        self.began.setdefault(key, what)

    def end(self, key: str) -> None:
        self.ended.append(key)


@pytest.mark.parametrize(
    ("situation", "changes", "told"),
    [
        (SITUATION, {}, {}),
        (AS_REPLICA, {}, {}),
        (
            replace(SITUATION, record=replace(RECORD, in_sync=None)),
            {},
            {"alone": "the primary acknowledges without a replica"},
        ),
        (replace(AS_REPLICA, record=replace(RECORD, in_sync=None)), {}, {}),
        (SITUATION, {"errors": ("", "no route")}, {"keeper": "the keeper gives no record: no route"}),
        (
            replace(SITUATION, seen=looked(replace(PRIMARY, waiting=2))),
            {"errors": ("", "no route")},
            {
                "keeper": "the keeper gives no record: no route",
                "commits-wait": "2 commits wait, and the keeper cannot be asked",
            },
        ),
        (
            replace(SITUATION, seen=None),
            {"errors": ("refused", "")},
            {"sql": "MySQL on this host does not answer: refused"},
        ),
        (
            replace(AS_REPLICA, seen=replace(REPLICA_LOOK, channel_error="1062 duplicate")),
            {},
            {"replication": "this replica does not replicate: 1062 duplicate"},
        ),
        (
            replace(AS_REPLICA, seen=replace(REPLICA_LOOK, server=replace(REPLICA, source_of_channel=""))),
            {},
            {"replication": "this replica does not replicate: it has no source"},
        ),
        (
            replace(AS_REPLICA, seen=replace(REPLICA_LOOK, gtid_executed=f"{A}:1-100,{B}:1-2")),
            {"step": GuardStep.STAY_OUT},
            {"errant": f"this server has transactions that the primary does not have: 2 transactions, {B}:1-2"},
        ),
        (
            SITUATION,
            {"around": replace(AROUND, report=None, error="no answer in time")},
            {"peer": "the peer's guard does not answer: no answer in time"},
        ),
        (
            SITUATION,
            {"beat": Beat(error="1114 full")},
            {"writes": "a write of the guard's own fails on the primary: 1114 full"},
        ),
        (
            SITUATION,  # MySQL waits for room on the disk, without an error
            {"beat": Beat(committed_began=80.0, waiting_since=81.0)},
            {"writes": "a write of the guard's own fails on the primary: it does not come back"},
        ),
        (
            replace(SITUATION, seen=looked(replace(PRIMARY, waiting=2))),  # for the replica, which is another's to tell
            {"beat": Beat(committed_began=80.0, waiting_since=81.0)},
            {},
        ),
        (SITUATION, {"beat": Beat(committed_began=199.0, waiting_since=199.5)}, {}),
    ],
)
def test_what_is_told(situation: Any, changes: dict[str, Any], told: dict[str, str]) -> None:
    heard = Told()
    alarms = GuardAlarms(heard)
    alarms.look(situation, **(WELL | changes))
    alarms.look(replace(situation, now=situation.now + 100), **(WELL | changes))
    assert heard.began == told
    assert alarms.notices(leaving=False) == tuple(told.values())
    alarms.look(replace(SITUATION, now=situation.now + 101), **WELL)
    assert sorted(heard.ended) == sorted(told)
    assert alarms.notices(leaving=True) == (LEAVING,)


def test_what_lasts_a_moment_is_not_told() -> None:
    heard = Told()
    alarms = GuardAlarms(heard)
    alarms.look(SITUATION, **(WELL | {"errors": ("", "no route")}))
    alarms.look(replace(SITUATION, now=109.0), **(WELL | {"errors": ("", "no route")}))
    alarms.look(replace(SITUATION, now=109.5), **WELL)
    alarms.look(replace(SITUATION, now=111.0), **(WELL | {"errors": ("", "no route")}))
    assert heard.began == {}
    assert heard.ended == []


def test_a_kill_is_told_at_once() -> None:
    heard = Told()
    GuardAlarms(heard).look(SITUATION, **(WELL | {"step": GuardStep.KILL_SERVER}))
    assert list(heard.began) == ["kill"]


def test_the_runbook_has_a_part_for_each_cause() -> None:
    text = (ROOT / "docs/runbooks" / RUNBOOK).read_text()
    missing = [cause.key for cause, _ in CAUSES if f"## {cause.key}" not in text]
    assert missing == []
