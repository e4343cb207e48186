"""The archive of binary logs: what is recorded of each file, and the hourly job that copies closed files, once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from holdfast.backup import lineage
from holdfast.backup.engine import compress
from holdfast.backup.sealed import seal, unseal
from holdfast.backup.spool import disk_errors, private_spool
from holdfast.backup.store import Store
from holdfast.backup.take import evidence_of
from holdfast.binlog import BinlogError, summarise
from holdfast.cluster import observe
from holdfast.config import Config
from holdfast.database import Connection
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet
from holdfast.process import Pipeline, Stage

SCHEMA_VERSION = 1
FOLDER = "binlogs"
MEMORY = "archived.json"
CHUNK_BYTES = 1 << 20
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # to the microsecond: a target in time is cut by these

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BinlogEntry:
    """One archived file: `size` and `content_sha256` of the file as MySQL wrote it, the others of the stored .lz4."""

    lineage: str
    server_uuid: str
    host: str
    file: str
    size: int
    stored_size: int
    sha256: str
    content_sha256: str
    previous_gtids: GtidSet
    gtids: GtidSet
    first_time: datetime | None
    last_time: datetime | None
    server_version: str
    archived_at: datetime
    schema_version: int = SCHEMA_VERSION

    @property
    def object_name(self) -> str:
        """The compressed file in the store."""
        return f"{FOLDER}/{self.lineage}/{self.file}.lz4"

    @property
    def entry_name(self) -> str:
        """This record in the store; without it the file is not archived."""
        return name_of_entry(self.lineage, self.file)

    def to_json(self) -> bytes:
        """The entry as it is stored."""
        return seal(self.document())

    def document(self) -> dict[str, Any]:
        """The entry as JSON has it."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(BinlogEntry)}

    @staticmethod
    def from_json(data: bytes, name: str) -> BinlogEntry:
        """Read a stored entry. Raises StorageError naming `name` if it is damaged, incomplete or too new."""
        document = unseal(data, name, schema_version=SCHEMA_VERSION)
        try:
            entry = BinlogEntry.from_document(document)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{name} is not a complete entry of the binlog archive: {error}",
                meaning="That binlog does not count as archived.",
            ) from error
        if entry.entry_name != name:
            raise StorageError(f"{name} says that it is {entry.entry_name}", meaning="It does not count.")
        return entry

    @staticmethod
    def from_document(document: dict[str, Any]) -> BinlogEntry:
        """The inverse of document(). Raises KeyError, TypeError or ValueError."""
        return BinlogEntry(**revived(document, _KEYS, ("first_time", "last_time", "archived_at")))


_KEYS = BinlogEntry.__dataclass_fields__.keys()


def name_of_entry(line: str, file: str) -> str:
    """The object that records an archived file."""
    return f"{FOLDER}/{line}/{file}.json"


@dataclass(frozen=True)
class Known:
    """A file that this host knows to be archived."""

    size: int
    content_sha256: str


def archive(config: Config, store: Store, connection: Connection, now: Callable[[], datetime]) -> list[BinlogEntry]:
    """Close the current binlog and copy every closed one that is not in the store yet, in order; the new entries.

    Raises StorageError when a name is archived already with other content, BinlogError, once all others are archived,
    for a file that cannot be read, and what database, lz4 and store raise.
    """
    connection.execute("FLUSH BINARY LOGS")
    line = lineage.update(config.state_directory, lambda: evidence_of(observe(connection)), now()).lineage
    directory = Path(str(connection.value("SELECT @@log_bin_basename"))).parent
    sizes = {str(row["Log_name"]): int(row["File_size"]) for row in connection.rows("SHOW BINARY LOGS")}
    closed = sorted(sizes, key=lineage.sequence_of)[:-1]
    server_uuid = str(connection.value("SELECT @@server_uuid"))
    # A file's own list of what came before it leaves out what the server was seeded with (CLONE, a restore): seen.
    # All of gtid_purged is older than any file that is still here.
    purged = GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_purged")))
    memory = Memory(config.state_directory / MEMORY, line)
    present = {item.name for item in store.list(f"{FOLDER}/{line}")}
    made = []
    broken: BinlogError | None = None
    for file in closed:
        name = name_of_entry(line, file)
        if name in present:
            remembered = memory.files.get(file)
            if remembered is not None and remembered.size == sizes[file]:
                continue
            known = _known(BinlogEntry.from_json(store.get_bytes(name), name))
            _require_same(directory / file, known, line)
        else:
            try:
                entry = _archive_one(config, store, line, server_uuid, purged, directory / file, now)
            except BinlogError as error:
                # A file that cannot be read must not keep all that follow from the store; the run fails all the same.
                log.error("%s", error)
                broken = broken or error
                continue
            known = _known(entry)
            made.append(entry)
        memory.files[file] = known
    memory.forget_all_but(closed)
    memory.save()
    if broken is not None:
        raise broken
    return made


