"""The offsite store: objects under <remote>/<cluster>/, by way of rclone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from holdfast.backup.bulk import Bulk
from holdfast.backup.bulk import StoredObject as StoredObject
from holdfast.backup.rclone import MissingError, PassingError, Rclone
from holdfast.config import StoreConfig
from holdfast.errors import StorageError, ToolError, UsageError
from holdfast.process import Pipeline, Stage

CHUNK_BYTES = 1 << 20
ONE_CALL = ("--recursive", "--files-only", "--no-mimetype", "--use-server-modtime")  # S3 tells others one by one


class Store:
    """The objects of one cluster.

    Every method raises StorageError that names remote and object: at once when trying again is pointless, else
    after the configured attempts. Setting `cancel` from another thread ends a call early (CancelledError).
    """

    def __init__(self, config: StoreConfig, cluster: str) -> None:
        self._remote = config.remote
        self._cluster = cluster
        self._encrypted = config.encrypted
        self._rclone = Rclone(config)
        self._root_seen = False
        self.bulk = Bulk(config, cluster)

    @property
    def address(self) -> str:
        """Where the cluster's objects lie, for whoever remembers something of them."""
        return self._path("")

    def put(
        self,
        local: Path,
        name: str,
        *,
        overwrite: bool = False,
        listed_later: bool = False,
        cancel: threading.Event | None = None,
    ) -> None:
        """Upload a file and check its size there. Without `overwrite` an object that is there must be the same.

        With `listed_later` only rclone's own check is made, and the caller owes one listing of all that it put.
        """
        size = local.stat().st_size
        where = self._path(name)
        if not overwrite and (found := self.stat(name, cancel=cancel)) is not None:
            if found.size == size and self._sha256_of(name, cancel) == _sha256_of_file(local):
                return
            raise StorageError(
                f"{where}: exists already, with other content",
                meaning=f"It has {found.size} bytes, the new one has {size}. Stored objects are never overwritten.",
                remedy="Find out which program wrote it: two hosts may use one name or one lineage.",
            )

        def upload() -> None:
            self._send(local, where, size, cancel)
            if listed_later:
                return
            stored = self._stat_once(name, cancel)
            if stored is None or stored.size != size:
                has = "nothing" if stored is None else f"{stored.size} bytes"
                raise PassingError(f"{where}: {size} bytes were uploaded, the store has {has}")

        self._rclone.retrying(upload, cancel)

    def put_bytes(self, name: str, data: bytes, *, overwrite: bool = False) -> None:
        """Upload bytes; as `put`."""
        # By a file, not by a pipe: rclone would take the end of its input for success, also when we die.
        with tempfile.NamedTemporaryFile(prefix="holdfast-") as file:
            file.write(data)
            file.flush()
            self.put(Path(file.name), name, overwrite=overwrite)

    def get(self, name: str, local: Path, *, cancel: threading.Event | None = None) -> None:
        """Download into `local`, which appears whole or not at all."""
        where = self._path(name)
        partial = local.with_name(f".{local.name}.partial")

        def download() -> None:
            expected = self._stat_or_raise(name, cancel).size
            arguments = ("copyto", "--ignore-times", where, str(partial))
            self._rclone.once(*arguments, where=where, size=expected, cancel=cancel)
            received = partial.stat().st_size if partial.exists() else 0
            if received != expected or not partial.exists():
                raise PassingError(f"{where}: {received} of {expected} bytes were received")

        try:
            self._rclone.retrying(download, cancel)
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def get_bytes(self, name: str) -> bytes:
        """Download into memory; for manifests and their like."""
        where = self._path(name)

        def download() -> bytes:
            expected = self._stat_or_raise(name, None).size
            content = self._rclone.once("cat", where, where=where)
            if len(content) != expected:
                raise PassingError(f"{where}: {len(content)} of {expected} bytes were received")
            return content

        return self._rclone.retrying(download)

    def list(self, prefix: str) -> list[StoredObject]:
        """All objects below the folder `prefix` ("" for all), by name; none when there is no such folder."""
        where = self._path(prefix)

        def entries() -> Any:
            try:
                return json.loads(self._rclone.once("lsjson", *ONE_CALL, where, where=where))
            except MissingError:
                self._check_root(None)
                if not self._has_folder(prefix):
                    return []
                # A folder below vanished under way. Never take the rest for empty: deletions are decided by lists.
                raise PassingError(f"{where}: changed while it was listed") from None

        folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        found = [_stored(folder + entry["Path"], entry) for entry in self._rclone.retrying(entries)]
        return sorted(found, key=lambda stored: stored.name)

    def matching(self, patterns: Sequence[str]) -> Sequence[StoredObject]:
        """All objects that one of these patterns of rclone takes, such as "/backups/*/manifest.json", by name.

        One call for each folder at the top; none in a bucket that does not have it yet.
        """
        found: dict[str, StoredObject] = {}
        for folder in sorted({pattern.split("/")[1] for pattern in patterns}):
            inside = [pattern.removeprefix(f"/{folder}") for pattern in patterns if pattern.startswith(f"/{folder}/")]
            try:
                objects = self.bulk.listing(folder, include=inside)
            except MissingError:
                objects = self.list(folder)  # tells a folder that is not there from a bucket that is not there
            found |= {item.name: item for item in objects}
        return list(found.values())

    def stat(self, name: str, *, cancel: threading.Event | None = None) -> StoredObject | None:
        """The object, or None."""
        return self._rclone.retrying(lambda: self._stat_once(name, cancel), cancel)

    def delete(self, name: str) -> None:
        """Delete one object; one that is not there counts as deleted."""
        where = self._path(name)

        def delete() -> None:
            if self._stat_once(name, None) is not None:
                with contextlib.suppress(MissingError):
                    self._rclone.once("deletefile", where, where=where)

        self._rclone.retrying(delete)

    def open_read(self, name: str) -> Stage:
        """A stage that writes the object to its output, for a Pipeline; neither retried nor checked in length."""
        return Stage(f"rclone cat {name}", (*self._rclone.command(), "cat", self._path(name)))

    def _send(self, local: Path, where: str, size: int, cancel: threading.Event | None) -> None:
        if self._encrypted:
            # `copyto` onto crypt reads and encrypts a file twice: once for its checksum, once to send it (measured: 1.4
            # times the CPU). `rcat` sends it once; crypt compares the checksum that the store answers with afterwards,
            # and an input of another size than it was told fails (tried with 1.60.1 and 1.75.2).
            rcat = ("rcat", "--size", str(size), where)
            self._rclone.once(*rcat, where=where, size=size, input_file=local, cancel=cancel)
        else:
            # Without crypt rcat compares nothing. What a failed attempt left may look unchanged: --ignore-times.
            copyto = ("copyto", "--ignore-times", str(local), where)
            self._rclone.once(*copyto, where=where, size=size, cancel=cancel)

    def _stat_or_raise(self, name: str, cancel: threading.Event | None) -> StoredObject:
        stored = self._stat_once(name, cancel)
        if stored is None:
            raise MissingError(f"{self._path(name)}: does not exist")
        return stored

    def _stat_once(self, name: str, cancel: threading.Event | None) -> StoredObject | None:
        where = self._path(name)
        try:
            output = self._rclone.once("lsjson", "--stat", "--no-mimetype", where, where=where, cancel=cancel)
        except MissingError:
            self._check_root(cancel)
            return None
        entry = json.loads(output or b"null")
        # Where folders are only parts of names, rclone takes any name for a folder that could be.
        return None if entry is None or entry["IsDir"] else _stored(name, entry)

    def _has_folder(self, prefix: str) -> bool:
        where = self._path(prefix)
        try:
            self._rclone.once("lsjson", "--no-mimetype", where, where=where)
        except MissingError:
            return False
        return True

    def _check_root(self, cancel: threading.Event | None) -> None:
        """Tell a folder that is not there yet from a bucket that is not there."""
        if self._root_seen:
            return
        try:
            self._rclone.once("lsjson", "--no-mimetype", self._remote, where=self._remote, cancel=cancel)
        except MissingError as error:
            raise StorageError(
                f"{self._remote}: the bucket or folder does not exist",
                meaning=f"Nothing can be stored there or read from there.\n{error.meaning}".rstrip(),
                remedy="Compare store.remote and rclone.conf with the bucket's name, or create the bucket.",
            ) from None
        self._root_seen = True

    def _sha256_of(self, name: str, cancel: threading.Event | None) -> str:
        def read() -> str:
            try:
                with Pipeline([self.open_read(name)]) as pipeline:
                    digest = _sha256_of_stream(cast("BinaryIO", pipeline.stdout))
                    pipeline.finish()
            except ToolError as error:
                raise PassingError(f"{self._path(name)}: {error.what}", meaning=error.meaning) from None
            return digest

        return self._rclone.retrying(read, cancel)

    def _path(self, name: str) -> str:
        if name.startswith("/") or any(part in (".", "..") for part in name.split("/")):
            raise UsageError(f"{name!r} cannot be the name of an object in the store")
        separator = "" if self._remote.endswith((":", "/")) else "/"
        return f"{self._remote}{separator}{self._cluster}/{name}".rstrip("/")


def _stored(name: str, entry: dict[str, Any]) -> StoredObject:
    modified = datetime.fromisoformat(entry["ModTime"]).astimezone(UTC)
    return StoredObject(name, entry["Size"], modified)


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return _sha256_of_stream(file)


def _sha256_of_stream(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(stream):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk
