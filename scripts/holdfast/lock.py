"""One run at a time, by a lock that the kernel drops when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import LockedError


@contextlib.contextmanager
def hold(name: str | Path, state_directory: Path) -> Iterator[None]:
    """Hold the lock <state_directory>/<name>.lock (or the file at an absolute path) inside the block.

    Raises LockedError, which names the holder's process id and program, at once when another process has it.
    """
    path = Path(name) if Path(name).is_absolute() else state_directory / f"{name}.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Neither truncated nor unlinked: the text is the holder's, and a new file would be another lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
            raise LockedError(
                f"{path}: held by {holder}",
                meaning="Another run of the same job is at work; this one did nothing.",
                remedy="Let it finish. Deleting the file does not help and allows two runs at once.",
            ) from None
        # Who holds it is said for people; a full disk must not keep the watcher from telling that it is full.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} ({Path(sys.argv[0]).name or 'python'})\n".encode(), 0)
        yield
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