def _archive_one(
    config: Config,
    store: Store,
    line: str,
    server_uuid: str,
    purged: GtidSet,
    path: Path,
    now: Callable[[], datetime],
) -> BinlogEntry:
    summary = summarise(path)
    if not summary.complete:
        log.warning("%s was not closed in order (the server crashed?); its whole transactions are recorded", path.name)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    with private_spool(config.backup.spool_directory) as spool:
        local = spool / f"{path.name}.lz4"
        digest = compress_file(path, local, config.backup.lz4_level, config.backup.spool_directory)
        entry = BinlogEntry(
            lineage=line,
            server_uuid=server_uuid,
            host=config.host,
            file=path.name,
            size=path.stat().st_size,
            stored_size=local.stat().st_size,
            sha256=digest,
            content_sha256=content,
            previous_gtids=summary.previous_gtids | purged,
            gtids=summary.gtids_in_file,
            first_time=summary.first_time,
            last_time=summary.last_time,
            server_version=summary.server_version,
            archived_at=now(),
        )
        # Without its entry the object is what a killed run left: another lz4 may have made it, so it is replaced.
        store.put(local, entry.object_name, overwrite=True)
    store.put_bytes(entry.entry_name, entry.to_json())
    log.info("archived %s/%s: %d bytes, %s", line, path.name, entry.size, entry.gtids.one_line() or "no transactions")
    return entry


def compress_file(source: Path, target: Path, level: int, spool_directory: Path) -> str:
    """Write the file's lz4 into the spool; the SHA-256 of that. Raises ToolError."""
    digest = hashlib.sha256()
    stage = compress(level)
    argv = (*stage.argv[:-1], str(source))
    with Pipeline([Stage(stage.name, argv)]) as pipeline, target.open("xb") as file:
        output = cast("BinaryIO", pipeline.stdout)
        while chunk := output.read(CHUNK_BYTES):
            digest.update(chunk)
            with disk_errors(spool_directory):
                file.write(chunk)
        pipeline.finish()
    return digest.hexdigest()


def _require_same(path: Path, known: Known, line: str) -> None:
    """Raise StorageError if the archive's file of that name is another one."""
    with path.open("rb") as file:
        found = Known(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    if found != known:
        raise StorageError(
            f"{path.name} is archived already under {line} with other content",
            meaning="Two servers, or two lives of one server, share a lineage; nothing was overwritten.",
            remedy="Find out whether this server was restored by hand. If it was, remove lineage.json in the state "
            "directory: the next run starts a new lineage.",
        )


def _known(entry: BinlogEntry) -> Known:
    return Known(entry.size, entry.content_sha256)


def archived_files(state_directory: Path) -> frozenset[str]:
    """The files that the hourly job of this host remembers as archived; none if it remembers nothing."""
    try:
        return frozenset(json.loads((state_directory / MEMORY).read_text(encoding="ascii"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


class Memory:
    """What this host knows to be archived of one lineage, so that the hourly run need not read it all again."""

    def __init__(self, path: Path, line: str) -> None:
        """Read the file; one that is missing, unreadable or of another lineage is an empty memory."""
        self._path = path
        self._line = line
        self.files: dict[str, Known] = {}
        try:
            document = json.loads(path.read_text(encoding="ascii"))
            if document["lineage"] == line:
                self.files = {file: Known(**known) for file, known in document["files"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is not readable and is made anew: %s", path, error)

    def forget_all_but(self, files: Iterable[str]) -> None:
        """Drop what the server has purged."""
        self.files = {file: self.files[file] for file in files if file in self.files}

    def save(self) -> None:
        """Replace the file."""
        files: Mapping[str, Any] = {
            file: {"size": known.size, "content_sha256": known.content_sha256} for file, known in self.files.items()
        }
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({"lineage": self._line, "files": files}) + "\n", encoding="ascii")
        temporary.replace(self._path)


def plain(value: Any) -> Any:
    """A field as JSON has it: GTIDs as text, times to the microsecond."""
    if isinstance(value, GtidSet):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime(_TIME)
    return value


def revived(document: dict[str, Any], keys: Set[str], times: Sequence[str]) -> dict[str, Any]:
    """The fields of a file's or a piece's record from JSON: what plain() made of them, undone, in place.

    Raises KeyError, TypeError or ValueError, which is also for keys that are missing or unknown.
    """
    if document.keys() != keys:
        raise ValueError("keys missing or unknown")
    for key in ("previous_gtids", "gtids"):
        document[key] = GtidSet.parse(document[key])
    for key in times:
        document[key] = None if document[key] is None else time_of(document[key])
    return document


def time_of(text: str) -> datetime:
    """The inverse for a time. Raises ValueError."""
    moment = datetime.fromisoformat(text)  # strptime takes five times as long, and there are 100,000 entries
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"{text!r} is not in UTC")
    return moment
