"""Runs of the watcher, with a Telegram that is faked over HTTP; the last one with a real rclone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup import alarm_memory, watch, watch_command
from holdfast.backup.alarm_engine import Finding, Letter
from holdfast.backup.alarm_names import ALARMS
from holdfast.backup.manifest import name_of_manifest
from holdfast.backup.store import Store
from holdfast.backup.stream_sign import StreamSign, name_of_sign
from holdfast.backup.watch_heartbeat import Heartbeat, name_of_heartbeat
from holdfast.backup.watch_host import Disk, HostView
from holdfast.backup.watch_mysql import MysqlView
from holdfast.config import Config, parse
from holdfast.errors import ConfigurationError, ExitCode, LockedError, ToolError, UsageError
from holdfast.lock import hold
from support.backups import START, MemoryStore, entry, full, gtids
from support.fake_telegram import FakeTelegram, fake_telegram
from support.servers import PRIMARY, REPLICA

TOKEN = "123456:AAtoken-of-the-bot"
NOW = START + timedelta(hours=12)
DEGRADED = "md0 : active raid1 sda1[0] sdb1[1](F)\n  1 blocks [2/1] [U_]\n"


@dataclass
class World:
    """One host and its surroundings; `run` makes the hour's run."""

    config: Config
    telegram: FakeTelegram
    store: MemoryStore
    host: HostView = field(default_factory=lambda: HostView(NOW, "app1"))
    mysql: MysqlView = field(default_factory=lambda: MysqlView(NOW, NOW, "db1", state=REPLICA))
    guard: str = "inactive"

    def run(self, hours: float = 0.0) -> ExitCode:
        return watch.run_watch(self.config, now=lambda: NOW + timedelta(hours=hours))

    def said(self) -> list[str]:
        """The first lines of what was accepted since the last look."""
        texts, self.telegram.calls = self.telegram.texts, []
        return [line for text in texts for line in text.splitlines() if line.startswith(("ALARM ", "STILL ", "OVER "))]

    def sign(self) -> dict[str, Any]:
        """What this host left in the store."""
        found: dict[str, Any] = json.loads(self.store.objects[name_of_heartbeat(self.config.host)])
        return found

    def alive(self, *hosts: str, hours: float = 0.0, **more: Any) -> None:
        for host in hosts:
            heartbeat = Heartbeat(host, NOW + timedelta(hours=hours), **more)
            self.store.objects[name_of_heartbeat(host)] = heartbeat.to_json()


@pytest.fixture
def make(
    tmp_path: Path,
    configuration: Callable[..., dict[str, Any]],
    watch_section: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., World]]:
    (tmp_path / "token").write_text(TOKEN)
    with fake_telegram() as telegram:

        def build(host: str = "app1", **changes: Any) -> World:
            chat = {"token_file": str(tmp_path / "token"), "chat_id": "-100", "api_url": telegram.url}
            document = configuration(
                **{
                    "host": host,
                    "state_directory": str(tmp_path / host),
                    "notifications.telegram": chat,
                    "notifications.timeout_seconds": 2,
                    "watch": {**watch_section, "binlog_stream": False},
                    **({"mysql": None, "backup": None, "recovery": None} if host == "app1" else {}),
                    **changes,
                }
            )
            world = World(parse(document), telegram, MemoryStore())
            monkeypatch.setattr(watch, "Store", lambda *_: world.store)
            monkeypatch.setattr(watch, "look_at_host", lambda config, memory, now: replace(world.host, now=now))
            monkeypatch.setattr(
                watch, "look_at_mysql", lambda config, memory, peers, now: replace(world.mysql, now=now, peers=peers)
            )
            monkeypatch.setattr(watch, "states_of", lambda units: {unit: world.guard for unit in units})
            return world

        yield build


def test_a_stream_that_stands_still_and_goes_on_again(
    make: Callable[..., World], watch_section: dict[str, Any]
) -> None:
    world = make(watch=watch_section)
    world.alive("db1", "db2")
    sign = StreamSign("db2", NOW - timedelta(minutes=20), "x", "binlog.000001", 0, gtids("A:1"))
    world.store.objects[name_of_sign("db2")] = sign.to_json()
    world.run()
    assert "ALARM stream_stale of lab (app1)" in world.said()
    world.alive("db1", "db2", hours=1)
    world.store.objects[name_of_sign("db2")] = replace(sign, at=NOW + timedelta(minutes=59)).to_json()
    world.run(hours=1)
    assert any(line.startswith("OVER stream_stale of lab (app1)") for line in world.said())


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """The app host, with a store that is well."""
    made = make()
    made.store.objects[name_of_manifest("full")] = full("full").to_json()
    for host in ("db1", "db2"):
        item = entry(7, "A:1-5", "A:6-20", hours=(-1, 11), host=host, lineage=f"line-{host}")
        made.store.objects[item.entry_name] = item.to_json()
    made.alive("db1", "db2")
    return made


