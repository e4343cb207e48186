"""The store by the thousand: all is listed, fetched or deleted in a few calls of rclone, never one for each object."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from holdfast.backup.rclone import MissingError, Rclone
from holdfast.clock import utc_now
from holdfast.config import StoreConfig
from holdfast.errors import StorageError

# Of small objects, each of which waits for the store's answer and not for the line.
PARALLEL = ("--transfers", "32", "--checkers", "16")
SMALL_OBJECT_BYTES = 50_000  # for the time limit of a call that moves many
# Pages of up to 1,000 instead of a call for each folder; times that cost no call for each object.
LISTING = ("--recursive", "--files-only", "--no-mimetype", "--fast-list", "--use-server-modtime")
# Deleted means gone: without it B2 keeps the file as a hidden version. Other stores have no such option and ignore it.
FOR_GOOD = ("--b2-hard-delete",)
LISTED_OBJECTS_PER_SECOND = 500  # for the time limit of a listing, the slowest that is taken for alive
_DATE = re.compile(r"(?m)^Date: (.+?)\r?$")


@dataclass(frozen=True)
class StoredObject:
    """An object in the store; `name` is relative to <cluster>/, `size` in bytes of the content."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Moment:
    """This host's clock, and the store's at the same moment; None for a store that tells none, such as a folder."""

    now: datetime
    store: datetime | None


class Bulk:
    """Few calls for many objects of one cluster. Names are relative to <cluster>/; StorageError as with Store."""

    def __init__(self, config: StoreConfig, cluster: str, now: Callable[[], datetime] = utc_now) -> None:
        self._rclone = Rclone(config)
        separator = "" if config.remote.endswith((":", "/")) else "/"
        self._root = f"{config.remote}{separator}{cluster}"
        self._now = now

    @property
    def root(self) -> str:
        """Where the cluster's objects lie."""
        return self._root

    def listing(self, prefix: str = "", *, include: Sequence[str] = (), expected: int = 0) -> list[StoredObject]:
        """All objects below a folder, by name, in one call. Raises MissingError when there is no such folder.

        With `include` those alone that one of these patterns of rclone takes ("/backups/*/manifest.json").
        """
        where = f"{self._root}/{prefix}".rstrip("/")
        size = expected * 250_000 // LISTED_OBJECTS_PER_SECOND
        options = (*LISTING, *(word for pattern in include for word in ("--include", pattern)))
        output = self._rclone.retrying(lambda: self._rclone.once("lsjson", *options, where, where=where, size=size))
        return objects_in(output, f"{prefix.strip('/')}/" if prefix.strip("/") else "")

    def folders(self, prefix: str, *, depth: int) -> list[str]:
        """The folders `depth` levels below one, by name, relative to it; what is in them is not listed."""
        where = f"{self._root}/{prefix}"
        options = ("--recursive", "--dirs-only", "--dir-slash=false", "--max-depth", str(depth))

        def listed() -> list[str]:
            try:
                output = self._rclone.once("lsf", *options, where, where=where)
            except MissingError:
                return []
            return sorted(name for name in output.decode().splitlines() if name.count("/") == depth - 1)

        return self._rclone.retrying(listed)

    def moment(self) -> Moment:
        """What time it is, here and in the store."""

        def asked() -> Moment:
            with tempfile.NamedTemporaryFile(prefix="holdfast-headers-") as headers:
                # The headers of the answers; rclone keeps those with secrets out of them.
                options = ("--max-depth", "1", "--dump", "headers", "--log-file", headers.name)
                self._rclone.once("lsf", *options, self._root, where=self._root)
                now = self._now()
                return Moment(now, store_clock(Path(headers.name).read_text(encoding="utf-8", errors="replace")))

        return self._rclone.retrying(asked)

    def fetch(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Small objects in one call; those that are gone meanwhile are left out."""
        if not names:
            return {}
        with tempfile.TemporaryDirectory(prefix="holdfast-fetch-") as folder, _list_of(names) as file:
            options = ("--files-from-raw", file, "--no-traverse", "--ignore-times", *PARALLEL)
            size = len(names) * SMALL_OBJECT_BYTES
            self._rclone.retrying(
                lambda: self._rclone.once("copy", *options, self._root, folder, where=self._root, size=size)
            )
            paths = {name: Path(folder) / name for name in names}
            return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}

    def delete(self, names: Collection[str]) -> None:
        """Delete objects for good, in one call; one that is not there counts as deleted."""
        if not names:
            return
        with _list_of(sorted(names)) as file:
            options = ("--files-from-raw", file, *FOR_GOOD, *PARALLEL)
            size = len(names) * SMALL_OBJECT_BYTES
            self._rclone.retrying(
                lambda: self._rclone.once("delete", *options, self._root, where=self._root, size=size)
            )

    def purge(self, folder: str, *, objects: int) -> None:
        """Delete a folder with all versions of all that is in it; one that is not there counts as deleted."""
        where = f"{self._root}/{folder}"

        def purged() -> None:
            try:
                self._rclone.once("purge", *FOR_GOOD, *PARALLEL, where, where=where, size=objects * SMALL_OBJECT_BYTES)
            except MissingError:
                return

        self._rclone.retrying(purged)

    def versions(self, folder: str) -> list[str]:
        """The names of all versions in a folder, hidden ones too, at B2; elsewhere those that any listing shows.

        Not --s3-versions: a server that keeps none answers 501 (`rclone serve s3`), and then no leftover would ever go.
        """
        where = f"{self._root}/{folder}"

        def listed() -> list[str]:
            try:
                output = self._rclone.once("lsf", "-R", "--files-only", "--b2-versions", where, where=where)
            except MissingError:
                return []
            return sorted(output.decode().splitlines())

        return self._rclone.retrying(listed)


def objects_in(listing: bytes, folder: str = "") -> list[StoredObject]:
    """The objects of rclone's listing of a folder ("" or ending in /), by name (pure)."""
    found = [_stored(folder + item["Path"], item) for item in json.loads(listing)]
    return sorted(found, key=lambda item: item.name)


def store_clock(headers: str) -> datetime | None:
    """The time of the last answer in what rclone wrote of the headers; None when there is none (pure)."""
    found = _DATE.findall(headers)
    if not found:
        return None
    try:
        return parsedate_to_datetime(found[-1])
    except ValueError as error:
        raise StorageError(
            f"the store's clock cannot be read: {found[-1]!r}", meaning="Nothing is deleted without it."
        ) from error


@contextmanager
def _list_of(names: Sequence[str]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", prefix="holdfast-names-", encoding="utf-8") as file:
        file.write("".join(f"{name}\n" for name in names))
        file.flush()
        yield file.name


def _stored(name: str, item: Mapping[str, Any]) -> StoredObject:
    return StoredObject(name, item["Size"], datetime.fromisoformat(item["ModTime"]))
