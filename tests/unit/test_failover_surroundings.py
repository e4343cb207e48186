from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import parse
from holdfast.errors import ToolError
from holdfast.failover import surroundings
from holdfast.failover.https import serve
from holdfast.failover.surroundings import Surroundings, reaches
from holdfast.failover.wire import to_json
from support.authority import Authority
from support.guards import REPORT


@pytest.fixture
def answer() -> dict[str, Any]:
    """What the peer's guard says; a test may spoil it."""
    document: dict[str, Any] = to_json(REPORT)
    return document


@pytest.fixture
def around(answer: dict[str, Any], tmp_path: Path, configuration: Any, failover_section: Any) -> Iterator[Surroundings]:
    """db1's look around; its peer's guard is there, and one app host that `reaches` is asked about."""
    authority = Authority(tmp_path)
    failover = replace(parse(configuration(failover=failover_section)).failover, tls=authority.certificate("db1"))
    with serve("127.0.0.1", 0, authority.certificate("db2"), lambda _: answer, ["db1"]) as server:
        yield Surroundings(failover, replace(failover.database_hosts[1], guard_port=server.port))


@pytest.mark.parametrize("reachable", [True, False])
def test_a_peer_that_answers_is_contact(around: Surroundings, reachable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "reaches", lambda *_: reachable)
    before = around.seen.contact_at
    around.look()
    assert around.seen.report == REPORT
    assert around.seen.contact_at > before
    assert around.seen.error == ""


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"host": "db1"}, "db2 reports as db1"),
        ({"highest_term": "7"}, "highest_term: must be a whole number"),
        ({"colour": 1}, "colour: unknown key"),
        ({"server": {"instance": None}}, "server.instance"),
    ],
)
@pytest.mark.parametrize("reachable", [True, False])
def test_a_peer_that_answers_garbage(
    around: Surroundings,
    answer: dict[str, Any],
    changes: dict[str, Any],
    error: str,
    reachable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []

    def fake(address: str, port: int) -> bool:
        asked.append((address, port))
        return reachable

    monkeypatch.setattr(surroundings, "reaches", fake)
    answer.update(changes)
    before = around.seen.contact_at
    around.look()
    assert around.seen.report is None
    assert error in around.seen.error
    assert (around.seen.contact_at > before) is reachable
    # the peer's MySQL first, then the app hosts
    assert [port for _, port in asked] == ([33062] if reachable else [33062, 3306, 6033, 22])


def test_without_a_peer(configuration: Any, failover_section: Any) -> None:
    with pytest.raises(ToolError, match="no peer"):
        Surroundings(parse(configuration(failover=failover_section)).failover, None).ask()


def test_who_refuses_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reaches("127.0.0.1", port)
    assert reaches("127.0.0.1", port)
