"""Small objects that never change once written, kept on this host's disk: each is fetched from the store once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from holdfast.backup.bulk import Bulk
from holdfast.backup.store import StoredObject
from holdfast.errors import StorageError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Cache:
    """Contents by name, in one file of a line each; a missing, damaged or foreign file is an empty cache."""

    def __init__(self, path: Path, root: str) -> None:
        self._path = path
        self._root = root
        self._known = _read(path, root)
        self._fetched: Mapping[str, bytes] = {}

    def fetch(self, bulk: Bulk, objects: Sequence[StoredObject]) -> None:
        """Get what is not known yet, in one call."""
        self._fetched = bulk.fetch([item.name for item in objects if item.name not in self._known])

    def load(
        self, objects: Sequence[StoredObject], decode: Callable[[bytes, str], T]
    ) -> tuple[list[T], list[StorageError]]:
        """What `decode` makes of each object, known or fetched, and its complaints.

        Only what decodes is remembered. An object that has another size than the one that was read first was
        overwritten: the first is used, and said.
        """
        found: list[T] = []
        problems: list[StorageError] = []
        for item in objects:
            data = self._known.get(item.name)
            if data is not None and len(data) != item.size:
                log.warning("%s was overwritten since it was first read; its first content is used", item.name)
            data = data if data is not None else self._fetched.get(item.name)
            if data is None:
                problems.append(StorageError(f"{item.name} was listed, but cannot be read"))
                continue
            try:
                found.append(decode(data, item.name))
            except StorageError as error:
                problems.append(error)
                self._known.pop(item.name, None)
            else:
                self._known[item.name] = data
        return found, problems

    def save(self, names: Sequence[str]) -> None:
        """Keep these alone. A cache that cannot be written is a slower next run, no failure."""
        temporary = self._path.with_suffix(".new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"store": self._root}) + "\n")
                for name in names:
                    if name in self._known:
                        file.write(json.dumps([name, self._known[name].decode("utf-8")]) + "\n")
            temporary.replace(self._path)
        except (OSError, UnicodeDecodeError) as error:
            log.warning(
                "%s cannot be written: %s; the next run reads all of it from the store again", self._path, error
            )


def _read(path: Path, root: str) -> dict[str, bytes]:
    try:
        with path.open(encoding="utf-8") as file:
            if json.loads(file.readline()) != {"store": root}:
                return {}
            return {name: text.encode() for name, text in map(json.loads, file)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read and is made anew: %s", path, error)
        return {}
