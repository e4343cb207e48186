"""The clone engine's stream: a directory as tar, whole or as the blocks that differ from the last run's signature.

A full is a plain tar of the directory. An incremental is a tar of `tree.json` (every directory and file with size and
mode), then one member `blocks/<path>` for each stretch of a file that changed (body: offset and length as 64-bit and
32-bit big-endian numbers, then the bytes, repeated), then `hashes.json` (each file's fingerprint, and the end mark).
See docs/decisions/fixed-block-increments.md.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from holdfast.backup.signature import (
    BLOCK_BYTES,
    DIGEST_BYTES,
    Signature,
    SignatureWriter,
    digest_of,
    digest_of_file,
)
from holdfast.errors import ToolError

TREE = "tree.json"
BLOCKS = "blocks/"
HASHES = "hashes.json"
WINDOW_BYTES = 16 * BLOCK_BYTES  # read at a time, and the most that one member holds
_PIECE = struct.Struct(">QI")
_TAR_BLOCK = 512


@dataclass(frozen=True)
class Node:
    """A directory or regular file below the source; `path` is relative, with slashes."""

    path: str
    information: os.stat_result

    @property
    def directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.information.st_mode)


def walk(source: Path) -> Iterator[Node]:
    """Everything below `source`, parents first, sorted by name, without sockets. Links and devices raise ToolError."""
    yield from _walk(source, "")


def _walk(directory: Path, prefix: str) -> Iterator[Node]:
    for path in sorted(directory.iterdir(), key=lambda item: item.name):
        information = path.lstat()
        name = prefix + path.name
        if stat.S_ISDIR(information.st_mode):
            yield Node(name, information)
            yield from _walk(path, name + "/")
        elif stat.S_ISREG(information.st_mode):
            yield Node(name, information)
        elif not stat.S_ISSOCK(information.st_mode):
            raise ToolError(
                f"{path} is neither a file nor a directory",
                meaning="It would be missing after a restore, so the backup was not taken.",
                remedy="Find out who put it into the clone of the data directory.",
            )


def write_full(source: Path, target: BinaryIO, signature: SignatureWriter) -> None:
    """The whole directory as tar, hashed on the way into `signature`. Raises ToolError if a file changes meanwhile."""
    for node in walk(source):
        _write_header(target, node.path, node.information)
        if not node.directory:
            digests = _hash_file(
                source / node.path, node.information.st_size, lambda _, window, __: _drop(target.write(window))
            )
            target.write(b"\0" * (-node.information.st_size % _TAR_BLOCK))
            signature.add(node.path, node.information.st_size, stat.S_IMODE(node.information.st_mode), digests)
    target.write(b"\0" * (2 * _TAR_BLOCK))
    target.flush()


def write_incremental(source: Path, target: BinaryIO, parent: Signature, signature: SignatureWriter) -> None:
    """The blocks that differ from `parent`, and what is needed to make and check the rest."""
    nodes = list(walk(source))
    tree = [
        {
            "path": node.path,
            "directory": node.directory,
            "mode": stat.S_IMODE(node.information.st_mode),
            "size": 0 if node.directory else node.information.st_size,
        }
        for node in nodes
    ]
    _write_member(target, TREE, json.dumps(tree).encode())
    hashes: dict[str, str] = {}
    for node in nodes:
        if node.directory:
            continue
        known = parent.digests(node.path)

        def send(offset: int, window: memoryview, digests: bytes, path: str = node.path, known: bytes = known) -> None:
            body = changed_blocks(offset, window, digests, known)
            if body:
                _write_member(target, BLOCKS + path, body)

        size = node.information.st_size
        digests = _hash_file(source / node.path, size, send)
        signature.add(node.path, size, stat.S_IMODE(node.information.st_mode), digests)
        hashes[node.path] = digest_of_file(digests)
    _write_member(target, HASHES, json.dumps(hashes).encode())
    target.write(b"\0" * (2 * _TAR_BLOCK))
    target.flush()


def changed_blocks(offset: int, window: memoryview, digests: bytes, known: bytes) -> bytes:
    """The body of a member: the blocks of a window at `offset` whose digest is not at its place in `known` (pure)."""
    pieces = []
    for number in range(len(digests) // DIGEST_BYTES):
        digest = digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        at = (offset // BLOCK_BYTES + number) * DIGEST_BYTES
        if known[at : at + DIGEST_BYTES] != digest:
            block = window[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
            pieces += [_PIECE.pack(offset + number * BLOCK_BYTES, len(block)), bytes(block)]
    return b"".join(pieces)


def apply(stream: BinaryIO, target: Path, *, verify: bool) -> None:
    """Turn `target`, which holds the parent, into what the incremental was taken of.

    With `verify` every file is read again and compared. Raises ToolError for a stream that is cut or that does not
    give the files it promises (a wrong or damaged parent).
    """
    hashes: dict[str, str] | None = None
    tree: list[dict[str, object]] | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                body = archive.extractfile(member)
                data = body.read() if body is not None else b""
                if member.name == TREE:
                    tree = json.loads(data)
                    _shape(target, tree)
                elif member.name.startswith(BLOCKS) and tree is not None:
                    _write_blocks(_inside(target, member.name.removeprefix(BLOCKS)), data)
                elif member.name == HASHES:
                    hashes = json.loads(data)
                else:
                    raise ToolError(f"unexpected member {member.name} in an incremental's stream")
    except (tarfile.TarError, ValueError, struct.error) as error:
        raise ToolError(f"the incremental's stream is damaged: {error}") from error
    if tree is None or hashes is None:
        raise ToolError(
            "the incremental's stream ended before its end mark", meaning="It was cut; nothing was restored."
        )
    if verify:
        verify_files(target, hashes)


def verify_files(target: Path, hashes: dict[str, str]) -> None:
    """Read every file and compare. Raises ToolError naming the first files that differ."""
    wrong = []
    for path, expected in hashes.items():
        file = _inside(target, path)
        if digest_of_file(_hash_file(file, file.stat().st_size, lambda *_: None)) != expected:
            wrong.append(path)
    if wrong:
        raise ToolError(
            f"{len(wrong)} files differ from what was backed up: {', '.join(wrong[:5])}",
            meaning="The chain's parent is not the one that this incremental was taken upon, or is damaged.",
            remedy="Restore to an earlier backup of the chain, or to another chain.",
        )


def _shape(target: Path, tree: list[dict[str, object]]) -> None:
    """Directories, sizes and modes as in the tree, and nothing that is not in it."""
    wanted = {str(item["path"]): bool(item["directory"]) for item in tree}
    for node in sorted(walk(target), key=lambda item: item.path, reverse=True):
        if wanted.get(node.path) is not node.directory:
            path = target / node.path
            if node.directory:
                shutil.rmtree(path)
            else:
                path.unlink()
    for item in tree:
        path = _inside(target, str(item["path"]))
        if item["directory"]:
            path.mkdir(exist_ok=True)
        else:
            path.touch()
            os.truncate(path, int(str(item["size"])))
        path.chmod(int(str(item["mode"])))


def _write_blocks(path: Path, data: bytes) -> None:
    view = memoryview(data)
    position = 0
    with path.open("r+b") as file:
        while position < len(view):
            offset, length = _PIECE.unpack_from(view, position)
            position += _PIECE.size
            if position + length > len(view):
                raise ValueError(f"a piece of {path.name} is cut")
            file.seek(offset)
            file.write(view[position : position + length])
            position += length


def _inside(target: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"{name!r} leads out of the target")
    return target / pure


def _hash_file(path: Path, size: int, each: Callable[[int, memoryview, bytes], None]) -> bytes:
    """All digests of a file; `each` gets offset, bytes and digests of every window.

    Raises ToolError if the file is not `size` bytes long.
    """
    digests = []
    buffer = bytearray(WINDOW_BYTES)
    offset = 0
    with path.open("rb", buffering=0) as file:
        while count := _read_window(file, buffer):
            window = memoryview(buffer)[:count]
            found = b"".join(digest_of(window[at : at + BLOCK_BYTES]) for at in range(0, count, BLOCK_BYTES))
            each(offset, window, found)
            digests.append(found)
            offset += count
    if offset != size:
        raise ToolError(f"{path} changed while it was read: {size} bytes before, {offset} now")
    return b"".join(digests)


def _read_window(file: FileIO, buffer: bytearray) -> int:
    """Fill the buffer as far as the file goes: a short read must not shift the blocks."""
    view = memoryview(buffer)
    filled = 0
    while filled < len(buffer):
        count = file.readinto(view[filled:])
        if not count:
            break
        filled += count
    return filled


def _write_header(target: BinaryIO, name: str, information: os.stat_result) -> None:
    header = tarfile.TarInfo(name)
    header.mode = stat.S_IMODE(information.st_mode)
    header.mtime = int(information.st_mtime)
    header.uid, header.gid = information.st_uid, information.st_gid
    if stat.S_ISDIR(information.st_mode):
        header.type = tarfile.DIRTYPE
    else:
        header.size = information.st_size
    target.write(header.tobuf(tarfile.PAX_FORMAT))


def _write_member(target: BinaryIO, name: str, body: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.mode = 0o600
    header.size = len(body)
    target.write(header.tobuf(tarfile.PAX_FORMAT) + body + b"\0" * (-len(body) % _TAR_BLOCK))


def _drop(_: object) -> None:
    """For a callback whose result nobody wants."""


def read_all(stream: bytes, target: Path, *, verify: bool = True) -> None:
    """Apply an incremental that is in memory; for tests and small tools."""
    apply(BytesIO(stream), target, verify=verify)
