"""A folder of one's own on the spool's disk, gone afterwards and, after a kill -9, gone at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import DISK_FULL, ToolError

_PREFIX = "segments-"


@contextlib.contextmanager
def private_spool(directory: Path) -> Iterator[Path]:
    """An empty folder below `directory`; those of runs that were killed are removed first.

    Raises ToolError when the disk is full or the directory cannot be written to.
    """
    # Only the holder of the lock on the directory creates or removes. A folder in use is known by the lock on the
    # folder, which the kernel drops with its process, so no process id is ever compared.
    with disk_errors(directory), _locked(directory, fcntl.LOCK_EX):
        remove_leftovers(directory)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def remove_leftovers(directory: Path) -> None:
    """Remove the folders that no living process holds."""
    for folder in directory.glob(f"{_PREFIX}*"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn an OSError about the spool's disk into a ToolError that names the directory."""
    try:
        yield
    except OSError as error:
        full = error.errno in DISK_FULL
        raise ToolError(
            f"{directory}: {'the disk is full' if full else error.strerror or str(error)}",
            meaning="The spool holds segments on their way to or from the store; the run was stopped.",
            remedy="Free space on that disk; the spool needs a few times backup.segment_bytes." if full else "",
        ) from None


@contextlib.contextmanager
def _locked(folder: Path, mode: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)