def test_all_is_well(world: World) -> None:
    assert world.run() == ExitCode.DONE
    assert world.telegram.texts == []
    sign = world.sign()
    assert (sign["at"], sign["alarms"], sign["unsent"]) == ("2026-11-22T13:00:00Z", [], [])


def test_the_words(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    assert world.run() == ExitCode.DONE
    assert world.telegram.texts == [
        "ALARM raid_degraded:md0 of lab (app1)\n"
        "md0: 1 of 2 disks are in it [U_], failed: sdb1\n"
        "One more disk lost takes the data of this host.\n"
        "To do: Have the disk replaced; the runbook says how to take the old one out and the new one in.\n"
        "Runbook: docs/runbooks/raid_degraded.md"
    ]
    assert world.telegram.calls[0]["path"] == f"/bot{TOKEN}/sendMessage"


def test_told_once_and_closed(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    world.run()
    world.run(1)
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]
    world.host = replace(world.host, mdstat="")
    world.run(2)
    assert world.said() == ["OVER raid_degraded:md0 of lab (app1), lasted 2 h 0 min"]


def test_repeated_daily(world: World) -> None:
    world.store.refuse.add("the store")
    assert world.run() == ExitCode.STORAGE
    assert world.said() == ["ALARM store_unreachable of lab (app1)"]
    assert world.run(23) == ExitCode.STORAGE
    assert world.said() == []
    world.run(24)
    assert world.said() == ["STILL store_unreachable of lab (app1), since 2026-11-22T13:00:00Z"]


@pytest.mark.parametrize("answer", ["400", "401", "403", "429:900", "500", "hang"])
def test_a_message_that_telegram_refuses_is_tried_again_at_the_next_run(world: World, answer: str) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    world.telegram.answer = answer
    assert world.run() == ExitCode.TOOL
    assert world.said() == [] and world.telegram.refused > 0
    sign = world.sign()
    assert sign["unsent"] == ["raid_degraded:md0"], "the other hosts must learn of it"
    world.telegram.answer = "200"
    assert world.run(1) == ExitCode.DONE
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]
    assert world.run(2) == ExitCode.DONE
    assert world.said() == []


def test_a_short_wait_that_telegram_asks_for_is_waited(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    world.telegram.answer = "429:1"
    answers = world.telegram.took

    def once(call: dict[str, Any], status: int) -> None:
        answers(call, status)
        world.telegram.answer = "200"

    world.telegram.took = once  # type: ignore[method-assign]
    assert world.run() == ExitCode.DONE
    assert (world.telegram.refused, world.said()) == (1, ["ALARM raid_degraded:md0 of lab (app1)"])


def test_the_channel_that_took_a_message_does_not_get_it_again(world: World, tmp_path: Path) -> None:
    command = ("sh", "-c", f"head -n 1 >> {tmp_path}/command")
    world.config = replace(world.config, notifications=replace(world.config.notifications, command=command))
    world.host = replace(world.host, mdstat=DEGRADED)
    world.telegram.answer = "400"
    assert world.run() == world.run(1) == ExitCode.TOOL
    assert world.sign()["unsent"] == ["raid_degraded:md0"]
    world.telegram.answer = "200"
    assert world.run(2) == ExitCode.DONE
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]
    world.host = replace(world.host, mdstat="")
    world.run(3)
    said = (tmp_path / "command").read_text().splitlines()
    assert [line.split()[0] for line in said] == ["ALARM", "OVER"]


def test_nobody_listens_at_all(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    telegram = world.config.notifications.telegram
    assert telegram is not None
    dead = replace(telegram, api_url="http://127.0.0.1:9")
    alive = world.config
    world.config = replace(alive, notifications=replace(alive.notifications, telegram=dead))
    assert world.run() == ExitCode.TOOL
    world.config = alive
    world.run(1)
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]


def test_a_black_hole_does_not_make_a_run_meet_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.telegram.answer = "hang"
    monkeypatch.setattr(watch, "SENDING_SECONDS", 2.0)
    world.host = replace(world.host, mdstat=DEGRADED, services={f"{n}.service": "failed" for n in "abc"})
    assert world.run() == ExitCode.TOOL
    assert world.telegram.refused == 1
    assert caplog.text.count("sending took too long already") == 3
    assert caplog.text.count("program_not_running:b.service") == 1, "the log has what could not be sent"
    world.telegram.answer = "200"
    world.run(1)
    assert len(world.said()) == 4


