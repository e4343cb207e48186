from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import process
from holdfast.errors import Stopped, ToolError
from holdfast.process import CancelledError, Pipeline, Stage, TimedOutError, run
from holdfast.service import Service

SCRIPTS = Path(process.__file__).parents[1]


def sh(name: str, script: str) -> Stage:
    return Stage(name, ("sh", "-c", script))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return condition()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.5)


class TestRun:
    def test_input_output_and_status(self) -> None:
        data = b"x" * 3_000_000
        assert run(["cat"], name="cat", input_bytes=data).stdout == data
        assert run(["sh", "-c", "exit 3"], name="x", check=False).exit_status == 3

    def test_input_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 300_000)
        assert run(["wc", "-c"], name="wc", input_file=tmp_path / "file").stdout.strip() == b"300000"

    def test_slow_reader_of_input(self) -> None:
        assert run(["sh", "-c", "sleep 0.5; wc -c"], name="wc", input_bytes=b"x" * 300_000).stdout.strip() == b"300000"

    def test_failure_names_the_tool_and_gives_its_last_25_lines(self) -> None:
        with pytest.raises(ToolError) as caught:
            run(["sh", "-c", "seq 100 >&2; exit 3"], name="seq")
        assert caught.value.what == "seq: exited with status 3"
        assert caught.value.meaning.splitlines() == [str(number) for number in range(76, 101)]

    def test_a_tool_that_is_not_installed(self) -> None:
        with pytest.raises(ToolError, match="no-such-tool is not installed"):
            run(["no-such-tool"], name="x")

    def test_timeout(self) -> None:
        with pytest.raises(TimedOutError, match=r"slow: took longer than 0\.3 s"):
            run(["sleep", "60"], name="slow", timeout_seconds=0.3)

    def test_cancel_from_another_thread(self) -> None:
        cancel = threading.Event()
        threading.Timer(0.2, cancel.set).start()
        with pytest.raises(CancelledError):
            run(["sleep", "60"], name="slow", cancel=cancel)

    def test_the_environment_is_clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MYSQL_PWD", "secret")
        output = run(["env"], name="env", environment={"EXTRA": "1"}).stdout.decode()
        assert "MYSQL_PWD" not in output
        assert "EXTRA=1" in output
        assert "LC_ALL=C.UTF-8" in output


