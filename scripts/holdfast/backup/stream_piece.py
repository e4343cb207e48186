"""Pieces of a binlog that its server still writes: what is recorded of each, and the beginning of the file they make.

`stream/<lineage>/binlog.NNNNNN/<number>.lz4` and, when that is there, its record, the same name with .json. Once the
closed file has its entry in the archive of binlogs its pieces say nothing any more, and their folder is not listed: a
lock on the store's objects may keep a month of them, two a minute.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby

from holdfast.backup.binlogs import FOLDER as BINLOGS
from holdfast.backup.binlogs import BinlogEntry, name_of_entry, plain, revived
from holdfast.backup.lineage import sequence_of
from holdfast.backup.sealed import seal, unseal
from holdfast.backup.store import Store, StoredObject
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet

SCHEMA_VERSION = 1
FOLDER = "stream"
DIGITS = 6  # of a piece's number in its name


@dataclass(frozen=True)
class StreamPiece:
    """Bytes `start` to `end` of a file, whole transactions; `gtids` are in them, `previous_gtids` before the file.

    `number` counts from 1. Sizes and hashes: `content_sha256` of these bytes as MySQL writes them, the others of the
    stored .lz4. `taken_at` is this host's clock when the server was asked for its position.
    """

    lineage: str
    server_uuid: str
    host: str
    file: str
    number: int
    start: int
    end: int
    stored_size: int
    sha256: str
    content_sha256: str
    previous_gtids: GtidSet
    gtids: GtidSet
    first_time: datetime | None
    last_time: datetime | None
    server_version: str
    taken_at: datetime
    schema_version: int = SCHEMA_VERSION

    @property
    def object_name(self) -> str:
        """The compressed bytes in the store."""
        return f"{name_of_piece(self.lineage, self.file, self.number)}.lz4"

    @property
    def record_name(self) -> str:
        """This record in the store; without it the piece is not there."""
        return f"{name_of_piece(self.lineage, self.file, self.number)}.json"

    def to_json(self) -> bytes:
        """The record as it is stored."""
        return seal({field.name: plain(getattr(self, field.name)) for field in fields(self)})

    @staticmethod
    def from_json(data: bytes, name: str) -> StreamPiece:
        """Read a stored record. Raises StorageError naming `name` if it is damaged, moved or too new."""
        document = unseal(data, name, schema_version=SCHEMA_VERSION)
        try:
            piece = StreamPiece(**revived(document, _KEYS, ("first_time", "last_time", "taken_at")))
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{name} is not a complete record of a streamed piece: {error}",
                meaning="That piece and those after it do not count.",
            ) from error
        if piece.record_name != name:
            raise StorageError(f"{name} says that it is {piece.record_name}", meaning="It does not count.")
        return piece


_KEYS = StreamPiece.__dataclass_fields__.keys()


@dataclass(frozen=True)
class OpenFile(BinlogEntry):
    """The beginning of a file, as far as its pieces follow each other; `size` and `stored_size` are of all of them.

    It stands for a file of the archive until that is closed and archived. It has no hash of its own: each piece has.
    """

    pieces: tuple[StreamPiece, ...] = ()

    @property
    def object_name(self) -> str:
        """The folder of its pieces."""
        return folder_of(self.lineage, self.file)

    @property
    def entry_name(self) -> str:
        """The same: there is no one record of it."""
        return self.object_name


def name_of_piece(line: str, file: str, number: int) -> str:
    """A piece's object, without the ending."""
    return f"{folder_of(line, file)}/{number:0{DIGITS}d}"


def folder_of(line: str, file: str) -> str:
    """Where the pieces of a file lie."""
    return f"{FOLDER}/{line}/{file}"


def file_of(name: str) -> tuple[str, str]:
    """(lineage, file) of the name of an object below stream/. Raises ValueError for another name."""
    folder, line, file, last = name.split("/")
    number, _, ending = last.partition(".")
    if folder != FOLDER or ending not in ("lz4", "json") or not number.isdigit():
        raise ValueError(f"{name} is no piece's object")
    sequence_of(file)
    return line, file


def live_folders(folders: Iterable[str], stored: Collection[str]) -> list[str]:
    """Of these folders, as stream/<lineage>/<file>, those of files that the archive does not have (pure)."""
    return [folder for folder in folders if f"{BINLOGS}{folder.removeprefix(FOLDER)}.json" not in stored]


def live_records(stored: Collection[str]) -> list[str]:
    """Of all names in the store the records of pieces that count: of files that are not archived yet (pure)."""
    found = []
    for name in stored:
        if not name.startswith(f"{FOLDER}/") or not name.endswith(".json"):
            continue
        try:
            if name_of_entry(*file_of(name)) not in stored:
                found.append(name)
        except ValueError:
            continue
    return sorted(found)


def list_live(store: Store, stored: Collection[str]) -> list[StoredObject]:
    """The objects of all pieces that count; `stored` are the names of the archive's, listed before.

    Raises StorageError.
    """
    folders = live_folders((f"{FOLDER}/{folder}" for folder in store.bulk.folders(FOLDER, depth=2)), stored)
    return [item for folder in folders for item in store.list(folder)]


def open_files(pieces: Iterable[StreamPiece], stored: Collection[str]) -> tuple[list[OpenFile], list[str]]:
    """Of each file the beginning that its pieces make, as far as none is missing, and what is wrong with the rest.

    `stored` are the names of the objects that are there (pure).
    """
    found, problems = [], []
    ordered = sorted(pieces, key=lambda piece: (piece.lineage, sequence_of(piece.file), piece.number))
    for (line, file), group in groupby(ordered, key=lambda piece: (piece.lineage, piece.file)):
        members = list(group)
        whole: list[StreamPiece] = []
        for piece in members:
            if (piece.number, piece.start) != (len(whole) + 1, whole[-1].end if whole else 0):
                break
            if piece.object_name not in stored:
                break
            whole.append(piece)
        if len(whole) < len(members):
            missing = name_of_piece(line, file, len(whole) + 1)
            until = f"its first {len(whole)} of {members[-1].number} count" if whole else "none of its pieces counts"
            problems.append(f"{missing} is missing or does not follow the piece before it: of {file} {until}")
        if whole:
            found.append(joined(whole))
    return found, problems


def joined(pieces: Sequence[StreamPiece]) -> OpenFile:
    """What these pieces of one file make, given in their order (pure)."""
    first, last = pieces[0], pieces[-1]
    times = [moment for piece in pieces for moment in (piece.first_time, piece.last_time) if moment is not None]
    return OpenFile(
        lineage=first.lineage,
        server_uuid=first.server_uuid,
        host=first.host,
        file=first.file,
        size=last.end,
        stored_size=sum(piece.stored_size for piece in pieces),
        sha256="",
        content_sha256="",
        previous_gtids=first.previous_gtids,
        gtids=GtidSet.union_of(piece.gtids for piece in pieces),
        first_time=min(times, default=None),
        last_time=max(times, default=None),
        server_version=first.server_version,
        archived_at=last.taken_at,
        pieces=tuple(pieces),
    )
