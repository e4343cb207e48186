from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import lock
from holdfast.errors import LockedError

SCRIPTS = Path(lock.__file__).parents[1]


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with lock.hold("backup", tmp_path):
        with (
            pytest.raises(LockedError, match=rf"backup\.lock: held by process {os.getpid()} \("),
            lock.hold("backup", tmp_path),
        ):
            pass
        with lock.hold("binlogs", tmp_path):
            pass
    with lock.hold("backup", tmp_path):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\nfrom holdfast.lock import hold\n"
        "with hold('backup', pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(LockedError, match=f"process {process.pid}"), lock.hold("backup", tmp_path):
        pass
    process.kill()
    process.communicate()
    with lock.hold("backup", tmp_path):
        pass


def test_a_full_disk_keeps_nobody_from_the_lock() -> None:
    full = Path("/dev/full")  # takes the lock, and no byte
    with lock.hold(full, Path("/nonexistent")), pytest.raises(LockedError), lock.hold(full, Path("/nonexistent")):
        pass
