"""The block stream: whatever happened to the files, the incremental applied upon the parent gives the new directory."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backup import clone_stream
from holdfast.backup.signature import BLOCK_BYTES, Signature, SignatureWriter, check_complete, digest_of
from holdfast.errors import ToolError

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "mysql_clone_stream.py"

Tree = dict[str, bytes | None]


def make(folder: Path, tree: Tree) -> None:
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def read(folder: Path) -> Tree:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def full_of(source: Path) -> tuple[bytes, bytes]:
    stream, signature = io.BytesIO(), io.BytesIO()
    writer = SignatureWriter(signature)
    clone_stream.write_full(source, stream, writer)
    writer.close()
    return stream.getvalue(), signature.getvalue()


def incremental_of(source: Path, parent: bytes) -> tuple[bytes, bytes]:
    stream, signature = io.BytesIO(), io.BytesIO()
    writer = SignatureWriter(signature)
    clone_stream.write_incremental(source, stream, Signature.load(io.BytesIO(parent), "parent"), writer)
    writer.close()
    return stream.getvalue(), signature.getvalue()


def extract(stream: bytes, target: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        archive.extractall(target, filter="tar")


NAMES = st.sampled_from(["a", "b", "ibdata1", "shop", "shop/t1.ibd", "shop/t2.ibd", "#innodb_redo/x", "t/" + "n" * 120])
SIZES = st.sampled_from([0, 1, 511, 512, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7])


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    files = draw(st.dictionaries(NAMES, st.one_of(st.none(), st.tuples(SIZES, st.integers(0, 2))), max_size=6))
    parents = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    tree: Tree = {}
    for name, content in files.items():
        if content is None or name in parents:
            tree[name] = None
        else:
            size, seed = content
            block = random.Random(seed).randbytes(997)
            tree[name] = (block * (size // len(block) + 1))[:size]
    return tree | dict.fromkeys(parents)


@settings(max_examples=40)
@given(before=trees(), between=trees(), after=trees(), flips=st.lists(st.integers(0, 1 << 20), max_size=4))
def test_a_chain_gives_the_last_directory(before: Tree, between: Tree, after: Tree, flips: list[int]) -> None:
    for name, content in before.items():
        if content and flips:  # the same file with some bytes changed in place
            changed = bytearray(content)
            for flip in flips:
                changed[flip % len(changed)] ^= 0xFF
            between = {**between, name: bytes(changed)} if name in between and between[name] is not None else between
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, tree in (("before", before), ("between", between), ("after", after)):
            (root / name).mkdir()
            make(root / name, tree)
        full, signature = full_of(root / "before")
        first, second_signature = incremental_of(root / "between", signature)
        second, _ = incremental_of(root / "after", second_signature)
        target = root / "target"
        target.mkdir()
        extract(full, target)
        assert read(target) == read(root / "before")
        clone_stream.apply(io.BytesIO(first), target, verify=True)
        assert read(target) == read(root / "between")
        clone_stream.apply(io.BytesIO(second), target, verify=True)
        assert read(target) == read(root / "after")


def test_only_changed_blocks_travel(tmp_path: Path) -> None:
    (tmp_path / "t.ibd").write_bytes(os.urandom(40 * BLOCK_BYTES))
    _, signature = full_of(tmp_path)
    with (tmp_path / "t.ibd").open("r+b") as file:
        file.seek(17 * BLOCK_BYTES + 5)
        file.write(b"x")
    stream, _ = incremental_of(tmp_path, signature)
    assert BLOCK_BYTES < len(stream) < 2 * BLOCK_BYTES


def test_the_stream_is_the_same_every_time(tmp_path: Path) -> None:
    make(tmp_path, {"b": b"1", "a/x": b"2", "a/y": b"", "empty": None, "c": os.urandom(200_000)})
    assert full_of(tmp_path) == full_of(tmp_path)


@pytest.mark.parametrize("cut", [0, 600, 5000, -1024 - 512, -2048])
def test_a_cut_stream_is_refused(tmp_path: Path, cut: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    make(source, {"a": os.urandom(3000)})
    make(target, {"a": b"old"})
    stream, _ = incremental_of(source, full_of(target)[1])
    with pytest.raises(ToolError, match="cut|damaged|end mark"):
        clone_stream.apply(io.BytesIO(stream[:cut]), target, verify=True)


def test_the_wrong_parent_is_noticed(tmp_path: Path) -> None:
    parent, new, wrong = tmp_path / "parent", tmp_path / "new", tmp_path / "wrong"
    make(parent, {"t.ibd": b"A" * (2 * BLOCK_BYTES)})
    make(new, {"t.ibd": b"A" * BLOCK_BYTES + b"B" * BLOCK_BYTES})
    make(wrong, {"t.ibd": b"C" * (2 * BLOCK_BYTES)})
    stream, _ = incremental_of(new, full_of(parent)[1])
    with pytest.raises(ToolError, match=r"1 files differ from what was backed up: t\.ibd"):
        clone_stream.apply(io.BytesIO(stream), wrong, verify=True)


def test_a_link_is_refused_and_a_socket_left_out(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "mysqld.sock"))
        assert list(clone_stream.walk(tmp_path)) == []
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ToolError, match="link is neither a file nor a directory"):
        list(clone_stream.walk(tmp_path))


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b"])
def test_a_stream_cannot_lead_out_of_the_target(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    tree = f'[{{"path": "{name}", "directory": false, "mode": 420, "size": 1}}]'
    clone_stream._write_member(stream, clone_stream.TREE, tree.encode())
    with pytest.raises(ToolError, match="damaged"):
        clone_stream.apply(io.BytesIO(stream.getvalue() + b"\0" * 1024), tmp_path, verify=True)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:40], lambda data: b"x" + data])
def test_a_cut_signature_is_refused(tmp_path: Path, damage: object) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data", {"a": os.urandom(BLOCK_BYTES * 3), "b": b"x"})
    path = tmp_path / "x.sig"
    _, signature = full_of(tmp_path / "data")
    path.write_bytes(signature)
    check_complete(path)
    path.write_bytes(damage(signature))  # type: ignore[operator]
    with pytest.raises(ToolError, match=r"x\.sig is not a complete block signature"):
        check_complete(path)


def test_the_program_as_a_stage(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    make(source, {"shop/t.ibd": os.urandom(300_000), "empty": None})
    target.mkdir()

    def program(*arguments: str, stdin: bytes = b"") -> bytes:
        return subprocess.run(
            [sys.executable, PROGRAM, *arguments], input=stdin, check=True, capture_output=True
        ).stdout

    full = program("full", "--source", str(source), "--signature-out", str(tmp_path / "1.sig"))
    extract(full, target)
    (source / "shop/u.ibd").write_bytes(b"new")
    incremental = program(
        "incremental",
        "--source",
        str(source),
        "--signature-out",
        str(tmp_path / "2.sig"),
        "--parent-signature",
        str(tmp_path / "1.sig"),
    )
    program("apply", "--target", str(target), stdin=incremental)
    assert read(target) == read(source)
    cut = subprocess.run(
        [sys.executable, PROGRAM, "apply", "--target", str(target)],
        input=incremental[:2000],
        check=False,
        capture_output=True,
    )
    assert cut.returncode == 4
    assert b"cut" in cut.stderr or b"damaged" in cut.stderr


def test_hashing_is_fast() -> None:
    import time

    block = memoryview(bytes(BLOCK_BYTES))
    began = time.process_time()
    for _ in range(1000):
        digest_of(block)
    assert time.process_time() - began < 1.0, "64 MB must not take a second: 1 GB is two seconds' work"