class TestPipeline:
    def test_bytes_pass_through(self) -> None:
        with Pipeline([sh("a", "head -c 5000000 /dev/zero"), sh("b", "cat")]) as pipeline:
            assert pipeline.stdout is not None
            assert len(pipeline.stdout.read()) == 5_000_000
            pipeline.finish()

    def test_pipes_that_may_not_grow_serve_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[object] = []

        def refuse(_: object, *arguments: object) -> None:
            asked.append(arguments)
            raise PermissionError

        monkeypatch.setattr(fcntl, "fcntl", refuse)
        self.test_bytes_pass_through()
        assert asked == [(fcntl.F_SETPIPE_SZ, process.PIPE_BYTES)] * 2

    def test_feed(self) -> None:
        with Pipeline([sh("wc", "wc -c")], feed=True) as pipeline:
            assert pipeline.stdin is not None
            assert pipeline.stdout is not None
            pipeline.stdin.write(b"x" * 100_000)
            pipeline.stdin.close()
            assert pipeline.stdout.read().strip() == b"100000"
            pipeline.finish()

    def test_output_may_be_discarded(self) -> None:
        with Pipeline([sh("yes", "seq 100000")], keep_stdout=False) as pipeline:
            assert pipeline.stdout is None
            pipeline.finish()

    @pytest.mark.parametrize(
        ("scripts", "blamed"),
        [
            (["exit 3", "cat", "cat"], "stage 1: exited with status 3"),
            (["yes", "head -c 100000; exit 4", "cat"], "stage 2: exited with status 4"),
            (["yes", "cat", "head -c 100000 >&2; kill -9 $$"], "stage 3: was killed by SIGKILL"),
            (["head -c 100000 /dev/zero; exit 1", "cat; exit 1", "cat"], "stage 1: exited with status 1"),
            (["true", "true", "exit 75"], "stage 3: exited with status 75"),
        ],
    )
    @pytest.mark.usefixtures("short_grace")
    def test_the_stage_that_broke_first_is_named(self, scripts: list[str], blamed: str) -> None:
        stages = [sh(f"stage {number}", script) for number, script in enumerate(scripts, start=1)]
        with pytest.raises(ToolError) as caught, Pipeline(stages) as pipeline:
            assert pipeline.stdout is not None
            while pipeline.stdout.read(65536):
                pass
            pipeline.finish()
        assert caught.value.what == blamed

    def test_leaving_the_block_judges_too(self) -> None:
        with pytest.raises(ToolError, match="a: exited with status 2"), Pipeline([sh("a", "exit 2")]):
            pass

    def test_a_dead_reader_of_what_we_feed_is_named(self) -> None:
        with pytest.raises(ToolError, match="a: exited with status 7"), Pipeline([sh("a", "exit 7")], True) as pipeline:
            assert pipeline.stdin is not None
            while True:
                pipeline.stdin.write(b"x" * 65536)

    def test_a_complaint_may_look_at_what_was_said(self) -> None:
        def unless_completed(status: int, tail: str) -> str | None:
            return None if status == 0 and tail.endswith("completed OK!") else "did not say completed OK!"

        good = Stage("engine", ("sh", "-c", "echo completed OK! >&2"), unless_completed)
        bad = Stage("engine", ("sh", "-c", "echo hm >&2"), unless_completed)
        with Pipeline([good]) as pipeline:
            pipeline.finish()
            assert pipeline.stderr_of("engine") == "completed OK!"
        with pytest.raises(ToolError, match="engine: did not say completed OK!\nhm"), Pipeline([bad]) as pipeline:
            pipeline.finish()

    @pytest.mark.usefixtures("short_grace")
    def test_a_stage_that_never_ends_is_stopped(self) -> None:
        began = time.monotonic()
        with (
            pytest.raises(TimedOutError, match="deaf: still running"),
            Pipeline([sh("deaf", "trap '' TERM; exec >&-; while :; do sleep 1; done")]) as pipeline,
        ):
            pipeline.finish(timeout_seconds=0.5)
        assert time.monotonic() - began < 5

    @pytest.mark.usefixtures("short_grace")
    def test_one_broken_stage_ends_the_wait_for_a_hanging_one(self) -> None:
        with (
            pytest.raises(ToolError, match="b: exited with status 5"),
            Pipeline([sh("a", "exec >&-; sleep 60"), sh("b", "exit 5")]) as pipeline,
        ):
            pipeline.finish(timeout_seconds=30)

    @pytest.mark.usefixtures("short_grace")
    def test_an_exception_stops_whole_process_groups(self, tmp_path: Path) -> None:
        with (
            pytest.raises(Stopped),
            Pipeline([sh("a", f"sleep 60 & echo $! > {tmp_path}/pid; wait"), sh("b", "cat")]),
        ):
            assert wait_for(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
            raise Stopped
        assert wait_for(lambda: not is_running(int((tmp_path / "pid").read_text())))

    def test_a_stage_that_cannot_start_stops_those_that_did(self) -> None:
        with pytest.raises(ToolError, match="no-such-tool"), Pipeline([sh("a", "yes"), Stage("b", ("no-such-tool",))]):
            pass

    def test_no_stage_outlives_a_killed_parent(self, tmp_path: Path) -> None:
        program = (
            "from holdfast.process import Pipeline, Stage\n"
            f"with Pipeline([Stage(str(n), ('sh', '-c', f'echo $$ > {tmp_path}/{{n}}; exec sleep 60')) "
            "for n in range(3)]) as p:\n"
            "    p.stdout.read()\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
        parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
        files = [tmp_path / str(number) for number in range(3)]
        assert wait_for(lambda: all(file.exists() and file.read_text() for file in files))
        parent.kill()
        parent.wait()
        assert wait_for(lambda: not any(is_running(int(file.read_text())) for file in files))


class TestService:
    def test_it_runs_inside_the_block_only(self, tmp_path: Path) -> None:
        flag = tmp_path / "pid"
        argv = ("sh", "-c", f"echo $$ > {flag}; exec sleep 60")
        with Service("side", argv, lambda: flag.exists() and bool(flag.read_text()), 5) as service:
            service.check()
            assert is_running(int(flag.read_text()))
        assert not is_running(int(flag.read_text()))

    def test_one_that_ends_by_itself_says_why(self) -> None:
        with (
            pytest.raises(ToolError, match="side: ended by itself, exited with status 1\nport in use"),
            Service("side", ("sh", "-c", "echo port in use >&2; exit 1"), lambda: False, 5),
        ):
            pass

    def test_one_that_is_never_ready(self) -> None:
        with (
            pytest.raises(TimedOutError, match=r"side: not ready after 0\.3 s"),
            Service("side", ("sleep", "60"), lambda: False, 0.3),
        ):
            pass

    def test_another_user_keeps_the_death_signal(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        # prctl(PR_GET_PDEATHSIG) of the process that runs as the other user
        program = (
            "import ctypes, os; v = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(v)); "
            "print(os.geteuid(), v.value)"
        )
        uid, number = run(["/usr/bin/python3", "-c", program], name="x", user="nobody").stdout.split()
        assert int(uid) != 0
        assert int(number) == signal.SIGKILL
