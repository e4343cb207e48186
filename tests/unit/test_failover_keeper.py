"""The keeper, asked over real HTTPS on loopback, also by those who may not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from holdfast import config
from holdfast.config_failover import FailoverConfig
from holdfast.failover.alarms import Alarms
from holdfast.failover.https import RefusedError, UnreachableError, call, serve
from holdfast.failover.keeper import Keeper
from holdfast.failover.keeper_client import KeeperClient
from holdfast.failover.protocol import Server
from holdfast.failover.rebuild import Told, first_contents
from holdfast.failover.record import Change, Instance, Record, SwapRequest
from holdfast.failover.record_file import RecordFile
from holdfast.failover.wire import GuardReport, to_json
from holdfast.notify import Message
from support.authority import Authority

A, B = "uuid-a", "uuid-b"
B1 = Instance(B, "boot", 100)


@dataclass
class Site:
    """A keeper at work, and what is around it."""

    keeper: Keeper
    file: RecordFile
    failover: FailoverConfig
    authority: Authority
    messages: list[Message]
    told: list[Told]
    seconds: float = 0.0

    def client(self, name: str) -> KeeperClient:
        return KeeperClient(replace(self.failover, tls=self.authority.certificate(name)), name, 5.0)

    def swap(self, name: str, change: Change, asker: str, **changes: Any) -> str:
        record = self.file.read()
        assert record is not None
        wanted = SwapRequest(change, asker, record.record.version, record.record.term)
        return self.client(name).swap(replace(wanted, **changes)).refusal

    def texts(self) -> list[str]:
        return [message.text() for message in self.messages]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def site(
    authority: Authority, tmp_path: Path, configuration: Callable[..., dict[str, Any]], failover_section: dict[str, Any]
) -> Iterator[Site]:
    loaded = config.parse(configuration(host="app1", failover=failover_section))
    file = RecordFile(tmp_path / "record" / "record.json")
    file.path.parent.mkdir()
    file.write(first_contents("db1", {"db1": A, "db2": B}, 7))
    messages: list[Message] = []
    told: list[Told] = []
    made: list[Site] = []
    alarms = Alarms(loaded, "mysql-keeper", send=messages.append, clock=lambda: made[0].seconds if made else 0.0)
    keeper = Keeper(loaded.failover, file, alarms, ask=lambda: told, clock=lambda: made[0].seconds if made else 0.0)
    with serve("127.0.0.1", 0, authority.certificate("app1"), keeper.handle, keeper.allowed_names) as server:
        failover = replace(loaded.failover, keeper=replace(loaded.failover.keeper, port=server.port))
        made.append(Site(keeper, file, failover, authority, messages, told))
        yield made[0]


def test_guards_and_manager_read_the_record(site: Site) -> None:
    expected = Record(7, 1, A, True, None)
    for name in ("db1", "db2", "app1"):
        assert site.client(name).record() == expected


def test_a_promotion_from_the_first_request_to_the_last(site: Site) -> None:
    assert site.swap("db1", Change.TO_REPLICA, A, instance=B1) == ""
    assert site.swap("app1", Change.PROMOTE, "manager", primary=B, instance=B1) == ""
    assert "promotion of uuid-b is under way" in site.swap("db1", Change.TO_NONE, A)
    assert site.swap("app1", Change.OPEN, "manager", instance=B1) == ""
    assert site.client("db2").record() == Record(10, 2, B, True, None)
    assert "is not the primary" in site.swap("db1", Change.TO_NONE, A)


def test_what_was_granted_survives_the_keeper(site: Site) -> None:
    assert site.swap("db1", Change.TO_REPLICA, A, instance=B1) == ""
    contents = RecordFile(site.file.path).read()
    assert contents is not None and contents.record.in_sync == B1


def test_a_stale_version_and_a_stale_term_are_refused(site: Site) -> None:
    for stale in ({"expected_version": 6}, {"expected_term": 0}):
        assert "the record moved on" in site.swap("db1", Change.TO_NONE, A, **stale)
    assert site.client("db1").record() == Record(7, 1, A, True, None)


@pytest.mark.parametrize(
    ("peer", "change", "asker"),
    [
        ("db2", Change.TO_NONE, A),  # in the primary's name
        ("db1", Change.TO_NONE, B),
        ("db1", Change.PROMOTE, "manager"),
        ("db2", Change.PROMOTE, B),
        ("db2", Change.ALLOW_LOSS, "manager"),
        ("db2", Change.OPEN, B),
        ("db1", Change.TO_NONE, "manager"),
        ("app1", Change.TO_NONE, A),
        ("app1", Change.TO_REPLICA, "manager"),
        ("app1", Change.PROMOTE, A),
    ],
)
def test_nobody_asks_for_what_is_not_theirs(site: Site, peer: str, change: Change, asker: str) -> None:
    with pytest.raises(RefusedError, match="may not ask for") as caught:
        site.swap(peer, change, asker, primary=B, instance=B1)
    assert caught.value.status == 403
    assert site.client("db1").record() == Record(7, 1, A, True, None)


def raw(site: Site, peer: str, method: str, path: str, document: dict[str, Any] | None) -> dict[str, Any]:
    tls = site.authority.certificate(peer)
    return call("127.0.0.1", site.failover.keeper.port, method, path, document, tls, "app1", 5.0)


GOOD = to_json(SwapRequest(Change.TO_NONE, A, 7, 1))


@pytest.mark.parametrize(
    ("document", "status", "text"),
    [
        ({}, 403, "db1 asks in the name of None"),
        ({"host": "db2", "request": GOOD}, 403, "db1 asks in the name of 'db2'"),
        ({"host": "db1"}, 400, "request: must be a mapping"),
        ({"host": "db1", "request": {**GOOD, "change": "crown"}}, 400, "request.change: is 'crown'"),
        ({"host": "db1", "request": {**GOOD, "expected_version": "7"}}, 400, "request.expected_version: must be"),
        ({"host": "db1", "request": {**GOOD, "force": True}}, 400, "request.force: unknown key"),
        ({"host": "db1", "request": [GOOD]}, 400, "request: must be a mapping"),
    ],
)
def test_a_garbage_request_changes_nothing(site: Site, document: dict[str, Any], status: int, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        raw(site, "db1", "POST", "/swap", document)
    assert caught.value.status == status and text in caught.value.text
    assert site.client("db1").record() == Record(7, 1, A, True, None)


def test_other_paths_and_other_hosts_get_nothing(site: Site) -> None:
    for method, path in (("GET", "/swap"), ("POST", "/record"), ("GET", "/"), ("GET", "/../etc/passwd")):
        with pytest.raises(RefusedError) as caught:
            raw(site, "db1", method, path, {} if method == "POST" else None)
        assert caught.value.status == 404
    with pytest.raises(RefusedError, match="app2 has no part here"):
        raw(site, "app2", "GET", "/record", None)


def test_a_certificate_of_somebody_else_gets_nothing(site: Site, tmp_path: Path) -> None:
    stranger = replace(Authority(tmp_path / "other").certificate("db1"), ca_file=site.authority.folder / "ca.pem")
    with pytest.raises(UnreachableError):
        KeeperClient(replace(site.failover, tls=stranger), "db1", 5.0).record()


def test_a_full_disk_refuses_the_swap_alarms_once_and_heals(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            assert "cannot be written: No space left on device" in site.swap("db1", Change.TO_NONE, A)
    assert site.client("db1").record() == Record(7, 1, A, True, None)
    assert len(site.messages) == 1 and "Make room" in site.texts()[0]
    assert site.swap("db1", Change.TO_NONE, A) == ""
    assert "over:" in site.texts()[1]


def test_an_edited_file_grants_nothing_and_alarms(site: Site) -> None:
    site.file.path.write_text(site.file.path.read_text().replace('"opened": true', '"opened": false'))
    for ask in (
        site.client("db1").record,
        lambda: site.client("db1").swap(SwapRequest(Change.TO_NONE, A, 7, 1)),
    ):
        with pytest.raises(RefusedError, match="its checksum does not fit.*nothing is granted") as caught:
            ask()
        assert caught.value.status == 503
    site.keeper.tick()
    assert len(site.messages) == 1 and "Move" in site.texts()[0]


def test_a_keeper_that_is_unsure_answers_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("holdfast.failover.record_file._sync", fail)
    with pytest.raises(RefusedError, match="cannot be made durable"):
        site.swap("db1", Change.TO_NONE, A)
    assert site.keeper.broken is not None
    with pytest.raises(RefusedError, match="cannot be made durable"):
        site.client("db1").record()


def report(host: str, uuid: str, source: str, term: int = 4, seconds: float = 0.1) -> Told:
    server = Server(Instance(uuid, "boot", 1), bool(source), False, not source, 0, source, True, True, True)
    return Told(host, GuardReport(host, uuid, term, server, "", "", "", "", True, "", "9.7", False, seconds, ()))


def test_a_lost_record_is_rebuilt_when_every_guard_agrees(site: Site) -> None:
    site.file.path.unlink()
    assert site.client("db1").record() is None
    answer = site.client("db1").swap(SwapRequest(Change.TO_NONE, A, 7, 1))
    assert answer.record is None and "there is no record" in answer.refusal
    site.told[:] = [report("db1", A, ""), Told("db2", None, "no answer")]
    site.keeper.tick()
    assert site.client("db1").record() is None
    assert "cannot be rebuilt: not every server answers: db2" in site.texts()[0]
    site.told[:] = [report("db1", A, ""), report("db2", B, A, term=3)]
    site.keeper.tick()  # not yet: it asks every 10 s
    assert site.client("db1").record() is None
    site.seconds = 9.0
    site.client("db1").record(), site.client("db2").record()
    site.seconds = 11.0
    site.keeper.tick()
    record = site.client("db1").record()
    assert record is not None
    assert (record.term, record.primary, record.opened, record.in_sync) == (5, A, True, None)
    site.keeper.tick()
    assert "over: there is no record" in site.texts()[1]
    assert site.swap("db1", Change.TO_NONE, A) == ""
    with pytest.raises(RefusedError):
        site.swap("db2", Change.TO_NONE, A)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([report("db1", A, "", seconds=60.0), report("db2", B, A)], "not every server answers: uuid-a"),
        ([report("db1", A, ""), report("db1", B, A)], "not every server answers: db2"),
        ([report("db1", A, ""), report("db2", A, "")], "two hosts say that they run the same server"),
        ([report("db1", A, ""), report("db2", B, "")], "2 servers are writable"),
        ([report("db1", A, "", term=0), report("db2", B, A, term=0)], "this keeper wrote term 1"),
    ],
)
def test_a_lost_record_stays_lost_otherwise(site: Site, told: list[Told], why: str) -> None:
    site.file.path.unlink()
    site.told[:] = [replace(each, host=host) for each, host in zip(told, ("db1", "db2"), strict=True)]
    site.keeper.tick()
    assert site.client("db1").record() is None
    assert why in site.texts()[0]


def test_a_guard_that_is_silent_is_missed_after_ten_seconds(site: Site) -> None:
    site.client("db1").record()
    site.client("db2").record()
    site.seconds = 9.0
    site.client("db1").record()
    site.keeper.tick()
    assert site.messages == []
    site.seconds = 12.0
    site.keeper.tick()
    site.keeper.tick()
    assert len(site.messages) == 1 and "the guard of db2 has been silent for 10 s" in site.texts()[0]
    site.client("db2").record()
    site.keeper.tick()
    assert "over: the guard of db2" in site.texts()[1]


def test_a_guard_that_never_came_is_missed_after_two_minutes(site: Site) -> None:
    site.seconds = 119.0
    site.client("db1").record()
    site.keeper.tick()
    assert site.messages == []
    site.seconds = 121.0
    site.keeper.tick()
    assert len(site.messages) == 1 and "the guard of db2" in site.texts()[0]
