"""The only module that starts processes.

Every child gets a process group of its own, a clean environment, its standard error drained, and SIGKILL from
the kernel when the thread that started it ends. So a `kill -9` of this program leaves nothing running; and so a
child must be started by a thread that outlives it: the main thread, or a worker that waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

from holdfast.errors import ToolError
from holdfast.stages import Outcome, Stage, complaint_of_exit_status, first_to_break

__all__ = ["CancelledError", "Completed", "Pipeline", "Stage", "TimedOutError", "complaint_of_exit_status", "run"]

TAIL_LINES = 25
LINE_BYTES = 500
INHERITED = ("PATH", "HOME", "TMPDIR", "TERM")
GRACE_SECONDS = 10.0
POLL_SECONDS = 0.2
PIPE_BYTES = 1 << 20  # the most that a user without capabilities may ask for

# The parent may die between fork and prctl; then the child finds another parent than the one it was told.
_IF_PARENT_LIVES = '[ "$PPID" = "$0" ] || exit 125; exec "$@"'


class TimedOutError(ToolError):
    """A process was stopped because it took longer than it was given."""


class CancelledError(ToolError):
    """A process was stopped because its result is not wanted any more."""


@dataclass(frozen=True)
class Completed:
    """A process that ended: exit status (negative: the signal), all of its output, the end of its complaints."""

    exit_status: int
    stdout: bytes
    stderr_tail: str


def run(
    argv: Sequence[str],
    *,
    name: str,
    input_bytes: bytes | None = None,
    input_file: Path | None = None,
    timeout_seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    user: str | None = None,
    cancel: threading.Event | None = None,
) -> Completed:
    """Run a process to its end and keep its output in memory; it reads `input_bytes`, or else `input_file`, or nothing.

    Raises ToolError when it cannot start or, with `check`, fails; after stopping it, TimedOutError, or
    CancelledError once `cancel` is set.
    """
    stage = Stage(name, tuple(argv), environment=environment, user=user)
    with _as_input(input_bytes, input_file) as stdin:
        child = Child(stage, stdin=stdin, drain=False)
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    try:
        while True:
            try:
                stdout, stderr = child.popen.communicate(timeout=POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if cancel is not None and cancel.is_set():
                    raise CancelledError(f"{name}: stopped, its result is not wanted any more") from None
                if deadline is not None and time.monotonic() > deadline:
                    raise TimedOutError(f"{name}: took longer than {timeout_seconds:g} s and was stopped") from None
    except BaseException:
        if child.popen.returncode is None:
            stop_children([child], grace_seconds=0.0)
        raise
    completed = Completed(child.popen.returncode, stdout, _tail(stderr))
    complaint = complaint_of_exit_status(completed.exit_status, completed.stderr_tail)
    if check and complaint is not None:
        raise _broken(name, complaint, completed.stderr_tail)
    return completed


class Pipeline:
    """Processes joined by pipes, as a context manager.

    `stdout` is the last stage's output (None with `keep_stdout=False`), `stdin` the first one's input when `feed`.
    Read or write all of it, then call `finish`. Leaving the block by an exception stops every process group.
    """

    def __init__(self, stages: Sequence[Stage], feed: bool = False, *, keep_stdout: bool = True) -> None:
        self._stages = tuple(stages)
        self._feed = feed
        self._keep_stdout = keep_stdout
        self._children: list[Child] = []
        self._judged = False
        self.stdout: BinaryIO | None = None
        self.stdin: BinaryIO | None = None

    def __enter__(self) -> Self:
        source: int | IO[bytes] = subprocess.PIPE if self._feed else subprocess.DEVNULL
        try:
            for number, stage in enumerate(self._stages, start=1):
                last = number == len(self._stages)
                output = subprocess.DEVNULL if last and not self._keep_stdout else subprocess.PIPE
                child = Child(stage, stdin=source, stdout=output)
                self._children.append(child)
                if isinstance(source, int):
                    self.stdin = cast("BinaryIO | None", child.popen.stdin)
                else:
                    # Only the two stages may hold the pipe, or its writer never learns that the reader died.
                    source.close()
                if child.popen.stdout is not None:
                    source = child.popen.stdout
                    # Fewer turns between two stages. Refused to a user with many pages in pipes: it then stays small.
                    with contextlib.suppress(OSError):
                        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except BaseException:
            self.stop()
            raise
        self.stdout = cast("BinaryIO | None", self._children[-1].popen.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if not self._judged and (error is None or isinstance(error, BrokenPipeError)):
                # A broken pipe at our end says only that a stage died; finish() says which and why.
                self.finish()
        finally:
            self.stop()

    def finish(self, timeout_seconds: float = 300.0) -> None:
        """Wait until every stage ended well; ToolError names the one that broke first.

        Once a stage broke the others get a short grace; what runs after `timeout_seconds` is stopped (TimedOutError).
        """
        self._judged = True
        if self.stdin is not None:
            with contextlib.suppress(OSError):  # the first stage may be dead; it is judged below
                self.stdin.close()
        deadline = time.monotonic() + timeout_seconds
        grace_ends: float | None = None
        while running := [child for child in self._children if not child.ended.is_set()]:
            now = time.monotonic()
            if grace_ends is None and any(self._broken_outcomes()):
                grace_ends = now + GRACE_SECONDS
            if now > deadline or (grace_ends is not None and now > grace_ends):
                break
            running[0].ended.wait(POLL_SECONDS)
        # Judged before anything is stopped: what we kill ourselves is not a cause.
        blamed = first_to_break(list(self._broken_outcomes()))
        self.stop()
        if blamed is not None and blamed.complaint is not None:
            raise _broken(blamed.name, blamed.complaint, blamed.stderr_tail)
        if running:
            names = ", ".join(child.stage.name for child in running)
            raise TimedOutError(f"{names}: still running {timeout_seconds:g} s after the end of the stream; stopped")

    def stderr_of(self, name: str) -> str:
        """The last lines that the stage wrote to its standard error."""
        for child in self._children:
            if child.stage.name == name:
                return child.stderr_tail()
        raise KeyError(name)

    def stop(self) -> None:
        """Terminate, then kill, what still runs, and close our ends of the pipes."""
        stop_children(self._children)

    def _broken_outcomes(self) -> list[Outcome]:
        ended = [child.outcome() for child in self._children if child.ended.is_set()]
        return [outcome for outcome in ended if outcome.complaint is not None]


class Child:
    """One started process; for this module and service.py."""

    def __init__(
        self, stage: Stage, *, stdin: int | IO[bytes], stdout: int = subprocess.PIPE, drain: bool = True
    ) -> None:
        if shutil.which(stage.argv[0]) is None:
            raise ToolError(
                f"{stage.name}: {stage.argv[0]} is not installed on this host",
                remedy="Run the playbook that sets up this host again.",
            )
        self.stage = stage
        self.ended = threading.Event()
        self._ended_at = 0.0
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        wrapper = ["setpriv", "--pdeathsig", "KILL"]
        if stage.user is not None:
            # Not the program's own --user: changing credentials after prctl would clear the death signal.
            wrapper += ["--reuid", stage.user, "--regid", str(_group_of(stage)), "--init-groups"]
        environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
        self.popen = subprocess.Popen(  # noqa: S603 - the one place; argv lists only
            [*wrapper, "--", "/bin/sh", "-c", _IF_PARENT_LIVES, str(os.getpid()), *stage.argv],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**environment, "LC_ALL": "C.UTF-8", **(stage.environment or {})},
            start_new_session=True,
        )
        if drain:
            self._drainer = threading.Thread(target=self._drain, name=f"{stage.name} stderr", daemon=True)
            self._drainer.start()
            threading.Thread(target=self._watch, name=f"{stage.name} exit", daemon=True).start()

    def _drain(self) -> None:
        stderr = cast("BinaryIO", self.popen.stderr)
        while line := stderr.readline(LINE_BYTES):
            self._lines.append(line.decode(errors="replace").rstrip())

    def _watch(self) -> None:
        # WNOWAIT keeps the zombie, hence its id, until stop_children reaps it: no signal can hit a stranger.
        with contextlib.suppress(ChildProcessError):  # stop_children killed and reaped it first
            os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOWAIT)
        self._ended_at = time.monotonic()
        # A grandchild may keep standard error open; the last lines are worth one second, not forever.
        self._drainer.join(timeout=1.0)
        self.ended.set()

    def outcome(self) -> Outcome:
        """How it ended; only once `ended` is set."""
        status = self.popen.wait(timeout=GRACE_SECONDS)
        tail = self.stderr_tail()
        return Outcome(self.stage.name, status, self._ended_at, self.stage.complaint(status, tail), tail)

    def stderr_tail(self) -> str:
        """The last lines of its standard error."""
        return "\n".join(list(self._lines))

    def signal(self, number: int) -> None:
        """Signal the whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)


