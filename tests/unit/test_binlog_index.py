"""A day's index: when it is due, that it is always the same, that a wrong one is refused, and that it saves reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup import binlog_job
from holdfast.backup.binlog_index import INDEXES, Index, all_entries, due, is_entry, is_index, read_entries
from holdfast.backup.catalog_cache import Cache
from holdfast.backup.indexed_day import Day, day_of_index
from holdfast.backup.sealed import seal_compact, unseal_compact
from holdfast.config import Config, parse
from holdfast.errors import StorageError
from support.backups import LINEAGE, OTHER, START, MemoryStore, entry

# An hour each, archived a minute after: 23 of START's day, the others of the next two.
FILES = [entry(n, f"A:1-{n * 10}", f"A:{n * 10 + 1}-{n * 10 + 10}", hours=(n - 0.9, n)) for n in range(1, 61)]
MIDNIGHT = START + timedelta(hours=23)
FOREIGN = [replace(each, lineage=OTHER, host="db2") for each in FILES]


@pytest.mark.parametrize(
    ("hours", "own", "expected"),
    [
        (-0.1, LINEAGE, []),
        (0, LINEAGE, ["20261122"]),
        (24, LINEAGE, ["20261122", "20261123"]),
        (200, LINEAGE, ["20261122", "20261123", "20261124"]),
        (24, OTHER, ["20261122"]),  # another host's: a day later, by whoever comes first
        (23, OTHER, []),
    ],
)
def test_a_day_is_due_when_it_is_over(hours: float, own: str, expected: list[str]) -> None:
    made = due(FILES, (), own, MIDNIGHT + timedelta(hours=hours))
    assert [index.day for index in made] == expected
    assert all(index.name == f"binlogs/{LINEAGE}/{index.day}.index" for index in made)


def test_a_day_that_has_an_index_gets_no_other() -> None:
    first = f"binlogs/{LINEAGE}/20261122.index"
    assert [index.day for index in due(FILES, {first}, LINEAGE, MIDNIGHT + timedelta(hours=24))] == ["20261123"]


def test_it_is_the_same_whoever_makes_it_and_comes_back_as_it_was() -> None:
    (index,) = due(reversed(FILES), (), LINEAGE, MIDNIGHT)
    (again,) = due(FILES, (), LINEAGE, MIDNIGHT)
    assert index.to_json() == again.to_json()
    assert Index.from_json(index.to_json(), index.name) == index
    assert index.to_json().count(b"\n") == 1
    day = day_of_index(index.to_json(), index.name)
    assert (day.name, day.members, len(day.pieces)) == (index.name, index.members, 1)
    assert Day.from_text(day.to_text()) == day


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "its own SHA-256"),
        (lambda data: b"", "its own SHA-256"),
        (lambda data: data.replace(b"db1", b"db2", 1), "its own SHA-256"),
        (lambda data: b" " + data, "its own SHA-256"),
    ],
)
def test_a_damaged_index_is_refused(damage: Callable[[bytes], bytes], words: str) -> None:
    (index,) = due(FILES, (), LINEAGE, MIDNIGHT)
    for read in (Index.from_json, day_of_index):
        with pytest.raises(StorageError, match=words):
            read(damage(index.to_json()), index.name)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda index: replace(index, entries=()),
        lambda index: replace(index, entries=index.entries[::-1]),
        lambda index: replace(index, entries=(*index.entries, FILES[40])),
        lambda index: replace(index, entries=(FOREIGN[0], *index.entries)),
    ],
)
def test_an_index_that_says_what_cannot_be_is_refused(wrong: Callable[[Index], Index]) -> None:
    (index,) = due(FILES, (), LINEAGE, MIDNIGHT)
    with pytest.raises(StorageError, match="is not an index of archived binlogs"):
        Index.from_json(wrong(index).to_json(), index.name)
    moved = index.name.replace("20261122", "20261123")
    for read in (Index.from_json, day_of_index):
        with pytest.raises(StorageError, match="says that it is"):
            read(index.to_json(), moved)


@pytest.mark.parametrize("wrong", ["pieces", "lineage", "day", "none"])
def test_an_index_whose_parts_do_not_fit_is_refused(wrong: str) -> None:
    """Sealed, by a program that was wrong."""
    (index,) = due(FILES, (), LINEAGE, MIDNIGHT)
    document = unseal_compact(index.to_json(), "x", schema_version=1)
    if wrong == "pieces":
        document["pieces"][0]["gtids"] = document["pieces"][0]["previous_gtids"]
    elif wrong == "lineage":
        document["entries"][3]["lineage"] = OTHER
    elif wrong == "day":
        document["entries"][3]["archived_at"] = document["entries"][3]["archived_at"].replace("-22T", "-23T")
    else:
        document["entries"] = []
    data = seal_compact(document)
    with pytest.raises(StorageError, match="is not an index of archived binlogs"):
        Index.from_json(data, index.name)
    if wrong != "pieces":  # a status takes the sealed word; a restore and the cleanup do not
        with pytest.raises(StorageError, match="is not an index of archived binlogs"):
            day_of_index(data, index.name)


def filled() -> MemoryStore:
    store = MemoryStore()
    store.objects = {each.entry_name: each.to_json() for each in (*FILES, *FOREIGN)}
    return store


def read(store: MemoryStore) -> list[Any]:
    listed = store.matching(["/binlogs/*/*"])
    cache = Cache(None, "")
    cache.fetch(store.bulk, [item for item in listed if is_index(item.name)])
    return all_entries(read_entries(listed, cache, store.bulk, INDEXES))


@pytest.fixture
def config(tmp_path: Path, configuration: Callable[..., dict[str, Any]]) -> Config:
    (tmp_path / "lineage.json").write_text(
        f'{{"lineage": "{LINEAGE}", "server_uuid": "x", "clone_marker": "", "gtid_seen": "", "binlog_sequence_seen": 1,'
        ' "started_at": "2026-11-22T01:00:00+00:00", "reason": ""}'
    )
    return parse(configuration(state_directory=str(tmp_path)))


def test_the_hourly_job_writes_each_once_and_nothing_is_read_differently(config: Config) -> None:
    store = filled()
    before = read(store)
    assert binlog_job.write_indexes(config, store.store, MIDNIGHT + timedelta(hours=24)) == 3
    assert binlog_job.write_indexes(config, store.store, MIDNIGHT + timedelta(hours=24)) == 0
    written = [name for name in store.objects if is_index(name)]
    assert written == [f"binlogs/{LINEAGE}/2026112{day}.index" for day in (2, 3)] + [f"binlogs/{OTHER}/20261122.index"]
    assert read(store) == before

    fetched: list[str] = []
    fetch = store.fetch
    store.fetch = lambda names: fetched.extend(names) or fetch(names)  # type: ignore[method-assign, func-returns-value]
    read(store)
    indexed = sum(len(Index.from_json(store.objects[name], name).entries) for name in written)
    assert len(fetched) == len(FILES + FOREIGN) - indexed + len(written)


def test_an_index_that_cannot_be_stored_or_read_is_no_failure(config: Config) -> None:
    store = filled()
    store.refuse = {f"binlogs/{LINEAGE}/20261122.index"}
    assert binlog_job.write_indexes(config, store.store, MIDNIGHT) == 0
    store.refuse = set()
    (config.state_directory / binlog_job.INDEXED).write_text('{"store": "memory:lab", "schema_version": 2}\n["a", 1]\n')
    assert binlog_job.write_indexes(config, store.store, MIDNIGHT) == 1
    assert binlog_job.write_indexes(config, MemoryStore().store, MIDNIGHT) == 0


def test_a_late_entry_of_an_indexed_day_is_read_by_itself(config: Config) -> None:
    store = filled()
    late = store.objects.pop(FILES[3].entry_name)
    binlog_job.write_indexes(config, store.store, MIDNIGHT)
    store.objects[FILES[3].entry_name] = late
    assert read(store) == read(filled())


def test_names() -> None:
    assert is_index("binlogs/x/20261122.index") and is_entry("binlogs/x/binlog.000001.json")
    for name in ("binlogs/x/binlog.000001.lz4", "binlogs/20261122.index", "stream/x/1.index", "binlogs/x/y/z.json"):
        assert not is_index(name) and not is_entry(name)
