"""What a data directory looked like, block by block: the file that lets the next incremental send only what changed.

Layout: the magic line; for each file, in the order of the stream, one line of JSON {path, size, mode, blocks} followed
by `blocks` digests of 16 bytes; a last line {"files": n}. A file without its last line was cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from holdfast.errors import ToolError

BLOCK_BYTES = 64 * 1024  # a multiple of every InnoDB page size, so a page never straddles two blocks
DIGEST_BYTES = 16
MAGIC = b"holdfast block signature 2\n"


def digest_of(block: bytes | memoryview) -> bytes:
    """The fingerprint of one block."""
    # SHA-256, cut: with the processors' own instructions half as fast again as BLAKE2 (measured: 1270 against 850 MB/s)
    return hashlib.sha256(block).digest()[:DIGEST_BYTES]


def digest_of_file(digests: bytes) -> str:
    """The fingerprint of a whole file, from its blocks' (one pass over the data serves both)."""
    return hashlib.sha256(digests).hexdigest()


def blocks_of(size: int) -> int:
    """How many blocks a file of `size` bytes has."""
    return -(-size // BLOCK_BYTES)


class SignatureWriter:
    """Writes one file's digests at a time; nothing is complete before close()."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._files = 0
        target.write(MAGIC)

    def add(self, path: str, size: int, mode: int, digests: bytes) -> None:
        """One file, in the order of the stream."""
        line = {"path": path, "size": size, "mode": mode, "blocks": len(digests) // DIGEST_BYTES}
        self._target.write(json.dumps(line).encode() + b"\n" + digests)
        self._files += 1

    def close(self) -> None:
        """Write the line that makes the signature complete."""
        self._target.write(json.dumps({"files": self._files}).encode() + b"\n")
        self._target.flush()


@dataclass(frozen=True)
class Entry:
    """Where a file's digests lie in the signature file."""

    size: int
    offset: int
    blocks: int


class Signature:
    """A complete signature, its digests read from the file when they are asked for."""

    def __init__(self, source: BinaryIO, entries: Mapping[str, Entry]) -> None:
        self._source = source
        self._entries = entries

    @staticmethod
    def load(source: BinaryIO, name: str) -> Signature:
        """Read the index. Raises ToolError naming a signature that is cut or not one."""
        entries = dict(_entries(source, name))
        return Signature(source, entries)

    def digests(self, path: str) -> bytes:
        """All digests of a file; empty for a file that was not there."""
        entry = self._entries.get(path)
        if entry is None:
            return b""
        self._source.seek(entry.offset)
        return self._source.read(entry.blocks * DIGEST_BYTES)


def check_complete(path: Path) -> None:
    """Raises ToolError when the signature file is cut or not one."""
    with path.open("rb") as source:
        for _ in _entries(source, str(path)):
            pass


def _entries(source: BinaryIO, name: str) -> Iterator[tuple[str, Entry]]:
    damaged = ToolError(
        f"{name} is not a complete block signature",
        meaning="An incremental cannot be made from it.",
        remedy="Take a full backup: mysql-backup-full.",
    )
    end = source.seek(0, 2)
    source.seek(0)
    if source.readline() != MAGIC:
        raise damaged
    count = 0
    while True:
        try:
            text = source.readline()
            line = json.loads(text)
            if not text.endswith(b"\n"):
                raise damaged
            if "files" in line:
                if line["files"] != count or source.tell() != end:
                    raise damaged
                return
            entry = Entry(size=line["size"], offset=source.tell(), blocks=line["blocks"])
            path = str(line["path"])
        except (ValueError, KeyError, TypeError) as error:
            raise damaged from error
        count += 1
        yield path, entry
        source.seek(entry.offset + entry.blocks * DIGEST_BYTES)