def test_many_alarms_go_out_in_few_messages(world: World) -> None:
    world.host = replace(world.host, services={f"unit{n}.service": "failed" for n in range(30)})
    assert world.run() == ExitCode.DONE
    assert len(world.telegram.calls) < 5
    assert len(world.said()) == 30
    assert world.run(1) == ExitCode.DONE
    assert world.said() == []


def test_a_damaged_state_file_means_that_all_is_told_again(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    world.run()
    path = world.config.state_directory / "watch.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text()[:100])
    world.said()
    assert world.run(1) == ExitCode.DONE
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]


def test_a_state_that_cannot_be_written_does_not_hide_the_alarm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, memory: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watch, "save_memory", full_disk)
    world.host = replace(world.host, disks=[Disk("/", 100, 99)])
    assert world.run() == ExitCode.TOOL
    assert world.said() == ["ALARM disk_filling:/ of lab (app1)"]
    assert world.run(1) == ExitCode.TOOL
    assert world.said() == ["ALARM disk_filling:/ of lab (app1)"]


def test_a_silence_expires_by_itself(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    said = watch_command.silence(world.config, "raid_degraded", timedelta(hours=2), " disk is\nordered ", "eva", NOW)
    assert said == "raid_degraded is silent until 2026-11-22T15:00:00Z (disk is ordered; eva)"
    assert world.telegram.texts == [f"SILENCED on app1 (lab): {said}"]
    world.telegram.calls = []
    world.run(0)
    world.run(1)
    assert world.said() == []
    assert "Silent for 1 h 0 min more: raid_degraded (disk is ordered; eva)" in watch_command.show(
        world.config, NOW + timedelta(hours=1)
    )
    world.run(2)
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]


def test_a_silence_can_be_ended(world: World) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    watch_command.silence(world.config, "raid_degraded:md0", timedelta(hours=2), "x", "eva", NOW)
    world.telegram.calls = []
    assert watch_command.end_silence(world.config, "raid_degraded:md0", NOW) == "raid_degraded:md0 is told again"
    world.run()
    assert world.said() == ["ALARM raid_degraded:md0 of lab (app1)"]
    with pytest.raises(UsageError, match="is not silent"):
        watch_command.end_silence(world.config, "raid_degraded:md0", NOW)


