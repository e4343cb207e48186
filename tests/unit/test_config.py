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


@pytest.mark.parametrize("text", ["[1", "just text", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(path)):
        config.load(path)


def test_a_missing_file_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(tmp_path / "none.yml")
