"""A stream of any length as stored segments of a known size, and back.

Memory stays at a few chunks, the spool at a few segments, whatever the length. A segment is what is uploaded,
checked and tried again by itself, so a passing storage error never starts the engine over.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from holdfast.backup.spool import disk_errors, private_spool
from holdfast.backup.store import Store
from holdfast.errors import StorageError

CHUNK_BYTES = 1 << 20
READ_ATTEMPTS = 2


@dataclass(frozen=True)
class Segment:
    """One stored piece: `name` relative to <cluster>/, `size` in bytes, `sha256` of exactly these bytes."""

    name: str
    size: int
    sha256: str


def segment_name(prefix: str, number: int) -> str:
    """The name of the segment with this number, counted from 1."""
    return f"{prefix}/segment-{number:06d}.lz4"


def write_segments(
    source: BinaryIO,
    *,
    store: Store,
    prefix: str,
    segment_bytes: int,
    spool_directory: Path,
    upload_parallel: int,
    rate_limit: int = 0,
) -> list[Segment]:
    """Cut `source` into segments and upload them while reading on; their list, in order.

    The folder `prefix` must be empty: what is there is overwritten. `rate_limit` is in bytes per second, 0 for none.
    Raises StorageError as soon as a segment cannot be uploaded, ToolError when the spool's disk is full. On any error
    the other uploads are stopped; the caller leaves its Pipeline by the error, which stops the source.
    """
    with private_spool(spool_directory) as spool, _Uploads(store, upload_parallel) as uploads:
        pace = Pace(rate_limit)
        segments: list[Segment] = []
        chunk = _read(source, segment_bytes)
        while chunk:
            name = segment_name(prefix, len(segments) + 1)
            uploads.wait_for_room()
            local = spool / Path(name).name
            digest = hashlib.sha256()
            size = 0
            with local.open("xb", buffering=0) as file:
                while chunk:
                    with disk_errors(spool_directory):
                        _write_all(file, chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    uploads.check()
                    pace.wait(len(chunk))
                    if size == segment_bytes:
                        break
                    chunk = _read(source, segment_bytes - size)
            segments.append(Segment(name, size, digest.hexdigest()))
            uploads.start(local, name)
            chunk = _read(source, segment_bytes)
        uploads.finish()
    require_stored(segments, store, prefix)
    return segments


def require_stored(segments: Sequence[Segment], store: Store, prefix: str) -> None:
    """Raise StorageError naming the first segment that the store does not list with its size."""
    sizes = {stored.name: stored.size for stored in store.list(prefix)} if segments else {}
    for segment in segments:
        if sizes.get(segment.name) != segment.size:
            has = f"has {sizes[segment.name]} bytes of it" if segment.name in sizes else "does not have it"
            raise StorageError(
                f"{segment.name}: {segment.size} bytes were uploaded, the store {has}",
                meaning="The upload was reported as done and is not. This backup does not count.",
                remedy="It is taken again within the hour; if that fails too, look at the store.",
            )


def read_segments(segments: Sequence[Segment], store: Store, spool: Path, parallel: int) -> Iterator[bytes]:
    """The bytes of the segments in order, `parallel` of them fetched ahead.

    No byte of a segment is given out before its size and SHA-256 were found right; else StorageError names it.
    """
    cancel = threading.Event()
    with private_spool(spool) as folder, ThreadPoolExecutor(parallel, "fetch") as pool:
        ahead: deque[Future[Path]] = deque()
        rest = iter(segments)
        try:
            while True:
                while len(ahead) < parallel and (segment := next(rest, None)) is not None:
                    ahead.append(pool.submit(_fetch, segment, store, folder, cancel))
                if not ahead:
                    return
                local = ahead.popleft().result()
                with local.open("rb") as file:
                    while chunk := file.read(CHUNK_BYTES):
                        yield chunk
                local.unlink()
        finally:
            cancel.set()
            pool.shutdown(cancel_futures=True)


class Pace:
    """Holds a reader back to a number of bytes per second; 0 never holds it back."""

    def __init__(self, bytes_per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._due = clock()
        self._pause = threading.Event()

    def delay(self, size: int) -> float:
        """Seconds to wait after `size` more bytes."""
        if self._bytes_per_second == 0:
            return 0.0
        # Time in which nothing came is not saved up for a burst later.
        self._due = max(self._due, self._clock()) + size / self._bytes_per_second
        return self._due - self._clock()

    def wait(self, size: int) -> None:
        """Wait as long as `delay` says."""
        delay = self.delay(size)
        if delay > 0:
            self._pause.wait(delay)


class _Uploads:
    """Uploads in threads; at most `parallel` + 1 files, with the one being written, exist at a time."""

    def __init__(self, store: Store, parallel: int) -> None:
        self._store = store
        self._parallel = parallel
        self._cancel = threading.Event()
        self._pool = ThreadPoolExecutor(parallel, "upload")
        self._running: list[Future[None]] = []

    def __enter__(self) -> _Uploads:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel.set()
        self._pool.shutdown(cancel_futures=True)

    def start(self, local: Path, name: str) -> None:
        self._running.append(self._pool.submit(self._upload, local, name))

    def check(self) -> None:
        """Raise what an upload that ended raised."""
        still = []
        for upload in self._running:
            if upload.done():
                upload.result()
            else:
                still.append(upload)
        self._running = still

    def wait_for_room(self) -> None:
        self._wait_until_at_most(self._parallel)

    def finish(self) -> None:
        self._wait_until_at_most(0)

    def _wait_until_at_most(self, number: int) -> None:
        self.check()
        while len(self._running) > number:
            wait(self._running, return_when=FIRST_COMPLETED)
            self.check()

    def _upload(self, local: Path, name: str) -> None:
        try:
            # The folder was found empty and is listed at the end; asking for each segment costs two processes more.
            self._store.put(local, name, overwrite=True, listed_later=True, cancel=self._cancel)
        finally:
            local.unlink(missing_ok=True)


def _fetch(segment: Segment, store: Store, folder: Path, cancel: threading.Event) -> Path:
    local = folder / Path(segment.name).name
    size, found = 0, ""
    for _ in range(READ_ATTEMPTS):
        with disk_errors(folder.parent):
            try:
                store.get(segment.name, local, cancel=cancel)
            except StorageError as error:
                if "no space left on device" in error.meaning.lower():
                    raise OSError(errno.ENOSPC, "") from None
                raise
            with local.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            size = local.stat().st_size
        if (size, found) == (segment.size, segment.sha256):
            return local
    raise StorageError(
        f"{segment.name}: is not what was stored",
        meaning=f"{size} bytes with SHA-256 {found}, recorded were {segment.size} with {segment.sha256}. "
        "Someone altered or damaged it; nothing of it was used.",
        remedy="Use another backup, or an older version of the object if the bucket keeps versions.",
    )


def _read(source: BinaryIO, at_most: int) -> bytes:
    return source.read(min(at_most, CHUNK_BYTES))


def _write_all(file: FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
