from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from holdfast import channels, notify
from holdfast.config import NotificationsConfig, TelegramConfig, parse
from holdfast.errors import LockedError, NotThisHostError, Stopped, StorageError
from holdfast.notify import BackupSucceeded, Failed, Job, Succeeded, bytes_text, cut, duration_text, reported, send

TOKEN = "123456:AAtoken-of-the-bot"
PATH = f"/bot{TOKEN}/sendMessage"
SENT = {"ok": True, "result": {"message_id": 1, "date": 0, "chat": {"id": -100, "type": "group"}, "text": "x"}}
JOB = Job("full backup", "lab", "db2", "backup-failed.md")
GOOD = BackupSucceeded(
    kind="full",
    cluster="lab",
    host="db2",
    backup_id="20261123T020000Z-full-db2",
    stored_bytes=1288490189,
    data_bytes=3650722202,
    duration_seconds=200.4,
    chain_id="20261123T020000Z-full-db2",
    reason="sunday",
)


@pytest.fixture
def quiet(configuration: Callable[..., dict[str, Any]]) -> NotificationsConfig:
    return parse(configuration()).notifications


@pytest.fixture
def config(quiet: NotificationsConfig, httpserver: HTTPServer, tmp_path: Path) -> NotificationsConfig:
    (tmp_path / "token").write_text(TOKEN + "\n")
    telegram = TelegramConfig(tmp_path / "token", "-100", httpserver.url_for("").rstrip("/"))
    return replace(quiet, telegram=telegram, timeout_seconds=5)


def test_success() -> None:
    assert GOOD.text() == (
        "OK full backup of lab (db2)\n"
        "size 1.2 GiB compressed (3.4 GiB data), took 3 min 20 s\n"
        "backup 20261123T020000Z-full-db2\n"
        "chain 20261123T020000Z-full-db2, reason sunday"
    )
    note = "taken on the PRIMARY: no replica is connected"
    assert replace(GOOD, note=note).text().endswith("\n" + note)
    assert Succeeded("binlog archive", "lab", "db1", 2, "3 files").text() == (
        "OK binlog archive of lab (db1), took 2 s\n3 files"
    )