def stop_children(children: Sequence[Child], grace_seconds: float | None = None) -> None:
    """Terminate, then kill, those that still run; reap all and close the pipes."""
    running = [child for child in children if not child.ended.is_set()]
    for child in running:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + (GRACE_SECONDS if grace_seconds is None else grace_seconds)
    for child in running:
        child.ended.wait(max(0.0, deadline - time.monotonic()))
    for child in running:
        # The whole group, also when its leader is gone: a grandchild may have outlived it.
        child.signal(signal.SIGKILL)
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel: dies when its disk answers
            child.popen.wait(timeout=GRACE_SECONDS)
        for pipe in (child.popen.stdin, child.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _group_of(stage: Stage) -> int:
    try:
        return pwd.getpwnam(stage.user or "").pw_gid
    except KeyError:
        raise ToolError(f"{stage.name}: this host has no user {stage.user}") from None


@contextlib.contextmanager
def _as_input(content: bytes | None, path: Path | None) -> Iterator[IO[bytes]]:
    # Not a pipe: Python 3.11 forgets to go on writing when communicate() is called again after a timeout.
    with os.fdopen(os.memfd_create("input"), "w+b") if content else (path or Path(os.devnull)).open("rb") as file:
        if content:
            file.write(content)
            file.seek(0)
        yield file


def _tail(stderr: bytes) -> str:
    lines = [line[:LINE_BYTES] for line in stderr.decode(errors="replace").splitlines()]
    return "\n".join(lines[-TAIL_LINES:])


def _broken(name: str, complaint: str, stderr_tail: str) -> ToolError:
    return ToolError(f"{name}: {complaint}", meaning=stderr_tail)
