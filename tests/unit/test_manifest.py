"""A manifest survives storage and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backup.manifest import Manifest, backup_id, load_manifests, name_of_manifest, newest
from holdfast.backup.sealed import seal
from holdfast.errors import StorageError
from support.backups import START, MemoryStore, full, gtids, incremental

FULL = full("20261122T010000Z-full-db1", upper="A:1-10,B:1-3")
INCREMENTAL = incremental("20261123T010000Z-incremental-db1", FULL, hours=24, fingerprint=None)


@pytest.mark.parametrize("manifest", [FULL, INCREMENTAL, full(to_lsn=17, gtid_contained=gtids(""))])
def test_it_comes_back_as_it_was_stored(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json(), "x") == manifest


@given(place=st.integers(0, len(FULL.to_json()) - 1), byte=st.integers(0, 255))
def test_one_byte_edited_is_refused_by_name(place: int, byte: int) -> None:
    data = bytearray(FULL.to_json())
    if data[place] == byte:
        return
    data[place] = byte
    with pytest.raises(StorageError, match=r"backups/x/manifest\.json"):
        Manifest.from_json(bytes(data), "backups/x/manifest.json")


@given(length=st.integers(0, len(FULL.to_json()) - 1))
def test_a_cut_one_is_refused_by_name(length: int) -> None:
    with pytest.raises(StorageError, match=r"backups/x/manifest\.json"):
        Manifest.from_json(FULL.to_json()[:length], "backups/x/manifest.json")


def test_a_newer_one_is_refused_and_says_what_to_do() -> None:
    document = json.loads(FULL.to_json())
    del document["sha256_of_document"]
    with pytest.raises(StorageError, match="schema_version 2.*knows up to 1") as refused:
        Manifest.from_json(seal({**document, "schema_version": 2}), "x")
    assert refused.value.remedy == "Update the programs on this host first."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "unknown: extra"),
        ({"type": "differential"}, "differential"),
        ({"gtid_upper": "nonsense"}, "nonsense"),
        ({"started_at": "yesterday"}, "yesterday"),
    ],
)
def test_a_sealed_but_wrong_one_is_refused(changes: dict[str, Any], message: str) -> None:
    document = json.loads(FULL.to_json()) | changes
    del document["sha256_of_document"]
    with pytest.raises(StorageError, match=message):
        Manifest.from_json(seal(document), "x")


def test_its_id_is_its_folder() -> None:
    assert backup_id(START, "full", "db1") == "20261122T010000Z-full-db1"
    assert name_of_manifest("x") == "backups/x/manifest.json"


def test_loading_leaves_out_what_does_not_count() -> None:
    memory_store = MemoryStore()
    memory_store.objects[name_of_manifest(FULL.id)] = FULL.to_json()
    memory_store.objects[name_of_manifest(INCREMENTAL.id)] = INCREMENTAL.to_json()
    memory_store.objects[f"backups/{FULL.id}/segment-000001.lz4"] = b"x"
    memory_store.objects["backups/20261124T010000Z-full-db1/segment-000001.lz4"] = b"no manifest: no backup"
    memory_store.objects["backups/20261125T010000Z-full-db1/manifest.json"] = FULL.to_json()  # a copy
    manifests, damaged = load_manifests(memory_store.store)
    assert manifests == [FULL, INCREMENTAL]
    assert newest(manifests) == INCREMENTAL
    assert [error.what for error in damaged] == [
        "backups/20261125T010000Z-full-db1/manifest.json says that it is 20261122T010000Z-full-db1"
    ]


def test_old_folders_are_not_opened() -> None:
    memory_store = MemoryStore()
    memory_store.objects[name_of_manifest("20250101T000000Z-full-db1")] = b"unreadable"
    memory_store.objects[name_of_manifest(FULL.id)] = FULL.to_json()
    assert load_manifests(memory_store.store, START) == ([FULL], [])


@pytest.mark.parametrize(
    "document", [{}, {"a": None, "b": 'ä\\n"', "c": 1.5, "d": True}, {"a": [1, {"b": 2}], "c": {}}]
)
def test_a_flat_document_is_spelled_as_any_other(document: dict[str, Any]) -> None:
    sealed = seal(document)
    assert sealed == (json.dumps(json.loads(sealed), indent=1, ensure_ascii=True) + "\n").encode()
