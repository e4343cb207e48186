"""The digest of the store: what is fetched, what is remembered, and that it says the same as all objects together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup import archive, status, status_text
from holdfast.backup.archive_pieces import fold, numbers_in, numbers_text
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.coverage import coverage
from holdfast.backup.manifest import Manifest, name_of_manifest
from holdfast.backup.store import Store
from holdfast.config import parse
from support.backups import LINEAGE, OTHER, SERVER, START, entry, full, gtids, incremental

FULL = full("20261122T010000Z-full-db1", upper="A:1-10")
FILES = [entry(n, f"A:1-{n * 10}", f"A:{n * 10 + 1}-{n * 10 + 10}", hours=(n - 0.9, n)) for n in range(1, 30)]


class Counted(Store):
    """A store that counts its calls of rclone by kind."""

    calls: list[str]

    def names(self, patterns: Any) -> Any:
        self.calls.append("list")
        return super().names(patterns)

    def copy_to(self, directory: Path, names: Any) -> None:
        if names:
            self.calls.append(f"copy {len(names)}")
        super().copy_to(directory, names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "remote" / "lab").mkdir(parents=True)
    return tmp_path / "remote" / "lab"


@pytest.fixture
def store(tmp_path: Path, folder: Path, configuration: Callable[..., dict[str, Any]]) -> Counted:
    (tmp_path / "rclone.conf").write_text("[here]\ntype = local\n")
    changes = {
        "store.rclone_config_file": str(tmp_path / "rclone.conf"),
        "store.remote": f"here:{folder.parent}",
        "store.attempts": 1,
    }
    made = Counted(parse(configuration(**changes)).store, "lab")
    made.calls = []
    return made


def put(folder: Path, *items: Manifest | BinlogEntry) -> None:
    for item in items:
        name = name_of_manifest(item.id) if isinstance(item, Manifest) else item.entry_name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(item.to_json())


def test_one_listing_and_one_copy_of_what_is_new(store: Counted, folder: Path, tmp_path: Path) -> None:
    put(folder, FULL, *FILES[:20])
    (folder / "backups" / FULL.id / "segment-000001.lz4").write_bytes(b"x")
    first = archive.look(store, tmp_path)
    assert store.calls == ["list", "copy 21"]
    put(folder, *FILES[20:])
    second = archive.look(store, tmp_path)
    assert store.calls[2:] == ["list", "copy 9"]
    third = archive.look(store, tmp_path)
    assert store.calls[4:] == ["list"]
    assert third == second != first
    assert sum(piece.files for piece in third.pieces) == 29
    assert third.manifests[0].id == FULL.id
    assert (tmp_path / archive.DIGEST).stat().st_mode & 0o777 == 0o600


def test_pieces_lead_as_far_as_the_entries_that_they_stand_for(store: Counted, folder: Path, tmp_path: Path) -> None:
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


def test_a_day_goes_on_and_stays_one_piece(store: Counted, folder: Path, tmp_path: Path) -> None:
    for number in range(6):
        put(folder, FILES[number])
        seen = archive.look(store, tmp_path)
    assert [piece.files for piece in seen.pieces] == [6]
    assert seen.pieces[0].gtids == gtids("A:11-70")
    assert seen.archived == {"db1": START + timedelta(hours=6, minutes=1)}


def test_a_gap_that_is_filled_later(store: Counted, folder: Path, tmp_path: Path) -> None:
    put(folder, FILES[0], *FILES[2:5])
    assert [piece.files for piece in archive.look(store, tmp_path).pieces] == [1, 3]
    put(folder, FILES[1])
    seen = archive.look(store, tmp_path)
    assert sum(piece.files for piece in seen.pieces) == 5
    assert not coverage([FULL], seen.pieces).holes


def test_what_vanished_no_longer_counts_and_its_neighbours_do(store: Counted, folder: Path, tmp_path: Path) -> None:
    put(folder, FULL, *FILES[:5])
    archive.look(store, tmp_path)
    (folder / FILES[0].entry_name).unlink()
    (folder / name_of_manifest(FULL.id)).unlink()
    seen = archive.look(store, tmp_path)
    assert store.calls[-1] == "copy 4"
    assert not seen.manifests
    assert [piece.previous_gtids for piece in seen.pieces] == [gtids("A:1-20")]


def test_what_is_damaged_is_said_each_time(store: Counted, folder: Path, tmp_path: Path) -> None:
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
        '{"store": "STORE", "schema_version": 9, "manifests": {}, "days": {}, "drills": {}}',
        '{"store": "STORE", "schema_version": 1, "manifests": [], "days": {"x/1": {}}, "drills": {}}',
        '{"store": "STORE", "schema_version": 1, "manifests": {"NAME": {"id": 1}}, "days": {}, "drills": {}}',
    ],
)
def test_a_digest_that_cannot_be_used_is_made_anew(store: Counted, folder: Path, tmp_path: Path, text: str) -> None:
    put(folder, FULL)
    text = text.replace("STORE", store.address).replace("NAME", name_of_manifest(FULL.id))
    (tmp_path / archive.DIGEST).write_text(text)
    assert len(archive.look(store, tmp_path).manifests) == 1
    assert archive.look(store, tmp_path).manifests[0].id == FULL.id
    assert store.calls.count("copy 1") == 1 and store.calls[-1] == "list"


def test_an_empty_bucket_is_an_empty_archive(store: Counted, folder: Path, tmp_path: Path) -> None:
    folder.rmdir()
    seen = archive.look(store, tmp_path)
    assert not (seen.manifests or seen.pieces or seen.damaged)


def test_drills_are_kept_and_other_state_is_not_read(store: Counted, folder: Path, tmp_path: Path) -> None:
    for name in ("state/drills/20261122T010000Z.json", "state/watch/db1.json", "state/leases/x.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    for _ in range(2):
        assert archive.look(store, tmp_path).drills == {"state/drills/20261122T010000Z.json": b"{}"}
    assert store.calls == ["list", "copy 1", "list"]


@pytest.mark.parametrize(("numbers", "text"), [([1], "1"), ([1, 2, 3, 7, 9, 10], "1-3,7,9-10")])
def test_numbers(numbers: list[int], text: str) -> None:
    assert numbers_text(numbers) == text
    assert numbers_in(text) == numbers


def test_a_thousand_backups_and_a_hundred_thousand_binlogs(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the listing only the work on its names is measured: what the store's own answer takes is the store's."""
    manifests: list[Manifest] = []
    for number in range(1000):
        upper = f"A:1-{(number + 1) * 1000}"
        if number % 7 == 0:
            manifests.append(
                full(f"{START + timedelta(days=number):%Y%m%dT%H%M%SZ}-full-db1", hours=24 * number, upper=upper)
            )
        else:
            name = f"{START + timedelta(days=number):%Y%m%dT%H%M%SZ}-incremental-db1"
            manifests.append(incremental(name, manifests[-1], hours=24 * number, upper=upper))
    fetched = {name_of_manifest(item.id): item.to_json() for item in manifests}
    for server, line, host in ((SERVER, LINEAGE, "db1"), (OTHER, f"{OTHER}-20261101T000000Z", "db2")):
        for number in range(1, 50001):
            hour = number * 24 * 1000 / 50000
            before, last = 20 * (number - 1), 20 * number
            item = entry(
                number, f"A:1-{before + 1}", f"A:{before + 2}-{last + 1}", hours=(hour - 0.4, hour),
                lineage=line, server_uuid=server, host=host,
            )  # fmt: skip
            fetched[item.entry_name] = item.to_json()
    names = sorted(fetched)

    began = time.process_time()
    digest, lacking = archive.without_the_vanished(archive.read_digest(Path("/nonexistent"), "x"), names)
    seen, grown = archive.with_objects(digest, {name: fetched[name] for name in lacking})
    shown = status.look("lab", START + timedelta(days=1000), seen)
    text = json.dumps({"store": "x", **grown})
    cold = time.process_time() - began

    began = time.process_time()
    digest = json.loads(text)
    digest.pop("store")
    digest, lacking = archive.without_the_vanished(digest, names)
    again, _ = archive.with_objects(digest, {})
    warm_status = status.look("lab", START + timedelta(days=1000), again)
    screen = status_text.text(warm_status)
    warm = time.process_time() - began
    with capsys.disabled():
        print(
            f"\n1,000 manifests, 100,000 entries: {cold:.1f} s of a core cold, {warm:.2f} s warm, "
            f"digest of {len(text):,} bytes"
        )
    assert lacking == [] and again.pieces == seen.pieces
    assert shown.covered == warm_status.covered and len(shown.covered.windows) == 1
    assert "Restorable" in screen
    assert warm < 2
    assert cold < 10
