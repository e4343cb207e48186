from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast import config
from holdfast.errors import ConfigurationError

Build = Callable[..., dict[str, Any]]


def test_the_contracts_file_is_read(configuration: Build, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(configuration()))
    loaded = config.load(path)
    assert loaded.mysql.socket == Path("/run/mysqld/mysqld.sock")
    assert loaded.backup.segment_bytes == 67108864
    assert loaded.notifications.telegram is None
    assert loaded.notifications.command == ()


def test_telegram_and_command_are_read(configuration: Build) -> None:
    telegram = {"token_file": "/etc/holdfast/secrets/telegram-token", "chat_id": "-100", "api_url": "http://x"}
    changes = {"notifications.telegram": telegram, "notifications.command": ["mail", "-s", "x"]}
    loaded = config.parse(configuration(**changes))
    assert loaded.notifications.telegram is not None
    assert loaded.notifications.telegram.chat_id == "-100"
    assert loaded.notifications.command == ("mail", "-s", "x")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("backup.segment_byte", 1, "backup.segment_byte: unknown key"),
        ("backup.segment_bytes", ..., "backup.segment_bytes: missing"),
        ("extra", 1, "extra: unknown key"),
        ("store", ..., "store: missing"),
        ("store", [], "store: must be a mapping"),
        ("schema_version", 2, "schema_version: is 2, these programs read 1"),
        ("schema_version", "1", "schema_version: must be a whole number, not '1'"),
        ("cluster", "Lab", "cluster: is 'Lab', must be lower-case letters, digits and inner hyphens"),
        ("cluster", "a/b", "cluster: is 'a/b', must be lower-case letters, digits and inner hyphens"),
        ("mysql.series", 9.7, "mysql.series: must be a string (quote it), not 9.7"),
        ("mysql.socket", "mysqld.sock", "mysql.socket: must be an absolute path"),
        ("backup.engine", "tar", "backup.engine: is 'tar', must be clone or xtrabackup"),
        ("backup.upload_parallel", 0, "backup.upload_parallel: is 0, must be at least 1"),
        ("backup.upload_parallel", True, "backup.upload_parallel: must be a whole number, not True"),
        ("backup.time_of_day", 120, "backup.time_of_day: must be a string (quote it), not 120"),
        ("backup.time_of_day", "2:00", "backup.time_of_day: is '2:00', must be a time of day such as \"02:00\""),
        ("time_zone", "Mars/Phobos", "time_zone: is 'Mars/Phobos', must be a time zone such as Europe/Berlin"),
        ("store.encrypted", "yes", "store.encrypted: must be true or false, not 'yes'"),
        ("store.remote", "offsite", "store.remote: is 'offsite', must be an rclone remote:path"),
        ("store.remote", "--x:y", "store.remote: is '--x:y', must be an rclone remote:path"),
        ("notifications.command", "mail", "notifications.command: must be a list of strings"),
        ("notifications.telegram", {"chat_id": "1"}, "notifications.telegram.token_file: missing"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(configuration: Build, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.parse(configuration(**{path: value}))
    assert caught.value.what == message


def test_the_section_failover_is_read(configuration: Build, failover_section: dict[str, Any]) -> None:
    failover_section["robot"] = {
        "api_url": "http://robot",
        "account_file": "/etc/holdfast/secrets/robot-account",
        "servers": ["db1=321", "db2=322"],
    }
    failover = config.parse(configuration(failover=failover_section)).failover
    assert [host.name for host in failover.database_hosts] == ["db1", "db2"]
    assert failover.timing.marker_seconds == 2.0
    assert failover.robot is not None and failover.robot.servers == ("db1=321", "db2=322")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("manager",), "orchestrator", "manager: is 'orchestrator', must be mysql_failover or replication_manager"),
        (("fence_policy",), "hope", "fence_policy: is 'hope', must be proceed or hold"),
        (("keeper", "port"), 0, "keeper.port: is 0, must be a port, 1 to 65535"),
        (("database_hosts", 1, "guard_port"), 70000, "database_hosts[1].guard_port: is 70000, must be a port"),
        (
            ("database_hosts", 1, "guard_port"),
            "7331",
            "database_hosts[1].guard_port: must be a whole number, not '7331'",
        ),
        (("database_hosts", 0, "name"), "db2", "database_hosts: is "),
        (("database_hosts",), [], "database_hosts: is [], must be two hosts or more, each once"),
        (("database_hosts",), {}, "database_hosts: must be a list of mappings"),
        (("robot",), {"api_url": "x", "account_file": "/x", "servers": ["db1"]}, "robot.servers: is ['db1'], must be"),
        (("timing", "tick_seconds"), 0, "timing.tick_seconds: is 0, must be more than 0 and at most 3600"),
        (("timing", "tick_seconds"), True, "timing.tick_seconds: must be a number, not True"),
        (("timing", "tick"), 1, "timing.tick: unknown key"),
    ],
)
def test_what_is_wrong_in_the_section_failover_is_named(
    configuration: Build, failover_section: dict[str, Any], place: tuple[Any, ...], value: Any, message: str
) -> None:
    section: Any = failover_section
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    with pytest.raises(ConfigurationError) as caught:
        config.parse(configuration(failover=failover_section))
    assert caught.value.what.startswith(f"failover.{message}")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("services", ["cron"], "services: is ['cron'], must be systemd units with their ending"),
        ("disks", ["var"], "disks: is ['var'], must be absolute paths"),
        ("certificates", ["ca.pem"], "certificates: is ['ca.pem'], must be absolute paths"),
        ("clock_peers", ["db1"], "clock_peers: is ['db1'], must be name=address:port each"),
        ("clock_peers", ["db1=10.0.0.11"], "clock_peers: is ['db1=10.0.0.11'], must be"),
        ("expiries", ["B2 key"], "expiries: is ['B2 key'], must be name=YYYY-MM-DD each"),
        ("expiries", ["B2 key=2026-02-30"], "expiries: is ['B2 key=2026-02-30'], must be"),
        ("expiries", ["=2026-02-03"], "expiries: is ['=2026-02-03'], must be"),
        ("price_per_terabyte_month", -1, "price_per_terabyte_month: is -1, must be 0 or more"),
        ("speaker", None, "speaker: must be a string"),
        ("limits", {}, "limits.success_maximum_age_hours: missing"),
    ],
)
def test_what_is_wrong_in_the_section_watch_is_named(
    configuration: Build, watch_section: dict[str, Any], key: str, value: Any, message: str
) -> None:
    watch_section[key] = value
    with pytest.raises(ConfigurationError) as caught:
        config.parse(configuration(watch=watch_section))
    assert caught.value.what.startswith(f"watch.{message}")


@pytest.mark.parametrize(
    ("name", "value"), [("disk_percent", 101), ("certificate_days", 0), ("clock_skew_seconds", -5)]
)
def test_limits_are_limits(configuration: Build, watch_section: dict[str, Any], name: str, value: int) -> None:
    watch_section["limits"][name] = value
    with pytest.raises(ConfigurationError, match=f"watch.limits.{name}: is {value}, must be"):
        config.parse(configuration(watch=watch_section))


def test_a_section_without_a_part_is_missed_by_name(configuration: Build) -> None:
    loaded = config.parse(configuration(mysql=None, backup=None, recovery=None, store=None))
    for section in ("mysql", "backup", "recovery", "store", "failover", "watch"):
        with pytest.raises(ConfigurationError, match=f"{section}: is null, but this program needs it"):
            getattr(loaded, section)


@pytest.mark.parametrize("text", ["[1", "just text", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(path)):
        config.load(path)


def test_a_missing_file_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(tmp_path / "none.yml")