@pytest.mark.parametrize("text", ["", "2", "0h", "-1h", "2w", "1h30m", "36d", "999999d", "1e3h"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        watch_command.duration_of(text)


@pytest.mark.parametrize(("text", "minutes"), [("90m", 90), ("2h", 120), ("35d", 50400)])
def test_durations(text: str, minutes: int) -> None:
    assert watch_command.duration_of(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "disk", "disk_filling:", ":x", "*"])
def test_alarms_that_do_not_exist_cannot_be_silenced(text: str) -> None:
    with pytest.raises(UsageError, match="is not an alarm"):
        watch_command.alarm_of(text)


def test_a_silence_needs_a_reason(world: World) -> None:
    with pytest.raises(UsageError, match="reason"):
        watch_command.silence(world.config, "raid_degraded", timedelta(hours=2), " ", "eva", NOW)


class TestCanary:
    def test_accepted(self, world: World) -> None:
        assert "accepted the canary" in watch_command.self_test(world.config, NOW)
        assert world.telegram.texts == [
            "TEST of lab (app1) at 2026-11-22T13:00:00Z: alarms of this host arrive. Nothing is to be done."
        ]

    @pytest.mark.parametrize("answer", ["400", "401", "429:900", "hang"])
    def test_not_accepted(self, world: World, answer: str) -> None:
        world.telegram.answer = answer
        with pytest.raises(ToolError, match="the canary was not accepted: telegram") as caught:
            watch_command.self_test(world.config, NOW)
        assert TOKEN not in str(caught.value)

    def test_without_telegram(self, make: Callable[..., World]) -> None:
        with pytest.raises(ConfigurationError, match="telegram is null"):
            watch_command.self_test(make(**{"notifications.telegram": None}).config, NOW)


def test_one_run_at_a_time(world: World) -> None:
    with hold(watch.LOCK, world.config.state_directory), pytest.raises(LockedError):
        world.run()


def test_a_bug_in_one_part_is_told_and_hides_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.host = replace(world.host, mdstat=DEGRADED)
    world.run()
    world.said()

    def broken(*_: object) -> HostView:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr(watch, "look_at_host", broken)
    del world.store.objects[name_of_heartbeat("db2")]
    assert world.run(4) == ExitCode.BUG
    assert world.said() == [
        "ALARM host_silent:db1 of lab (app1)",
        "ALARM host_silent:db2 of lab (app1)",
        "ALARM watch_failed:host of lab (app1)",
    ], "and raid_degraded is not over: nobody looked"


class TestDatabaseHost:
    @pytest.fixture
    def world(self, make: Callable[..., World]) -> World:
        made = make("db1")
        made.alive("app1", "db1", "db2")
        return made

    def test_judges_itself_alone_while_the_app_host_does_the_store(self, world: World) -> None:
        world.mysql = replace(world.mysql, state=PRIMARY)
        assert world.run() == ExitCode.DONE
        assert world.said() == ["ALARM semi_sync_off of lab (db1)"]
        assert world.sign()["gtid_executed"].endswith(":1-10")

    def test_speaks_for_an_app_host_that_is_silent_and_hands_over_without_a_word(self, world: World) -> None:
        world.run()
        world.alive("db2", hours=4)
        assert world.run(4) == ExitCode.DONE
        said = world.said()
        assert said == ["ALARM host_silent:app1 of lab (db1)"]
        assert world.run(26) == ExitCode.DONE, "and it judges the store in its place"
        assert "ALARM backup_overdue:backup of lab (db1)" in world.said()
        world.alive("app1", hours=27)
        assert world.run(27) == ExitCode.DONE
        assert world.said() == []
        assert not alarm_memory.load_memory(world.config.state_directory / "watch.json", NOW).standing

    def test_speaks_for_an_app_host_whose_messages_do_not_go_out(self, world: World) -> None:
        world.alive("app1", unsent=("raid_degraded:md0",))
        world.run()
        assert "ALARM host_silent:app1 of lab (db1)" in world.said()

    def test_leaves_to_the_guard_what_it_tells(self, make: Callable[..., World], failover_section: Any) -> None:
        world = make("db1", failover=failover_section)
        world.alive("app1", "db2")
        world.mysql = replace(world.mysql, state=None, error="connect: error 2002")
        world.run()
        assert world.said() == ["ALARM mysql_unreachable of lab (db1)"]
        world.guard = "active"
        assert world.run(1) == ExitCode.DONE
        assert world.said() == []

    def test_a_server_that_is_silent_ends_no_other_alarm(self, world: World) -> None:
        world.mysql = replace(world.mysql, state=PRIMARY)
        world.run()
        world.said()
        world.mysql = replace(world.mysql, state=None, error="gone")
        world.run(1)
        assert world.said() == ["ALARM mysql_unreachable of lab (db1)"]

    def test_a_store_that_is_gone_is_the_speakers_to_tell(self, world: World) -> None:
        world.store.refuse.add("the store")
        assert world.run() == ExitCode.STORAGE
        assert world.said() == []

    def test_errant_transactions_of_the_other(self, world: World) -> None:
        sign = Heartbeat("db2", NOW, gtid_executed=PRIMARY.gtid_executed | PRIMARY.gtid_executed.parse(
            "22222222-2222-2222-2222-222222222222:1-2"
        ))  # fmt: skip
        world.store.objects[name_of_heartbeat("db2")] = sign.to_json()
        world.mysql = replace(world.mysql, state=PRIMARY, semi_sync=True)
        world.run()
        assert world.said() == ["ALARM errant_transactions:db2 of lab (db1)"]
        world.alive("db2")  # its mysqld was down at that time
        world.run(1)
        world.store.refuse.add("the store")
        world.run(2)
        assert world.said() == [], "nobody knows that it is over"
        world.store.refuse.clear()
        world.alive("app1", "db2", hours=3, gtid_executed=REPLICA.gtid_executed)
        world.run(3)
        assert world.said() == ["OVER errant_transactions:db2 of lab (db1), lasted 3 h 0 min"]


def test_each_alarm_names_its_runbook(world: World) -> None:
    for name in ALARMS:
        made = Finding(name, "w", "m", "r", subject="x")
        letter = Letter("begin", made.key, "w", "m", "r", datetime.fromisoformat("2026-11-22T00:00:00+00:00"))
        assert watch.text_of(letter, world.config).endswith(f"\nTo do: r\nRunbook: docs/runbooks/{name}.md")


def test_with_a_real_rclone(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rclone.conf").write_text("[here]\ntype = local\n")
    for name, data in world.store.objects.items():
        path = tmp_path / "remote" / "lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    here = replace(
        world.config.store, rclone_config_file=tmp_path / "rclone.conf", remote=f"here:{tmp_path}/remote", attempts=1
    )
    world.config = replace(world.config, store_or_none=here)
    monkeypatch.setattr(watch, "Store", Store)
    for hour in (0, 1):
        assert world.run(hour) == ExitCode.DONE
        assert world.said() == []
        sign = Heartbeat.from_json((tmp_path / "remote/lab/state/watch/app1.json").read_bytes(), "x")
        assert sign == Heartbeat("app1", NOW + timedelta(hours=hour))
