"""ExecStop of MySQL's unit: on a process of the test's own, with a session that records what it is asked."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from holdfast import config
from holdfast.config import Config
from holdfast.database import DatabaseError
from holdfast.failover.guard_session import Session
from holdfast.failover.stop import stop

SLEEPER = "import time\ntime.sleep(60)"


@dataclass
class Recorder:
    """A session; `fails` is the statement that fails, `hangs` the one that never returns."""

    pid: int
    fails: str = ""
    hangs: str = ""
    done: list[str] = field(default_factory=list)

    @property
    def mysqld(self) -> Recorder:
        return self

    def act(self, sql: str) -> None:
        if sql == self.hangs:
            time.sleep(30)
        if sql == self.fails:
            raise DatabaseError("the session is gone", number=2013)
        self.done.append(sql)

    def kill_others(self, *, spare_streams: bool = True) -> None:
        self.act(f"kill others, streams {'spared' if spare_streams else 'too'}")

    def value(self, sql: str) -> int:
        self.act(sql)
        return 1


@pytest.fixture
def loaded(configuration: Callable[..., dict[str, Any]], failover_section: dict[str, Any]) -> Config:
    return config.parse(configuration(failover=failover_section))


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as started:
        yield started
        started.kill()


def end(loaded: Config, process: subprocess.Popen[bytes], session: Recorder) -> str:
    return stop(
        loaded,
        process.pid,
        leave=lambda _config: session.done.append("leave"),
        dial=lambda _config: cast(Session, session),
        offline_seconds=0.5,
    )


def test_nobody_is_left_to_be_told_when_sigterm_comes(loaded: Config, process: subprocess.Popen[bytes]) -> None:
    session = Recorder(process.pid)
    assert "SIGTERM" in end(loaded, process, session)
    assert session.done == ["leave", "SET GLOBAL offline_mode = ON", "kill others, streams too", "SELECT 1"]
    assert process.wait(10) == -15


@pytest.mark.parametrize("statement", ["SET GLOBAL offline_mode = ON", "kill others, streams too", "SELECT 1"])
@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_what_cannot_be_had_in_time_ends_in_sigkill(
    loaded: Config, process: subprocess.Popen[bytes], statement: str, how: str
) -> None:
    session = Recorder(process.pid, **cast(dict[str, Any], {how: statement}))
    assert "SIGKILL" in end(loaded, process, session)
    assert process.wait(10) == -9


def test_another_server_that_answers_is_no_reason_to_be_gentle(
    loaded: Config, process: subprocess.Popen[bytes]
) -> None:
    session = Recorder(1)
    assert "not " + str(process.pid) in end(loaded, process, session)
    assert process.wait(10) == -9 and "SET GLOBAL offline_mode = ON" not in session.done


def test_a_process_that_has_ended_is_left_alone(loaded: Config, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)
    assert end(loaded, process, Recorder(process.pid)) == "has ended already"