def test_failure() -> None:
    message = Failed("full backup", "lab", "db2", "lz4: exited with status 1", "last line", "free space", "r/b.md")
    assert message.text() == (
        "FAILED full backup of lab (db2)\nlz4: exited with status 1\nlast line\nTo do: free space\nRunbook: r/b.md"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 40, "3.0 TiB"), (5000 << 40, "5000.0 TiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_long_text_keeps_its_head_and_its_runbook() -> None:
    long = Failed("full backup", "lab", "db2", "lz4 died", "😀 line\n" * 2000, "", "docs/runbooks/b.md").text()
    short = cut(long)
    assert len(short.encode("utf-16-le")) // 2 <= 4096
    assert short.startswith("FAILED full backup of lab (db2)\nlz4 died\n")
    assert short.endswith("\n[... cut ...]\nRunbook: docs/runbooks/b.md")
    assert cut("x" * 4096) == "x" * 4096
    assert len(cut("x" * 5000)) == 4096


class TestTelegram:
    def test_sent_as_plain_text(self, config: NotificationsConfig, httpserver: HTTPServer) -> None:
        seen: list[dict[str, str]] = []

        def answer(request: Request) -> Response:
            seen.append(dict(request.form))
            return Response(json.dumps(SENT), content_type="application/json")

        httpserver.expect_request(PATH).respond_with_handler(answer)
        assert send(config, "a_b*c <d> `e` [f](g)") == []
        assert seen[0]["text"] == "a_b*c <d> `e` [f](g)"
        assert seen[0]["chat_id"] == "-100"
        assert "parse_mode" not in seen[0]

    @pytest.mark.parametrize(
        ("status", "description", "failure"),
        [
            (400, "Bad Request: chat not found", "telegram: BadRequest: Chat not found"),
            (401, "Unauthorized", "telegram: InvalidToken:"),
            (403, "Forbidden: bot was kicked", "telegram: Forbidden: Forbidden: bot was kicked"),
        ],
    )
    def test_refused_once_and_without_the_token(
        self, config: NotificationsConfig, httpserver: HTTPServer, status: int, description: str, failure: str
    ) -> None:
        body = {"ok": False, "error_code": status, "description": description}
        httpserver.expect_request(PATH).respond_with_json(body, status=status)
        (found,) = send(config, "x")
        assert found.startswith(failure)
        assert TOKEN not in found
        assert len(httpserver.log) == 1

    def test_retry_after_is_honoured(self, config: NotificationsConfig, httpserver: HTTPServer) -> None:
        body = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}}
        httpserver.expect_ordered_request(PATH).respond_with_json(body, status=429)
        httpserver.expect_ordered_request(PATH).respond_with_json(SENT)
        began = time.monotonic()
        assert send(config, "x") == []
        assert 1 <= time.monotonic() - began < 4

    def test_retry_after_beyond_the_time_given_up(self, config: NotificationsConfig, httpserver: HTTPServer) -> None:
        body = {"ok": False, "error_code": 429, "description": "Too Many", "parameters": {"retry_after": 900}}
        httpserver.expect_request(PATH).respond_with_json(body, status=429)
        began = time.monotonic()
        assert "RetryAfter" in send(config, "x")[0]
        assert time.monotonic() - began < 3

    def test_no_answer(self, config: NotificationsConfig, httpserver: HTTPServer) -> None:
        def answer(request: Request) -> Response:
            del request
            time.sleep(2)
            return Response("{}")

        httpserver.expect_request(PATH).respond_with_handler(answer)
        assert send(replace(config, timeout_seconds=1), "x") == ["telegram: no answer within 1 s"]

    def test_nobody_listens(self, config: NotificationsConfig) -> None:
        assert config.telegram is not None
        nobody = replace(config, telegram=replace(config.telegram, api_url="http://127.0.0.1:9"))
        assert send(nobody, "x")[0].startswith("telegram: NetworkError")

    def test_no_token_file(self, config: NotificationsConfig, tmp_path: Path) -> None:
        (tmp_path / "token").unlink()
        assert "No such file" in send(config, "x")[0]

    def test_the_token_is_not_logged(
        self, config: NotificationsConfig, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        httpserver.expect_request(PATH).respond_with_json(SENT)
        assert send(config, "x") == []
        # the fake API in this process logs its own requests
        ours = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
        assert not any(TOKEN in line for line in ours)


class TestCommand:
    def test_the_message_is_its_input(self, quiet: NotificationsConfig, tmp_path: Path) -> None:
        command = ("sh", "-c", f"cat > {tmp_path}/message")
        assert send(replace(quiet, command=command), "hello\nworld") == []
        assert (tmp_path / "message").read_text() == "hello\nworld"

    @pytest.mark.parametrize(
        ("command", "failure"),
        [
            (("sh", "-c", "echo no >&2; exit 3"), "command: sh: exited with status 3\nno"),
            (("sleep", "60"), "command: sleep: took longer than 1 s and was stopped"),
        ],
    )
    def test_failures(self, quiet: NotificationsConfig, command: tuple[str, ...], failure: str) -> None:
        assert send(replace(quiet, command=command, timeout_seconds=1), "x") == [failure]

    def test_one_channel_down_does_not_silence_the_other(self, config: NotificationsConfig, tmp_path: Path) -> None:
        (tmp_path / "token").unlink()
        command = ("sh", "-c", f"cat > {tmp_path}/message")
        assert len(send(replace(config, command=command), "x")) == 1
        assert (tmp_path / "message").read_text() == "x"


class TestReported:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        texts: list[str] = []

        def record(command: object, text: str, seconds: float) -> list[str]:
            del command, seconds
            texts.append(text)
            return ["down"]

        monkeypatch.setattr(notify, "failures_by_command", record)
        return texts

    @pytest.fixture
    def config(self, quiet: NotificationsConfig) -> NotificationsConfig:
        return replace(quiet, command=("x",))

    def test_success_survives_a_dead_channel(self, config: NotificationsConfig, sent: list[str]) -> None:
        with reported(JOB, config) as report:
            report.message = GOOD
        assert sent == [GOOD.text()]

    def test_no_message_no_noise(self, config: NotificationsConfig, sent: list[str]) -> None:
        with reported(JOB, config):
            pass
        assert sent == []

    @pytest.mark.parametrize("kind", [NotThisHostError, LockedError])
    def test_nothing_is_wrong(self, config: NotificationsConfig, sent: list[str], kind: type[Exception]) -> None:
        with pytest.raises(kind), reported(JOB, config):
            raise kind("x")
        assert sent == []

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (StorageError("gone", meaning="m", remedy="r"), "gone\nm\nTo do: r"),
            (Stopped(), "stopped by a signal\nSomeone or a shutdown ended it; it is not complete."),
            (ZeroDivisionError("1/0"), "a bug: ZeroDivisionError: 1/0\nThe log has the traceback."),
        ],
    )
    def test_the_error_is_told_and_goes_on(
        self, config: NotificationsConfig, sent: list[str], error: BaseException, text: str
    ) -> None:
        with pytest.raises(type(error)), reported(JOB, config) as report:
            report.message = GOOD
            raise error
        assert sent == [f"FAILED full backup of lab (db2)\n{text}\nRunbook: docs/runbooks/backup-failed.md"]


def test_masked() -> None:
    assert channels.masked(f"https://x/bot{TOKEN}/y", TOKEN) == "https://x/bot<token>/y"
    assert channels.masked("x", "") == "x"
