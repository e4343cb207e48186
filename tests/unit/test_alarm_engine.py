"""The alarm engine: what is told, when, and what a failed message, a silence or a lost memory changes."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.backup.alarm_engine import LONG_AGO, Finding, Letter, Memory, Silence, bundles, decide, sent, silenced
from holdfast.backup.alarm_memory import load_memory, save_memory

NOW = datetime(2026, 11, 25, 4, 45, tzinfo=UTC)
DISK = Finding("disk_filling", "/ is 83% full", "m", "r", subject="/", level=1)
RAID = Finding("raid_degraded", "md0 lost sdb1", "m", "r", subject="md0")
RESTART = Finding("mysqld_restarted", "mysqld was started", "m", "r", subject="1", event=True)


def hours(value: float) -> datetime:
    return NOW + timedelta(hours=value)


class Watch:
    """Runs of a watcher; `accepts` is whether messages go out."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory(born=hours(-1000))
        self.accepts = True

    def run(self, at_hours: float, *findings: Finding) -> list[str]:
        self.memory, letters = decide(findings, self.memory, hours(at_hours))
        if self.accepts:
            self.memory = sent(self.memory, letters, hours(at_hours))
        return [f"{letter.kind} {letter.key}" for letter in letters]


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_once_then_daily_then_over(watch: Watch) -> None:
    said = [watch.run(hour, DISK) for hour in range(50)]
    assert [hour for hour, letters in enumerate(said) if letters] == [0, 24, 48]
    assert said[0] == ["begin disk_filling:/"]
    assert said[24] == ["repeat disk_filling:/"]
    assert watch.run(50) == ["over disk_filling:/"]
    assert watch.run(51) == []


def test_a_run_that_comes_some_minutes_early_repeats_at_its_own_hour(watch: Watch) -> None:
    watch.run(0.1, DISK)
    assert watch.run(24, DISK) == ["repeat disk_filling:/"]


def test_worse_is_told_at_once_and_better_is_not(watch: Watch) -> None:
    watch.run(0, DISK)
    assert watch.run(1, replace(DISK, level=2)) == ["begin disk_filling:/"]
    assert watch.run(2, DISK) == []
    assert watch.run(3, replace(DISK, level=2)) == []


def test_what_was_not_accepted_is_due_again_at_each_run(watch: Watch) -> None:
    watch.accepts = False
    assert watch.run(0, DISK) == watch.run(1, DISK) == ["begin disk_filling:/"]
    watch.accepts = True
    assert watch.run(2, DISK) == ["begin disk_filling:/"]
    assert watch.run(3, DISK) == []
    watch.accepts = False
    assert watch.run(4) == watch.run(5) == ["over disk_filling:/"]
    watch.accepts = True
    assert watch.run(6) == ["over disk_filling:/"]
    assert watch.run(7) == []


def test_what_ended_before_it_could_be_told_is_told_all_the_same(watch: Watch) -> None:
    watch.accepts = False
    watch.run(0, DISK)
    watch.accepts = True
    watch.memory, (letter,) = decide([], watch.memory, hours(1))
    assert (letter.kind, letter.meaning) == ("over", "It could not be told while it lasted.")
    assert (letter.began, letter.ended) == (hours(0), hours(1))


def test_what_comes_back_before_its_end_was_told_never_ended(watch: Watch) -> None:
    watch.run(0, replace(DISK, level=2))
    watch.accepts = False
    watch.run(1)
    watch.accepts = True
    assert watch.run(2, replace(DISK, level=2)) == []
    assert watch.memory.standing["disk_filling:/"].began == hours(0)
    assert watch.run(24, replace(DISK, level=2)) == ["repeat disk_filling:/"]


def test_an_event_is_told_once_and_never_over(watch: Watch) -> None:
    assert watch.run(0, RESTART) == ["begin mysqld_restarted:1"]
    assert [watch.run(hour, RESTART) for hour in (1, 24, 25)] == [[], [], []]
    assert watch.run(26) == []
    assert watch.run(27, replace(RESTART, subject="2")) == ["begin mysqld_restarted:2"]


