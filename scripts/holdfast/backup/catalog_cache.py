"""Small objects that never change once written, kept on this host's disk: each is fetched from the store once."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from holdfast.backup.bulk import Bulk, StoredObject
from holdfast.errors import StorageError
from holdfast.whole_file import replace_file

T = TypeVar("T")
SCHEMA_VERSION = 2
UNKNOWN_SIZE = -1  # of an object that was not listed now
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How objects of one kind are read, and what is kept of each.

    `read` checks an object as it was fetched, and raises StorageError. `keep` says what to remember of it, where that
    is less than all, and `recall` reads that again; without them the object is kept as it is, and checked each time.
    """

    read: Callable[[bytes, str], T]
    keep: Callable[[T], str] | None = None
    recall: Callable[[str], T] | None = None


class Cache:
    """What is known by name, in one file of a line each; a missing, damaged or foreign file is an empty cache.

    Without a `path` nothing is remembered beyond this run.
    """

    def __init__(self, path: Path | None, root: str) -> None:
        self._path = path
        self._root = root
        self._known = {} if path is None else _read(path, root)
        self._as_read = dict(self._known)
        self._fetched: Mapping[str, bytes] = {}

    def forget(self) -> None:
        """Begin anew: something in it is not as it was written."""
        log.warning("%s is not as it was written, and is made anew", self._path)
        self._known = {}

    def names(self) -> list[str]:
        """The objects of which something is remembered."""
        return sorted(self._known)

    def drop(self, names: Iterable[str]) -> None:
        """Forget what may have changed since."""
        for name in names:
            self._known.pop(name, None)

    def fetch(self, bulk: Bulk, objects: Iterable[StoredObject]) -> None:
        """Get what is not known yet, in one call."""
        self._fetched = bulk.fetch([item.name for item in objects if item.name not in self._known])

    def load(self, objects: Iterable[StoredObject], kind: Kind[T]) -> tuple[list[T], list[StorageError]]:
        """What the kind makes of each object, known or fetched, and its complaints.

        Only what can be read is remembered. An object that has another size than the one that was read first was
        overwritten: the first is used, and said. Raises KeyError, TypeError, ValueError or AttributeError when what is
        remembered cannot be recalled.
        """
        found: list[T] = []
        problems: list[StorageError] = []
        for item in objects:
            try:
                found.append(self._one(item, kind))
            except StorageError as error:
                problems.append(error)
                self._known.pop(item.name, None)
        return found, problems

    def _one(self, item: StoredObject, kind: Kind[T]) -> T:
        if item.name in self._known:
            size, text = self._known[item.name]
            if item.size not in (size, UNKNOWN_SIZE):
                log.warning("%s was overwritten since it was first read; its first content is used", item.name)
            return kind.recall(text) if kind.recall else kind.read(text.encode(), item.name)
        data = self._fetched.get(item.name)
        if data is None:
            raise StorageError(f"{item.name} was listed, but cannot be read")
        made = kind.read(data, item.name)
        self._known[item.name] = (len(data), kind.keep(made) if kind.keep else data.decode(errors="replace"))
        return made

    def save(self, names: Iterable[str]) -> None:
        """Keep these alone. A cache that cannot be written is a slower next run, no failure."""
        kept = {name: self._known[name] for name in names if name in self._known}
        if self._path is None:
            return
        if kept == self._as_read:
            with suppress(OSError):
                os.utime(self._path)  # when this host looked last
            return
        lines = [json.dumps({"store": self._root, "schema_version": SCHEMA_VERSION})]
        lines += [json.dumps([name, size, text]) for name, (size, text) in kept.items()]
        try:
            replace_file(self._path, "\n".join(lines) + "\n")
        except OSError as error:
            log.warning(
                "%s cannot be written: %s; the next run reads all of it from the store again", self._path, error
            )


def remembered(names: Sequence[str]) -> list[StoredObject]:
    """Objects for `load` where the store is not asked."""
    return [StoredObject(name, UNKNOWN_SIZE, EPOCH) for name in names]


def _read(path: Path, root: str) -> dict[str, tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            if json.loads(file.readline()) != {"store": root, "schema_version": SCHEMA_VERSION}:
                return {}
            return {name: (int(size), text) for name, size, text in map(json.loads, file)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read and is made anew: %s", path, error)
        return {}
