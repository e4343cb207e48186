"""The keeper's one file: written durably or not at all, and believed only while nobody else has touched it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import ToolError
from holdfast.failover.record import Record
from holdfast.failover.wire import WireError, from_json, to_json

SCHEMA_VERSION = 1


class RecordFileError(ToolError):
    """The file cannot be read, written or believed; nothing was changed."""


class UnsureError(ToolError):
    """The file was replaced, but may not survive a loss of power: only a restart of the keeper can tell."""


@dataclass(frozen=True)
class Contents:
    """What the file holds. `hosts` says which host each server_uuid runs on."""

    record: Record
    hosts: Mapping[str, str]


class RecordFile:
    """The file at `path`, in a folder of its own. Not safe for threads: the keeper has one lock for all it does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Contents | None = None

    @property
    def known_term(self) -> int:
        """The term that was last read or written through this object, 0 before."""
        return 0 if self._known is None else self._known.record.term

    def settle(self) -> None:
        """Make durable what lies there, before anybody is told of it. Raises RecordFileError."""
        try:
            if self.path.exists():
                _sync(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise RecordFileError(
                f"{self.path}: cannot be made durable: {error.strerror}", remedy="See to that disk."
            ) from None

    def read(self) -> Contents | None:
        """Return the contents, None without a file. Raises RecordFileError when it is not as this keeper left it."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            contents = _contents(document)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordFileError(
                f"{self.path}: cannot be read: {error.strerror}", remedy="See to that disk and the folder's owner."
            ) from None
        except (ValueError, RecursionError, WireError) as error:
            raise self._damaged(f"is damaged: {error}") from None
        if self._known is not None and contents != self._known:
            raise self._damaged("was replaced while the keeper ran")
        self._known = contents
        return contents

    def write(self, contents: Contents) -> None:
        """Replace the contents. Raises RecordFileError, or UnsureError after which this object must not be used."""
        temporary = self.path.with_suffix(".tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(_document(contents), indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise RecordFileError(
                f"{self.path}: cannot be written: {error.strerror}", remedy="Make room on that disk."
            ) from None
        self._known = contents
        try:
            _sync(self.path.parent)
        except OSError as error:
            raise UnsureError(f"{self.path}: the folder cannot be made durable: {error.strerror}") from None

    def _damaged(self, what: str) -> RecordFileError:
        return RecordFileError(
            f"{self.path}: {what}",
            meaning="Nobody but the keeper may write it. Nothing is granted, nobody is promoted.",
            remedy=f"Move {self.path} away: the keeper makes a new one once all servers agree on who is primary.",
        )


def _contents(document: object) -> Contents:
    if not isinstance(document, dict) or set(document) != {"schema_version", "record", "hosts", "sha256"}:
        raise ValueError("not the keys of a record")
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document['schema_version']!r}, this keeper reads {SCHEMA_VERSION}")
    hosts = document["hosts"]
    if not isinstance(hosts, dict) or not all(isinstance(host, str) for host in hosts.values()):
        raise ValueError("hosts: not names by server_uuid")
    if document["sha256"] != _checksum(document):
        raise ValueError("its checksum does not fit: it was edited, or the disk lost a part")
    return Contents(from_json(Record, document["record"], "record"), hosts)


def _document(contents: Contents) -> dict[str, Any]:
    document = {
        "schema_version": SCHEMA_VERSION,
        "record": to_json(contents.record),
        "hosts": dict(contents.hosts),
    }
    return {**document, "sha256": _checksum(document)}


def _checksum(document: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in document.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
