"""The keeper's file: durable or refused, and never believed when somebody else wrote it."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.failover import record_file
from holdfast.failover.record import Instance, Record
from holdfast.failover.record_file import Contents, RecordFile, RecordFileError, UnsureError

CONTENTS = Contents(Record(7, 3, "a", True, Instance("b", "boot", 100)), {"a": "db1", "b": "db2"})
LATER = replace(CONTENTS, record=replace(CONTENTS.record, version=8, in_sync=None))


@pytest.fixture
def file(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "record.json")


def test_what_was_written_is_read_also_by_the_next_process(file: RecordFile) -> None:
    file.settle()
    assert file.read() is None
    for contents in (CONTENTS, LATER):
        file.write(contents)
        assert file.read() == contents
        assert RecordFile(file.path).read() == contents
    assert oct(file.path.stat().st_mode & 0o777) == "0o600"
    assert [path.name for path in file.path.parent.iterdir()] == ["record.json"]


def test_file_and_folder_are_synced_before_write_returns(file: RecordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    file.write(CONTENTS)
    assert synced == [file.path.with_suffix(".tmp"), file.path.parent]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_leaves_the_old_contents(file: RecordFile, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    file.write(CONTENTS)

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RecordFileError, match=f"cannot be written: {os.strerror(number)}"):
            file.write(LATER)
    assert file.read() == CONTENTS
    assert not file.path.with_suffix(".tmp").exists()
    file.write(LATER)
    assert file.read() == LATER


def test_a_folder_that_cannot_be_synced_leaves_nobody_sure(file: RecordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(record_file, "_sync", fail)
    with pytest.raises(UnsureError, match="the folder cannot be made durable"):
        file.write(CONTENTS)
    with pytest.raises(RecordFileError, match="cannot be made durable"):
        RecordFile(file.path).settle()


def edited(document: dict[str, Any]) -> str:
    document["record"]["in_sync"] = None
    return json.dumps(document)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edited, "its checksum does not fit"),
        (lambda document: json.dumps(document)[:-5], "is damaged"),
        (lambda document: "", "is damaged"),
        (lambda document: "null", "not the keys of a record"),
        (lambda document: "[" * 5000, "is damaged"),
        (lambda document: "\udcff", "is damaged"),
        (lambda document: json.dumps({**document, "schema_version": 2}), "schema_version 2, this keeper reads 1"),
        (lambda document: json.dumps({**document, "extra": 2}), "not the keys of a record"),
        (lambda document: json.dumps({**document, "hosts": []}), "hosts: not names"),
    ],
)
def test_a_file_that_was_edited_or_damaged_is_not_believed(file: RecordFile, edit: Any, message: str) -> None:
    file.write(CONTENTS)
    text = edit(json.loads(file.path.read_text()))
    file.path.write_bytes(text.encode(errors="surrogateescape"))
    for reader in (file, RecordFile(file.path)):
        with pytest.raises(RecordFileError, match=message) as caught:
            reader.read()
        assert "Nothing is granted" in caught.value.meaning
    assert "Move" in caught.value.remedy


def test_an_older_copy_that_is_put_back_is_not_believed(file: RecordFile) -> None:
    file.write(CONTENTS)
    copy = file.path.read_bytes()
    file.write(LATER)
    file.path.write_bytes(copy)
    with pytest.raises(RecordFileError, match="was replaced while the keeper ran"):
        file.read()


def test_a_file_that_is_a_folder_or_unreadable_is_an_error_not_an_absence(file: RecordFile) -> None:
    file.path.mkdir()
    with pytest.raises(RecordFileError, match="cannot be read: Is a directory"):
        file.read()
