"""The pre-script: it returns after a promotion, and in no other case."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import process
from holdfast.errors import ToolError
from holdfast.failover import repman_fence
from holdfast.failover.repman import Alert

CALL = ["10.0.0.11", "10.0.0.12", "3306", "3306", "", "", "failover"]


class Enough(BaseException):
    """Ends a wait that would never end."""


class Systemd:
    """sudo and systemctl: `states` are what `show` says, one after the other, the last one for ever."""

    def __init__(self, *states: str, sudo_works: bool = True) -> None:
        self.states = list(states)
        self.calls: list[tuple[str, ...]] = []
        self.pauses = 0
        self.sudo_works = sudo_works

    def run(self, argv: tuple[str, ...], **_: Any) -> Any:
        self.calls.append(argv)
        if argv[0] == "sudo" and not self.sudo_works:
            raise ToolError("sudo: a password is required")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        shown = SHOWN[state] if argv[0] == "systemctl" else ""
        return type("Done", (), {"stdout": shown.encode()})

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        if self.pauses > 20:
            raise Enough

    @property
    def ordered(self) -> list[str]:
        return [" ".join(call[2:5]) for call in self.calls if call[0] == "sudo"]


SHOWN = {
    "unknown": "ActiveState=inactive\nSubState=dead\nResult=success",
    "works": "ActiveState=activating\nSubState=start\nResult=success",
    "promoted": "ActiveState=active\nSubState=exited\nResult=success",
    "refused": "ActiveState=failed\nSubState=failed\nResult=exit-code",
}


def promoting(monkeypatch: pytest.MonkeyPatch, systemd: Systemd, arguments: list[str] = CALL) -> list[Alert]:
    """Run the pre-script until it returns or has waited 20 times; return what it told people."""
    told: list[Alert] = []
    monkeypatch.setattr(process, "run", systemd.run)
    monkeypatch.setattr(repman_fence, "leave", told.append)
    repman_fence.promote(arguments, systemd.pause)
    return told


def test_the_pre_script_starts_the_unit_waits_and_returns_when_it_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    # each `sudo` takes a state too
    systemd = Systemd("unknown", "unknown", "works", "works", "promoted")
    assert promoting(monkeypatch, systemd) == []
    assert len(systemd.ordered) == 1
    assert systemd.ordered[0].startswith("systemctl start --no-block")
    unit = systemd.calls[1][-1]
    assert unit.startswith("mysql-fence@10.0.0.11:10.0.0.12:3306:3306:failover:")
    assert systemd.pauses == 2


def test_it_never_returns_when_the_unit_refused_and_restarts_replication_manager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    systemd = Systemd("unknown", "unknown", "works", "refused")
    with pytest.raises(Enough):
        promoting(monkeypatch, systemd)
    assert systemd.ordered[1:] and set(systemd.ordered[1:]) == {"systemctl restart --no-block"}


def test_it_never_returns_when_the_outcome_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Enough):
        promoting(monkeypatch, Systemd("unknown"))


def test_it_never_returns_without_its_sudo_rule_and_tells_people_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Alert] = []
    systemd = Systemd("unknown", sudo_works=False)
    monkeypatch.setattr(process, "run", systemd.run)
    monkeypatch.setattr(repman_fence, "leave", told.append)
    with pytest.raises(Enough):
        repman_fence.promote(CALL, systemd.pause)
    assert len(told) == 1 and "a password is required" in told[0].head


@pytest.mark.parametrize("arguments", [[], CALL[:6], ["-h", *CALL]])
def test_it_never_returns_when_it_is_called_in_another_way(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    systemd = Systemd("promoted")
    with pytest.raises(Enough):
        promoting(monkeypatch, systemd, arguments)
    assert systemd.calls == []
