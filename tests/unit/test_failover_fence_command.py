"""mysql-fence as Replication Manager calls it: it returns only when the new server is the primary; its other forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.errors import ConfigurationError, ExitCode, UsageError
from holdfast.failover import fence_command
from holdfast.failover.conduct import Conductor
from holdfast.failover.memory import Memory
from holdfast.failover.record import Record
from support.failover_fakes import UUIDS, World

CALL = ["db1", "db2", "3306", "3306", "", "", "failover"]
ADDRESSES = {"db1": "10.0.0.1", "db2": "10.0.0.2"}


class Blocked(BaseException):
    """Instead of waiting for ever."""


class Rig:
    def __init__(self, state: Path) -> None:
        self.world = World()
        self.state = state
        self.told: list[str] = []
        self.units: list[str] = []
        self.alarms: list[str] = []
        site = self.world.site()
        self.conductor = Conductor(site, Memory(state), self.told.append, lambda _: None)
        hosts = [SimpleNamespace(name=name, address=address) for name, address in ADDRESSES.items()]
        self.config: Any = SimpleNamespace(
            state_directory=state, failover=SimpleNamespace(database_hosts=hosts, fence_policy="proceed")
        )
        self.after_sleeps: Callable[[], None] = self.block

    def block(self) -> None:
        raise Blocked

    def call(self, arguments: list[str]) -> int:
        return fence_command.as_script(arguments, lambda: self.config)

    def lose(self, what: str) -> None:
        setattr(self.world if what == "record" else self, what, None)

    def kill_primary(self) -> None:
        self.world.crash("db1", back=False)
        self.world.db["db2"].receiving = False
        self.world.heard_age = 99.0


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path)
    monkeypatch.setattr(fence_command, "carry_out", lambda config, act: act(made.conductor))
    monkeypatch.setattr(fence_command, "run_process", lambda argv, **_: made.units.append(argv[-1]))
    monkeypatch.setattr(
        fence_command,
        "Alarms",
        lambda config, job: SimpleNamespace(begin=lambda key, what, *rest: made.alarms.append(what)),
    )
    monkeypatch.setattr(fence_command, "site_of", lambda config, say: made.conductor.site)
    monkeypatch.setattr("time.sleep", lambda _: made.after_sleeps())
    return made


def test_it_returns_when_the_new_server_is_the_primary(rig: Rig) -> None:
    rig.kill_primary()
    assert rig.call(CALL) == 0
    assert rig.world.record == Record(9, 2, UUIDS["db2"], True, None)


def test_a_switchover_needs_no_silence_and_addresses_are_names_too(rig: Rig) -> None:
    assert rig.call(["10.0.0.1", "10.0.0.2", "3306", "3306", "", "", "switchover"]) == 0
    assert rig.world.diary[0] == "swap promote"


@pytest.mark.parametrize(
    ("arguments", "spoil"),
    [
        (CALL, lambda rig: None),  # the primary answers
        (CALL, lambda rig: rig.world.broken.update({"db1.sql", "db1.guard"})),  # its replica hears it
        (["db9", *CALL[1:]], lambda rig: rig.kill_primary()),
        (["db2", "db1", *CALL[2:]], lambda rig: rig.kill_primary()),
        (CALL[:6], lambda rig: rig.kill_primary()),
        ([*CALL[:6], "rejoin"], lambda rig: rig.kill_primary()),
        (CALL, lambda rig: (rig.kill_primary(), rig.world.broken.add("keeper"))),
        (CALL, lambda rig: (rig.kill_primary(), rig.world.crash("db2"))),
        (CALL, lambda rig: (rig.kill_primary(), rig.lose("record"))),
        (CALL, lambda rig: (rig.kill_primary(), rig.lose("config"))),
    ],
)
def test_in_every_other_case_replication_manager_is_restarted_and_it_never_returns(
    rig: Rig, arguments: list[str], spoil: Callable[[Rig], Any]
) -> None:
    spoil(rig)
    with pytest.raises(Blocked):
        rig.call(arguments)
    assert rig.units == ["mysql-fence-finish.service"]
    assert [entry for entry in rig.world.diary if entry.startswith("swap")] == []


def test_a_paused_failover_is_a_veto_and_a_switchover_is_not(rig: Rig) -> None:
    (rig.state / "failover").mkdir()
    (rig.state / "failover/pause.json").write_text("{")
    rig.kill_primary()
    with pytest.raises(Blocked):
        rig.call(CALL)
    assert rig.world.diary == []


def test_an_unproven_fence_under_hold_waits_and_goes_on(rig: Rig) -> None:
    rig.config.failover.fence_policy = "hold"
    rig.kill_primary()
    rig.world.broken |= {"db1.sql", "db1.guard"}
    rig.after_sleeps = rig.world.broken.clear
    assert rig.call(CALL) == 0
    assert len(rig.alarms) == 1 and "not proven to be fenced" in rig.alarms[0]


def test_what_must_be_rolled_back_is_left_to_the_unit_that_stops_replication_manager_first(rig: Rig) -> None:
    """It would open the candidate when this script ends."""
    rig.world.before["db2.detach"] = lambda: rig.world.crash("db2")
    with pytest.raises(Blocked):
        rig.call([*CALL[:6], "switchover"])
    assert rig.world.record and not rig.world.record.opened
    assert rig.units == ["mysql-fence-finish.service"]
    assert fence_command.finish(rig.config) == 0
    assert rig.world.record.primary == UUIDS["db1"] and rig.world.record.opened


def test_a_promotion_of_another_server_under_way_is_a_veto(rig: Rig) -> None:
    rig.world.record = Record(8, 2, UUIDS["db1"], False, None)
    rig.kill_primary()
    with pytest.raises(Blocked):
        rig.call(CALL)
    assert rig.world.diary == []


def test_finish_with_nothing_under_way_changes_nothing(rig: Rig) -> None:
    assert fence_command.finish(rig.config) == 0
    assert rig.world.diary == []


def test_by_hand_an_unknown_host_is_named_with_those_that_are_known(rig: Rig) -> None:
    with pytest.raises(UsageError, match="'db9' is no database host") as caught:
        fence_command.by_hand(rig.config, "db1", "db9", "proceed")
    assert "db1 (10.0.0.1), db2 (10.0.0.2)" in caught.value.remedy


@pytest.mark.parametrize(("old", "new", "expected"), [("db1", "db2", ExitCode.DONE), ("db2", "db1", ExitCode.TOOL)])
def test_a_dry_run_changes_nothing(rig: Rig, old: str, new: str, expected: int) -> None:
    assert fence_command.dry_run(rig.config, old, new) == expected
    assert rig.world.diary == []


def in_background(rig: Rig) -> str:
    return fence_command._try_in_background(rig.conductor.site, rig.conductor.memory, 2)


def test_the_background_fencer_ends_when_it_landed(rig: Rig) -> None:
    rig.world.record = Record(9, 2, UUIDS["db2"], True, None)
    rig.world.db["db2"].receiving = False
    rig.world.broken |= {"db1.sql", "db1.guard"}
    assert in_background(rig) == ""
    rig.world.broken.clear()
    assert "db1 is fenced now" in in_background(rig)
    assert rig.world.diary == ["db1.kill 2"]


def test_the_background_fencer_leaves_a_replica_of_the_new_primary_alone(rig: Rig) -> None:
    rig.world.record = Record(9, 2, UUIDS["db2"], True, rig.world.db["db1"].instance)
    assert "is the new primary's replica" in in_background(rig)
    assert rig.world.diary == []


def test_the_background_fencer_ends_with_its_term(rig: Rig) -> None:
    rig.world.record = Record(9, 3, UUIDS["db1"], True, None)
    assert "over" in in_background(rig)
    assert rig.world.diary == []


@pytest.mark.parametrize("spoil", ["keeper", "not opened"])
def test_the_background_fencer_waits(rig: Rig, spoil: str) -> None:
    rig.world.record = Record(9, 2, UUIDS["db2"], spoil != "not opened", None)
    rig.world.broken |= {spoil}
    assert in_background(rig) == ""
    assert rig.world.diary == []


def test_a_configuration_that_cannot_be_read_is_a_veto(rig: Rig) -> None:
    def unreadable() -> Any:
        raise ConfigurationError("config.yml: is not YAML")

    with pytest.raises(Blocked):
        fence_command.as_script(CALL, unreadable)
    assert rig.units == ["mysql-fence-finish.service"]
