from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup import spool as spool_module
from holdfast.backup.segments import Pace, Segment, read_segments, require_stored, write_segments
from holdfast.backup.spool import private_spool
from holdfast.backup.store import Store, StoredObject
from holdfast.errors import StorageError, ToolError

SCRIPTS = Path(spool_module.__file__).parents[2]


class MemoryStore:
    """A store in memory; `broken` names cannot be uploaded, and it counts the files that wait for it."""

    def __init__(self, broken: str = "") -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = broken
        self.most_files = 0
        self.kept_bytes: int | None = None
        self.gate = threading.Event()
        self.gate.set()

    def put(self, local: Path, name: str, *, overwrite: bool, listed_later: bool, cancel: threading.Event) -> None:
        assert overwrite and listed_later
        self.most_files = max(self.most_files, len(list(local.parent.iterdir())))
        if self.broken and self.broken in name:
            raise StorageError(f"{name}: refused")
        while not self.gate.wait(0.01) and not cancel.is_set():
            pass
        self.objects[name] = local.read_bytes()

    def list(self, prefix: str) -> list[StoredObject]:
        kept = {name: data[: self.kept_bytes] for name, data in self.objects.items() if name.startswith(prefix)}
        return [StoredObject(name, len(data), datetime(2026, 11, 22, tzinfo=UTC)) for name, data in kept.items()]

    def get(self, name: str, local: Path, *, cancel: threading.Event) -> None:
        del cancel
        local.write_bytes(self.objects[name])


def write(store: MemoryStore, content: bytes, spool: Path, **options: Any) -> list[Segment]:
    arguments: dict[str, Any] = {"prefix": "backups/x", "segment_bytes": 1000, "upload_parallel": 2} | options
    source = cast(io.BytesIO, options.pop("source", None)) or io.BytesIO(content)
    arguments.pop("source", None)
    return write_segments(source, store=cast(Store, store), spool_directory=spool, **arguments)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000, 12345])
@pytest.mark.parametrize("parallel", [1, 3])
def test_what_was_written_is_read(tmp_path: Path, size: int, parallel: int) -> None:
    store, content = MemoryStore(), os.urandom(size)
    segments = write(store, content, tmp_path, upload_parallel=parallel)
    assert [segment.size for segment in segments] == [min(1000, size - start) for start in range(0, size, 1000)]
    assert all(hashlib.sha256(store.objects[s.name]).hexdigest() == s.sha256 for s in segments)
    assert b"".join(read_segments(segments, cast(Store, store), tmp_path, parallel)) == content
    assert list(tmp_path.iterdir()) == []
    assert store.most_files <= parallel + 1


def test_a_store_that_keeps_less_than_it_was_given_is_found_out(tmp_path: Path) -> None:
    store = MemoryStore()
    store.kept_bytes = 999
    with pytest.raises(StorageError, match="segment-000001.lz4: 1000 bytes were uploaded, the store has 999"):
        write(store, b"x" * 2500, tmp_path)
    store.kept_bytes = None
    del store.objects["backups/x/segment-000002.lz4"]
    stored = [Segment(f"backups/x/segment-{n:06d}.lz4", size, "") for n, size in ((1, 1000), (2, 1000), (3, 500))]
    with pytest.raises(StorageError, match="segment-000002.lz4: .* the store does not have it"):
        require_stored(stored, cast(Store, store), "backups/x")


def test_names_sort_in_order(tmp_path: Path) -> None:
    names = [segment.name for segment in write(MemoryStore(), b"x" * 2500, tmp_path)]
    assert names == [f"backups/x/segment-{number:06d}.lz4" for number in (1, 2, 3)]


def test_a_failed_upload_ends_the_run_and_the_others(tmp_path: Path) -> None:
    class Endless(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            self.taken += size or 0
            return b"x" * (size or 0)

    source = Endless()
    with pytest.raises(StorageError, match="segment-000003"):
        write(MemoryStore(broken="segment-000003"), b"", tmp_path, source=source)
    assert source.taken < 20_000
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("holdfast.backup.segments._write_all", full)
    with pytest.raises(ToolError, match=f"{tmp_path}: the disk is full"):
        write(MemoryStore(), b"x" * 5000, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_spool_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"{tmp_path}/none: No such file"):
        write(MemoryStore(), b"x", tmp_path / "none")


@pytest.mark.parametrize("damage", [b"y" * 1000, b"x" * 999, b""])
def test_a_damaged_segment_is_named_and_none_of_its_bytes_given_out(tmp_path: Path, damage: bytes) -> None:
    store = MemoryStore()
    segments = write(store, b"x" * 3000, tmp_path)
    store.objects[segments[1].name] = damage
    given = b""
    with pytest.raises(StorageError, match="segment-000002.lz4: is not what was stored"):
        for chunk in read_segments(segments, cast(Store, store), tmp_path, 3):
            given += chunk
    assert given == b"x" * 1000
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_stops_early_leaves_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    chunks = read_segments(write(store, b"x" * 3000, tmp_path), cast(Store, store), tmp_path, 2)
    next(chunks)
    cast(Any, chunks).close()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib\nfrom holdfast.backup.spool import private_spool\n"
        "with private_spool(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'x').write_text('x'); print(folder, flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().decode().strip())
    with private_spool(tmp_path):
        assert folder.exists()
    process.kill()
    process.communicate()
    assert folder.exists()
    with private_spool(tmp_path):
        assert not folder.exists()


def test_pace_holds_back_without_saving_up() -> None:
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    assert pace.delay(50) == 0.5
    assert pace.delay(50) == 1.0
    now = 60.0
    assert pace.delay(100) == 1.0
    assert Pace(0).delay(10**9) == 0.0


@pytest.mark.skipif(shutil.which("rclone") is None, reason="needs rclone (make setup installs it)")
def test_memory_stays_small_with_real_rclone(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "spool").mkdir()
    (tmp_path / "rclone.conf").write_text(f"[offsite]\ntype = alias\nremote = {tmp_path}/remote\n")
    program = (
        "import sys, pathlib\n"
        "from holdfast.backup.segments import write_segments\nfrom holdfast.backup.store import Store\n"
        "from holdfast.config import StoreConfig\nfrom holdfast.process import Pipeline, Stage\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "store = Store(StoreConfig(here / 'rclone.conf', 'offsite:', False, 2, 0, 60), 'lab')\n"
        "with Pipeline([Stage('zeros', ('head', '-c', '300000000', '/dev/zero'))]) as pipeline:\n"
        "    written = write_segments(pipeline.stdout, store=store, prefix='b', segment_bytes=1 << 26,\n"
        "                             spool_directory=here / 'spool', upload_parallel=2)\n"
        "    pipeline.finish()\n"
        # not getrusage: a program's maximum begins with that of the process that started it
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(sum(s.size for s in written), status['VmHWM'].split()[0])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.split()
    assert int(output[0]) == 300_000_000
    assert int(output[1]) < 150 * 1024
