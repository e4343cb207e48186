"""Replication Manager's API, its pause, and messages on their way to people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from holdfast import config as configuration_module
from holdfast.errors import ConfigurationError
from holdfast.failover import repman_credentials, repman_spool, repman_watch
from holdfast.failover.repman import Alert, Seen
from holdfast.failover.repman_api import Api, ApiError
from holdfast.failover.repman_watch import Pause

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GOOD = Seen("master-slave", True, 0, 3, {"10.0.0.11:3306": "Master", "10.0.0.12:3306": "Slave"})


class FakeApi:
    """Replication Manager's API, as far as a test needs it."""

    def __init__(self, server: HTTPServer, folder: Path) -> None:
        self.interactive = False
        self.server = server
        account = folder / "account"
        account.write_text("admin:a secret\n")
        server.expect_request(
            "/api/login", method="POST", json={"username": "admin", "password": "a secret"}
        ).respond_with_json({"token": "T"})
        self.headers = {"Authorization": "Bearer T"}
        server.expect_request("/api/clusters/shop", headers=self.headers).respond_with_handler(self._cluster)
        server.expect_request("/api/clusters/shop/topology/servers", headers=self.headers).respond_with_json(
            [{"url": name, "state": state} for name, state in GOOD.servers.items()]
        )
        switch = "/api/clusters/shop/settings/actions/switch/failover-mode"
        server.expect_request(switch, headers=self.headers).respond_with_handler(self._switch)
        self.api = Api("shop", account, port=server.port)

    def _cluster(self, request: Any) -> Any:
        settings = {"interactive": self.interactive, "failoverLimit": 3}
        return Response(json.dumps({"topology": "master-slave", "failoverCounter": 0, "config": settings}))

    def _switch(self, request: Any) -> Any:
        self.interactive = not self.interactive
        return Response("")


@pytest.fixture
def fake(httpserver: HTTPServer, tmp_path: Path) -> FakeApi:
    return FakeApi(httpserver, tmp_path)


def test_the_api_is_read_and_its_switch_only_turned_when_needed(fake: FakeApi) -> None:
    assert fake.api.look() == GOOD
    assert fake.api.set_automatic(True) is False
    assert fake.api.set_automatic(False) is True and fake.interactive
    assert fake.api.set_automatic(False) is False and fake.interactive


def test_a_pause_is_kept_through_a_restart_and_ends_by_itself(fake: FakeApi, tmp_path: Path) -> None:
    repman_watch.write_pause(tmp_path, Pause(NOW, NOW + HOUR))
    seen, pause = repman_watch.look(fake.api, tmp_path, NOW)  # it was restarted, its file says automatic
    assert seen is not None and not seen.automatic and pause is not None
    seen, pause = repman_watch.look(fake.api, tmp_path, NOW + HOUR)
    assert seen is not None and seen.automatic and pause is None
    assert repman_watch.read_pause(tmp_path) is None


def test_an_api_that_is_silent_refuses_or_babbles_is_an_error_that_says_so(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    account = tmp_path / "account"
    account.write_text("admin:a secret")
    with pytest.raises(ApiError, match="does not answer"):
        Api("shop", account, port=1).look()
    httpserver.expect_ordered_request("/api/login").respond_with_data("no", status=401)
    with pytest.raises(ApiError, match="refuses /login: 401") as refused:
        Api("shop", account, port=httpserver.port).look()
    assert "a secret" not in str(refused.value)
    httpserver.expect_ordered_request("/api/login").respond_with_data("<html>")
    with pytest.raises(ApiError, match="did not take the login"):
        Api("shop", account, port=httpserver.port).look()
    with pytest.raises(ConfigurationError, match=r"missing: cannot be read"):
        Api("shop", tmp_path / "missing")
    assert repman_watch.look(Api("shop", account, port=1), tmp_path, NOW) == (None, None)


def loaded(tmp_path: Path, configuration: Any, **changes: Any) -> configuration_module.Config:
    told = {"notifications.command": ["sh", "-c", f"cat >> {tmp_path}/told; echo >> {tmp_path}/told"]}
    return configuration_module.parse(configuration(**told, **changes))


def test_what_was_left_is_sent_in_order_and_stays_while_it_cannot_be(tmp_path: Path, configuration: Any) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    for number in range(3):
        repman_spool.leave(Alert(f"message {number}", "do this", "book.md"), spool)
    broken = configuration_module.parse(configuration(**{"notifications.command": ["false"]}))
    assert "command" in repman_spool.send_all(broken, spool)[0]
    assert len(list(spool.iterdir())) == 3
    assert repman_spool.send_all(loaded(tmp_path, configuration), spool) == []
    told = (tmp_path / "told").read_text()
    assert [line for line in told.splitlines() if line.startswith("message")] == ["message 0", "message 1", "message 2"]
    assert "To do: do this\nRunbook: docs/runbooks/book.md" in told
    assert list(spool.iterdir()) == []


def test_what_replication_manager_told_is_sent_or_dropped_by_what_it_means(tmp_path: Path, configuration: Any) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "1.told").write_text("mysql-repman-tell\nshop\n\nERR00027\n")
    (spool / "2.told").write_text("mysql-repman-tell\nshop\ndb1:3306\nWARN0084\n")
    (spool / "3.told").write_text("mysql-repman-tell-closed\nshop\n\nERR00027\n")
    assert repman_spool.send_all(loaded(tmp_path, configuration), spool) == []
    heads = [line for line in (tmp_path / "told").read_text().splitlines() if "ERR00027" in line]
    assert [head[:8] for head in heads] == ["FAILOVER", "OK failo"]
    assert list(spool.iterdir()) == []


def test_a_message_that_cannot_be_read_is_put_aside(tmp_path: Path, configuration: Any) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "1.json").write_text("[]")
    assert "put aside" in repman_spool.send_all(loaded(tmp_path, configuration), spool)[0]
    assert repman_spool.send_all(loaded(tmp_path, configuration), spool) == []


def test_a_unit_reads_its_credentials_and_not_roots_files(
    tmp_path: Path, configuration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    telegram = {"token_file": "/etc/holdfast/secrets/telegram-token", "chat_id": "1", "api_url": "http://127.0.0.1/bot"}
    (tmp_path / "config.yml").write_text(json.dumps(configuration(**{"notifications.telegram": telegram})))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = repman_credentials.load_for_unit().notifications.telegram
    assert found is not None and found.token_file == tmp_path / "telegram-token"
    assert repman_credentials.api_account_file() == tmp_path / "replication-manager-api"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert repman_credentials.api_account_file() == Path("/etc/holdfast/secrets/replication-manager-api")