@pytest.mark.parametrize(
    ("silence", "quiet"),
    [("disk_filling", True), ("disk_filling:/", True), ("disk_filling:/var", False), ("raid_degraded", False)],
)
def test_a_silence_is_for_its_alarm_and_ends_by_itself(watch: Watch, silence: str, quiet: bool) -> None:
    watch.memory = silenced(watch.memory, Silence(silence, hours(2), "a test", "root"))
    assert watch.run(0, DISK) == ([] if quiet else ["begin disk_filling:/"])
    assert watch.run(2, DISK) == (["begin disk_filling:/"] if quiet else [])
    assert watch.memory.silences == ()


def test_what_began_and_ended_in_a_silence_is_not_told(watch: Watch) -> None:
    watch.memory = silenced(watch.memory, Silence("disk_filling", hours(5), "a test", "root"))
    assert watch.run(0, DISK) + watch.run(1) + watch.run(6) == []


def test_what_was_told_before_a_silence_is_closed_in_it(watch: Watch) -> None:
    watch.run(0, DISK)
    watch.memory = silenced(watch.memory, Silence("disk_filling", hours(100), "a test", "root"))
    assert watch.run(24, DISK) == []
    assert watch.run(25) == ["over disk_filling:/"]


def test_a_second_silence_replaces_the_first() -> None:
    memory = silenced(Memory(NOW), Silence("raid_degraded", hours(2), "a", "root"))
    memory = silenced(memory, Silence("raid_degraded", hours(1), "b", "root"))
    assert [silence.reason for silence in memory.silences] == ["b"]


def test_a_clock_that_was_ahead_does_not_keep_an_alarm_quiet(watch: Watch) -> None:
    watch.run(24 * 365, DISK)
    assert watch.run(0, DISK) == ["repeat disk_filling:/"]
    assert watch.run(1, DISK) == []


def test_what_could_not_be_judged_goes_on_standing(watch: Watch) -> None:
    watch.run(0, DISK)
    watch.memory, letters = decide([], watch.memory, hours(1), unknown={"disk_filling"})
    assert letters == [] and set(watch.memory.standing) == {"disk_filling:/"}
    assert watch.run(2) == ["over disk_filling:/"]


def test_what_another_program_tells_by_now_is_dropped_without_a_word(watch: Watch) -> None:
    watch.run(0, DISK)
    watch.memory, letters = decide([], watch.memory, hours(1), not_ours={"disk_filling"})
    assert letters == [] and not watch.memory.standing and not watch.memory.over


def test_the_worst_comes_first(watch: Watch) -> None:
    assert watch.run(0, RAID, replace(DISK, level=2))[0] == "begin disk_filling:/"


class TestMemory:
    def test_what_is_saved_is_read_again_and_only_root_reads_it(self, tmp_path: Path, watch: Watch) -> None:
        watch.run(0, DISK, RAID, RESTART)
        watch.accepts = False
        watch.run(1, DISK)
        memory = silenced(watch.memory, Silence("raid_degraded", hours(2), "disk is ordered", "root"))
        memory = replace(
            memory, used={"/": ((NOW, 5), (hours(1), 6))}, partly={"begin raid_degraded:md0": ("command",)}
        )
        path = tmp_path / "state" / "watch.json"
        save_memory(path, memory)
        assert load_memory(path, hours(9)) == memory
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in path.parent.iterdir()] == ["watch.json"]

    def test_a_first_run_remembers_nothing(self, tmp_path: Path) -> None:
        assert load_memory(tmp_path / "watch.json", NOW) == Memory(born=NOW)

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"schema_version": 2}', '{"schema_version": 1, "born": "x"}', "[" * 100000]
    )
    def test_a_damaged_file_means_that_all_is_told_again(
        self, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "watch.json"
        path.write_text(text)
        memory = load_memory(path, NOW)
        assert memory == Memory(born=LONG_AGO)
        assert "are told again" in caplog.text
        assert Watch(memory).run(0, DISK, RESTART) == ["begin disk_filling:/", "begin mysqld_restarted:1"]


def test_few_go_out_one_by_one_and_many_together() -> None:
    assert bundles(["a"] * 5, 4096) == [[0], [1], [2], [3], [4]]
    assert bundles(["x" * 1000] * 9, 4096) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert bundles(["x" * 5000, *["y"] * 5], 4096) == [[0], [1, 2, 3, 4, 5]]


def test_a_letter_says_since_when(watch: Watch) -> None:
    watch.run(0, DISK)
    _, (letter,) = decide([replace(DISK, what="/ is 85% full")], watch.memory, hours(24))
    assert letter == Letter("repeat", "disk_filling:/", "/ is 85% full", "m", "r", hours(0), level=1)
