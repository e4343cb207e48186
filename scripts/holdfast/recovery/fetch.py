"""From the store to this disk: everything is checked against its recorded SHA-256 before it is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.engine import StreamOf
from holdfast.backup.manifest import Manifest
from holdfast.backup.segments import read_segments
from holdfast.backup.store import Store
from holdfast.backup.stream_piece import OpenFile, StreamPiece
from holdfast.errors import StorageError
from holdfast.process import run

DECOMPRESS_TIMEOUT_SECONDS = 3600.0


def stream_of(store: Store, spool: Path, parallel: int) -> StreamOf:
    """For an engine: the checked chunks of any backup."""

    def stream(manifest: Manifest) -> Iterable[bytes]:
        return read_segments(manifest.segments, store, spool, parallel)

    return stream


def fetch_binlog(entry: BinlogEntry, store: Store, target: Path, cancel: threading.Event | None = None) -> None:
    """One binlog, decompressed into `target`. Raises StorageError naming an object that is not what was archived."""
    if not isinstance(entry, OpenFile):
        _fetch_checked(entry, store, target, cancel)
        return
    part = target.with_name(target.name + ".piece")
    try:
        with target.open("wb") as whole:
            for piece in entry.pieces:
                _fetch_checked(piece, store, part, cancel)
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
    finally:
        part.unlink(missing_ok=True)


def _fetch_checked(
    stored: BinlogEntry | StreamPiece, store: Store, target: Path, cancel: threading.Event | None
) -> None:
    packed = target.with_name(target.name + ".lz4")
    try:
        store.get(stored.object_name, packed, cancel=cancel)
        _check(packed, stored.sha256, stored.object_name)
        run(
            ("lz4", "-d", "-q", "-f", str(packed), str(target)),
            name="lz4 -d",
            timeout_seconds=DECOMPRESS_TIMEOUT_SECONDS,
        )
    finally:
        packed.unlink(missing_ok=True)
    _check(target, stored.content_sha256, f"the content of {stored.object_name}")


def fetch_binlogs(entries: Sequence[BinlogEntry], store: Store, directory: Path, parallel: int) -> list[Path]:
    """All of them, `parallel` at a time; files named in the order of replaying."""
    directory.mkdir(mode=0o700, exist_ok=True)
    paths = [
        directory / f"{number:06d}-{entry.lineage}-{entry.file}".replace(os.sep, "_")
        for number, entry in enumerate(entries, start=1)
    ]
    cancel = threading.Event()
    with ThreadPoolExecutor(parallel, "fetch") as pool:
        jobs = [
            pool.submit(fetch_binlog, entry, store, path, cancel) for entry, path in zip(entries, paths, strict=True)
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            cancel.set()  # or SIGTERM, or one damaged file, would wait for every attempt at the others
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return paths


def _check(path: Path, expected: str, name: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise StorageError(
            f"{name} is not what was archived: SHA-256 {found}, recorded {expected}",
            meaning="It was damaged or exchanged in the store; it was not used.",
            remedy="Take the object's earlier version, or a server's own copy; else choose a target before it.",
        )
