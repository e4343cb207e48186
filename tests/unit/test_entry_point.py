from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import entry_point
from holdfast.entry_point import add_to_summary, run_program, summary_line
from holdfast.errors import ExitCode, LockedError, NotThisHostError, StorageError

SCRIPTS = Path(entry_point.__file__).parents[1]
PARSER = argparse.ArgumentParser("mysql-x")


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(entry_point, "SYSLOG_SOCKET", tmp_path / "none")
    monkeypatch.setattr(entry_point, "start_logging", lambda name: logging.getLogger().setLevel(logging.INFO))


@pytest.mark.parametrize(
    ("error", "status", "level"),
    [
        (None, 0, logging.INFO),
        (StorageError("the bucket is gone"), 5, logging.ERROR),
        (LockedError("held"), 6, logging.ERROR),
        (NotThisHostError("the primary"), 75, logging.INFO),
        (ValueError("oops"), 1, logging.ERROR),
        (OSError(errno.ENOSPC, "No space left on device"), 4, logging.ERROR),
        (KeyboardInterrupt(), 130, logging.ERROR),
    ],
)
def test_exit_statuses(error: BaseException | None, status: int, level: int, caplog: pytest.LogCaptureFixture) -> None:
    def main(arguments: argparse.Namespace) -> ExitCode:
        del arguments
        add_to_summary(type="full", reason="no parent")
        if error is not None:
            raise error
        return ExitCode.DONE

    assert run_program("mysql-x", main, PARSER, []) == status
    assert max(record.levelno for record in caplog.records) == level
    assert caplog.records[-1].getMessage().startswith(f"summary exit={status} seconds=0.")
    assert caplog.records[-1].getMessage().endswith('type=full reason="no parent"')
    if isinstance(error, ValueError):
        assert "Traceback" in caplog.text


def test_a_wrong_command_line_is_status_2() -> None:
    with pytest.raises(SystemExit) as caught:
        run_program("mysql-x", lambda _: 0, PARSER, ["--what"])
    assert caught.value.code == ExitCode.USAGE


def test_summary_quotes_what_has_blanks() -> None:
    assert summary_line({"a": 1, "b": "", "c": 'x "y"\nz'}) == 'summary a=1 b="" c="x \'y\' z"'


def test_sigterm_cleans_up_and_stops_what_was_started(tmp_path: Path) -> None:
    program = (
        "import argparse, sys\nfrom holdfast.entry_point import run_program\n"
        "from holdfast.process import Pipeline, Stage\n"
        "def main(_):\n"
        "    try:\n"
        f"        with Pipeline([Stage('s', ('sh', '-c', 'echo $$ > {tmp_path}/pid; echo; exec sleep 60'))]) as p:\n"
        "            p.stdout.readline(); print('up', flush=True); p.stdout.read()\n"
        "    finally:\n"
        f"        open('{tmp_path}/cleaned', 'w').close()\n"
        "sys.exit(run_program('mysql-x', main, argparse.ArgumentParser()))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"mysql-x: stopped by SIGTERM" in stderr
    assert (tmp_path / "cleaned").exists()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
