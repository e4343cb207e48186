from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import ToolError
from holdfast.failover.mysqld import name_of, pid_in, process_start, running

STAT = "1234 (my (odd) name) S 1 1234 1234 0 -1 4194560 2 0 0 0 1 2 3 4 20 0 30 0 987654 123 45 18446744073709551615 1"


@pytest.fixture
def mysqld(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A harmless process of that name."""
    program = tmp_path / "mysqld-debug"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    deadline = time.monotonic() + 5
    while name_of(Path(f"/proc/{process.pid}/stat").read_text()) != "mysqld-debug" and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_it_is_held_and_ended(mysqld: subprocess.Popen[bytes]) -> None:
    held = running("u", mysqld.pid)
    assert held.runs
    assert held.instance.server_uuid == "u"
    assert held.instance == running("u", mysqld.pid).instance
    held.kill()
    assert held.wait(5)
    assert not held.runs
    mysqld.wait()
    held.kill()  # it is gone: nobody else is hit
    held.close()


def test_another_program_is_not_taken_for_mysqld() -> None:
    with pytest.raises(ToolError, match="not mysqld"):
        running("u", os.getpid())


def test_nobody_there() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    with pytest.raises(ToolError, match="is gone"):
        running("u", process.pid)


def test_names_with_parentheses() -> None:
    assert process_start(STAT) == 987654
    assert name_of(STAT) == "my (odd) name"
    with pytest.raises(ToolError, match="unreadable"):
        process_start("1 (x) S")


def test_pid_files(tmp_path: Path) -> None:
    file = tmp_path / "mysqld.pid"
    with pytest.raises(ToolError, match="cannot be read"):
        pid_in(file)
    file.write_text("12x")
    with pytest.raises(ToolError, match="cannot be read"):
        pid_in(file)
    file.write_text("12\n")
    assert pid_in(file) == 12
