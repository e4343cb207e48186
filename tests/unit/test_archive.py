"""The digest of the store: what is fetched, what is remembered, and that it says the same as all objects together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup import archive
from holdfast.backup.archive_pieces import fold, numbers_in, numbers_text
from holdfast.backup.binlog_index import Index, due
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.bulk import Bulk
from holdfast.backup.coverage import coverage
from holdfast.backup.manifest import Manifest, name_of_manifest
from holdfast.backup.store import Store
from holdfast.backup.stream_piece import StreamPiece
from holdfast.backup.stream_sign import StreamSign, name_of_sign
from holdfast.config import parse
from support.backups import LINEAGE, OTHER, START, entry, full, gtids, incremental, streamed

FULL = full("20261122T010000Z-full-db1", upper="A:1-10")
FILES = [entry(n, f"A:1-{n * 10}", f"A:{n * 10 + 1}-{n * 10 + 10}", hours=(n - 0.9, n)) for n in range(1, 30)]


class Counted(Bulk):
    """Counts its calls of rclone by kind."""

    calls: list[str]

    def listing(self, prefix: str = "", *, include: Any = (), expected: int = 0) -> Any:
        if prefix == "backups":  # of a look at all folders the first
            self.calls.append("list")
        return super().listing(prefix, include=include, expected=expected)

    def fetch(self, names: Any) -> Any:
        if names:
            self.calls.append(f"copy {len(names)}")
        return super().fetch(names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "remote" / "lab").mkdir(parents=True)
    return tmp_path / "remote" / "lab"


@pytest.fixture
def store(tmp_path: Path, folder: Path, configuration: Callable[..., dict[str, Any]]) -> Store:
    (tmp_path / "rclone.conf").write_text("[here]\ntype = local\n")
    changes = {
        "store.rclone_config_file": str(tmp_path / "rclone.conf"),
        "store.remote": f"here:{folder.parent}",
        "store.attempts": 1,
    }
    config = parse(configuration(**changes))
    made = Store(config.store, "lab")
    made.bulk = Counted(config.store, "lab")
    made.bulk.calls = []
    return made


def calls(store: Store) -> list[str]:
    assert isinstance(store.bulk, Counted)
    return store.bulk.calls


def put(folder: Path, *items: Manifest | BinlogEntry | Index | StreamPiece | StreamSign) -> None:
    for item in items:
        match item:
            case Manifest():
                name = name_of_manifest(item.id)
            case Index():
                name = item.name
            case StreamPiece():
                name = item.record_name
                put_bytes(folder, item.object_name, b"x")
            case StreamSign():
                name = name_of_sign(item.host)
            case _:
                name = item.entry_name
        put_bytes(folder, name, item.to_json())


def put_bytes(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def test_one_listing_and_one_copy_of_what_is_new(store: Store, folder: Path, tmp_path: Path) -> None:
    put(folder, FULL, *FILES[:20])
    (folder / "backups" / FULL.id / "segment-000001.lz4").write_bytes(b"x")
    first = archive.look(store, tmp_path)
    assert calls(store) == ["list", "copy 1", "copy 20"]
    put(folder, *FILES[20:])
    second = archive.look(store, tmp_path)
    assert calls(store)[3:] == ["list", "copy 9"]
    third = archive.look(store, tmp_path)
    assert calls(store)[5:] == ["list"]
    assert third == second != first
    assert sum(piece.files for piece in third.pieces) == 29
    assert third.manifests[0].id == FULL.id
    assert (tmp_path / archive.DIGEST).stat().st_mode & 0o777 == 0o600


def test_pieces_lead_as_far_as_the_entries_that_they_stand_for(store: Store, folder: Path, tmp_path: Path) -> None:
    later = incremental("20261123T010000Z-incremental-db1", FULL, hours=24, upper="A:1-240")
    other = [
        entry(
            n, f"A:1-{n * 7}", f"A:{n * 7 + 1}-{n * 7 + 7}", hours=(n * 0.7, n * 0.7), lineage=f"{OTHER}-x", host="db2"
        )
        for n in range(1, 20)
    ]
    for files in (FILES, [*FILES[:5], *FILES[6:]], [*FILES[:3], *other, *FILES[9:]], []):
        pieces = fold(files[:3]) + fold([each for each in files[3:]])
        whole, folded = coverage([FULL, later], files), coverage([FULL, later], pieces)
        assert folded.windows == whole.windows
        assert [(hole.start, hole.end) for hole in folded.holes] == [(hole.start, hole.end) for hole in whole.holes]


def test_a_day_goes_on_and_stays_one_piece(store: Store, folder: Path, tmp_path: Path) -> None:
    for number in range(6):
        put(folder, FILES[number])
        seen = archive.look(store, tmp_path)
    assert [piece.files for piece in seen.pieces] == [6]
    assert seen.pieces[0].gtids == gtids("A:11-70")
    assert seen.archived == {"db1": START + timedelta(hours=6, minutes=1)}


def test_a_gap_that_is_filled_later(store: Store, folder: Path, tmp_path: Path) -> None:
    put(folder, FILES[0], *FILES[2:5])
    assert [piece.files for piece in archive.look(store, tmp_path).pieces] == [1, 3]
    put(folder, FILES[1])
    seen = archive.look(store, tmp_path)
    assert sum(piece.files for piece in seen.pieces) == 5
    assert not coverage([FULL], seen.pieces).holes


def test_what_vanished_no_longer_counts_and_its_neighbours_do(store: Store, folder: Path, tmp_path: Path) -> None:
    put(folder, FULL, *FILES[:5])
    archive.look(store, tmp_path)
    (folder / FILES[0].entry_name).unlink()
    (folder / name_of_manifest(FULL.id)).unlink()
    seen = archive.look(store, tmp_path)
    assert calls(store)[-1] == "list"
    assert not seen.manifests
    assert [piece.previous_gtids for piece in seen.pieces] == [gtids("A:1-20")]


def test_what_is_damaged_is_said_each_time(store: Store, folder: Path, tmp_path: Path) -> None:
    put(folder, FULL, FILES[0])
    name = name_of_manifest(FULL.id)
    (folder / name).write_bytes(FULL.to_json().replace(b"db1", b"db2"))
    moved = folder / "binlogs" / LINEAGE / "binlog.000099.json"
    moved.write_bytes(FILES[0].to_json())
    for _ in range(2):
        assert sorted(archive.look(store, tmp_path).damaged) == [
            f"{name} does not match its own SHA-256",
            f"binlogs/{LINEAGE}/binlog.000099.json says that it is {FILES[0].entry_name}",
        ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[" * 100,
        '{"store": "elsewhere:lab"}',
        '{"store": "STORE", "schema_version": 9}\n["NAME", 9, "{}"]',
        '{"store": "STORE", "schema_version": 2}\n["NAME"]',
        '{"store": "STORE", "schema_version": 2}\n["NAME", 9, "{\\"id\\": 1}"]',
        '{"store": "STORE", "schema_version": 2}\n["NAME", 9, {}]',
    ],
)
def test_a_digest_that_cannot_be_used_is_made_anew(store: Store, folder: Path, tmp_path: Path, text: str) -> None:
    put(folder, FULL)
    text = text.replace("STORE", store.address).replace("NAME", name_of_manifest(FULL.id))
    (tmp_path / archive.DIGEST).write_text(text)
    assert len(archive.look(store, tmp_path).manifests) == 1
    assert archive.look(store, tmp_path).manifests[0].id == FULL.id
    assert calls(store).count("copy 1") == 1 and calls(store)[-1] == "list"


def test_an_empty_bucket_is_an_empty_archive(store: Store, folder: Path, tmp_path: Path) -> None:
    folder.rmdir()
    seen = archive.look(store, tmp_path)
    assert not (seen.manifests or seen.pieces or seen.damaged)


def test_drills_are_kept_and_other_state_is_not_read(store: Store, folder: Path, tmp_path: Path) -> None:
    for name in ("state/drills/20261122T010000Z.json", "state/watch/db1.json", "state/leases/x.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    for _ in range(2):
        assert archive.look(store, tmp_path).drills == {"state/drills/20261122T010000Z.json": b"{}"}
    assert calls(store) == ["list", "copy 1", "list"]


def test_a_day_that_has_an_index_is_read_by_it(store: Store, folder: Path, tmp_path: Path) -> None:
    put(folder, FULL, *FILES)
    whole = archive.look(store, tmp_path / "without")
    days = due(FILES, (), LINEAGE, START + timedelta(hours=23))  # of the first day alone
    put(folder, *days)
    before = len(calls(store))
    seen = archive.look(store, tmp_path)
    of_the_day = len(days[0].entries)
    assert calls(store)[before:] == ["list", "copy 2", f"copy {len(FILES) - of_the_day}"]
    assert coverage(seen.manifests, seen.binlogs) == coverage(whole.manifests, whole.binlogs)
    assert sum(piece.files for piece in seen.pieces) == len(FILES)
    assert archive.look(store, tmp_path) == seen == archive.look_without_asking(store, tmp_path)[0]
    assert calls(store)[before + 3 :] == ["list"]


@pytest.mark.parametrize("damage", ["cut", "edited", "moved", "an entry is gone"])
def test_a_wrong_index_does_not_count_and_its_entries_do(
    store: Store, folder: Path, tmp_path: Path, damage: str
) -> None:
    (index,) = due(FILES[:5], (), LINEAGE, START + timedelta(days=2))
    put(folder, FULL, *FILES[:5], index)
    path = folder / index.name
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-100])
    elif damage == "edited":
        path.write_bytes(data.replace(b'"size":1000', b'"size":1001', 1))
    elif damage == "moved":
        path.rename(path.with_name("20261101.index"))
    else:
        (folder / FILES[0].entry_name).unlink()
    for _ in range(2):
        seen = archive.look(store, tmp_path)
        assert sum(piece.files for piece in seen.pieces) == (4 if damage == "an entry is gone" else 5)
        assert len(seen.damaged) == (0 if damage == "an entry is gone" else 1)
        assert bool(coverage(seen.manifests, seen.binlogs).holes) == (damage == "an entry is gone")


def test_a_file_that_is_not_archived_yet_counts_as_far_as_it_was_streamed(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    pieces = [streamed(30, n, "A:1-300", f"A:{n}", hours=29 + n / 60) for n in (301, 302, 303)]
    sign = StreamSign("db1", START + timedelta(hours=29.2), LINEAGE, "binlog.000030", 2, gtids("A:1-303"))
    put(folder, FULL, *FILES, *pieces, sign)
    seen = archive.look(store, tmp_path)
    assert [(file.file, file.gtids, len(file.pieces)) for file in seen.open_files] == [
        ("binlog.000030", gtids("A:301-303"), 3)
    ]
    assert list(seen.signs) == [sign]
    assert coverage(seen.manifests, seen.binlogs).windows[0].reached == gtids("A:1-303")
    assert archive.look_without_asking(store, tmp_path)[0] == seen
    again = replace(sign, at=sign.at + timedelta(minutes=1))
    put(folder, again)
    (folder / pieces[1].object_name).unlink()
    seen = archive.look(store, tmp_path)
    assert calls(store)[-2:] == ["list", "copy 1"], "the sign is read each time"
    assert list(seen.signs) == [again]
    assert [file.gtids for file in seen.open_files] == [gtids("A:301")]
    assert seen.damaged == [
        f"stream/{LINEAGE}/binlog.000030/000002 is missing or does not follow the piece before it: "
        "of binlog.000030 its first 1 of 3 count"
    ]
    put(folder, entry(30, "A:1-300", "A:301-310", hours=(29, 29.5)))
    seen = archive.look(store, tmp_path)
    assert not (seen.open_files or seen.damaged), "the archive has all of it"


@pytest.mark.parametrize(("numbers", "text"), [([1], "1"), ([1, 2, 3, 7, 9, 10], "1-3,7,9-10")])
def test_numbers(numbers: list[int], text: str) -> None:
    assert numbers_text(numbers) == text
    assert numbers_in(text) == numbers


def test_a_thousand_backups_and_a_hundred_thousand_binlogs(capsys: pytest.CaptureFixture[str]) -> None:
    # In a process of its own: what this one took at most, each process that a later test starts would have taken too.
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'scripts'}:{root / 'tests'}"}
    argv = [sys.executable, str(root / "tests/support/large_archive.py")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600, check=True)
    found = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n1,000 manifests, 100,000 entries, seconds of a core: {found}")
    assert (found["warm_objects"], found["same"], found["windows"]) == (0, True, 1)
    assert found["cold_objects"] < 4000
    assert (found["backups"], found["binlogs"]) == (1000, 100_000)
    assert found["warm_seconds"] < 2
    assert found["cold_seconds"] < 10
