"""A server that runs beside our work for a while, such as a side mysqld."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from holdfast.errors import ToolError
from holdfast.process import Child, TimedOutError, stop_children
from holdfast.stages import Stage

POLL_SECONDS = 0.2


class Service:
    """Starts a process, waits until `ready()` is true, and stops it when the block is left.

    `ready` is asked every 0.2 s for at most `timeout_seconds`. `user` is who it runs as: give it here, not by the
    program's own --user, or a `kill -9` of this program leaves it running. Raises ToolError with its last lines.
    """

    def __init__(
        self,
        name: str,
        argv: tuple[str, ...],
        ready: Callable[[], bool],
        timeout_seconds: float,
        *,
        stop_timeout_seconds: float = 120.0,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._stage = Stage(name, tuple(argv), environment=environment, user=user)
        self._ready = ready
        self._timeout_seconds = timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._child: Child | None = None

    def __enter__(self) -> Self:
        child = self._child = Child(self._stage, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        pause = threading.Event()
        deadline = time.monotonic() + self._timeout_seconds
        try:
            while not self._ready():
                self.check()
                if time.monotonic() > deadline:
                    raise TimedOutError(
                        f"{self._stage.name}: not ready after {self._timeout_seconds:g} s", meaning=child.stderr_tail()
                    )
                pause.wait(POLL_SECONDS)
            # Whoever answered may be another server than ours, which ended because that one was there.
            self.check()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raise ToolError if the process ended."""
        if self._child is not None and self._child.ended.is_set():
            outcome = self._child.outcome()
            raise ToolError(
                f"{self._stage.name}: ended by itself, {outcome.complaint or 'with status 0'}",
                meaning=outcome.stderr_tail,
            )

    def wait_until_ended(self, timeout_seconds: float) -> None:
        """Wait for a shutdown asked for in another way, such as SHUTDOWN in SQL; TimedOutError if it goes on."""
        if self._child is not None and not self._child.ended.wait(timeout_seconds):
            raise TimedOutError(f"{self._stage.name}: still running {timeout_seconds:g} s after it was asked to stop")

    def stderr_tail(self) -> str:
        """The last lines of its standard error."""
        return "" if self._child is None else self._child.stderr_tail()

    def stop(self) -> None:
        """Ask it to end, and kill it after `stop_timeout_seconds`."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                stop_children([self._child], grace_seconds=self._stop_timeout_seconds)
