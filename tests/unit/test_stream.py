"""The stream: which bytes a piece has, what pieces make together, and what a turn stores of a server that writes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

from holdfast.backup import binlogs, stream
from holdfast.backup.binlogs import archive
from holdfast.backup.stream import Stream, not_archived, serve, visible_bytes
from holdfast.backup.stream_cut import copy_stretch, next_stretch
from holdfast.backup.stream_piece import StreamPiece, file_of, list_live, live_records, open_files
from holdfast.backup.stream_sign import StreamSign
from holdfast.binlog import summarise
from holdfast.cluster import ReplicaChannel, ServerState
from holdfast.config import Config, parse
from holdfast.database import Connection, DatabaseError
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet
from holdfast.recovery.fetch import fetch_binlog
from support.backups import LINEAGE, SERVER, START, MemoryStore, entry, gtids, streamed
from support.binlog_builder import binary_log, transaction

HEALTHY: tuple[ReplicaChannel, ...] = (ReplicaChannel(True, True, 3, "", "db1"),)
LINE = f"{SERVER}-20261122T010000Z"


def wrote(number: int) -> bytes:
    return transaction(SERVER, number, START + timedelta(seconds=number))


class Server:
    """A replica whose binlogs grow; it refuses every statement that is not a question."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: dict[int, list[int]] = {1: []}
        self.number = 1
        self.channels: tuple[ReplicaChannel, ...] = HEALTHY
        self.read_only = True
        self.half = b""
        self.write()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def commit(self, *numbers: int) -> None:
        self.files[self.number] += numbers
        self.write()

    def rotate(self) -> None:
        self.write(closed=True)
        self.number += 1
        self.files[self.number] = []
        self.write()

    def write(self, *, closed: bool = False) -> None:
        before = [number for file, members in self.files.items() if file < self.number for number in members]
        head = GtidSet({SERVER: [(number, number) for number in before]})
        data = binary_log(head, [wrote(number) for number in self.files[self.number]], closed=closed)
        self.position = len(data)
        self.path().write_bytes(data + self.half)

    def path(self, number: int = 0) -> Path:
        return self.directory / f"binlog.{number or self.number:06d}"

    def value(self, sql: str) -> str:
        return {
            "SELECT @@log_bin_basename": f"{self.directory}/binlog",
            "SELECT @@GLOBAL.gtid_purged": "",
            "SELECT @@server_uuid": SERVER,
        }[sql]

    def execute(self, sql: str) -> int:
        assert sql == "FLUSH BINARY LOGS", "that is the hourly job's"
        self.rotate()
        return 0

    def rows(self, sql: str) -> list[dict[str, Any]]:
        assert sql == "SHOW BINARY LOGS"
        files = sorted(self.directory.glob("binlog.*"))
        return [{"Log_name": file.name, "File_size": file.stat().st_size} for file in files]

    def state(self) -> ServerState:
        done = [number for members in self.files.values() for number in members]
        return ServerState(
            server_uuid=SERVER,
            version="9.7.4",
            series="9.7",
            read_only=self.read_only,
            super_read_only=self.read_only,
            gtid_executed=GtidSet({SERVER: [(number, number) for number in done]}),
            binlog_file=self.path().name,
            binlog_position=self.position,
            channels=self.channels,
            connected_replicas=0,
            data_directory=self.directory,
        )


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    (tmp_path / "data").mkdir()
    for module in (stream, binlogs):
        monkeypatch.setattr(module, "observe", lambda connection: connection.state())
    return Server(tmp_path / "data")


@pytest.fixture
def config(tmp_path: Path, configuration: Callable[..., dict[str, Any]]) -> Config:
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    changes = {"state_directory": str(tmp_path / "state"), "backup.spool_directory": str(tmp_path / "spool")}
    return parse(configuration(**changes, **{"backup.stream_interval_seconds": 1, "host": "db2"}))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def streaming(config: Config, store: MemoryStore) -> Stream:
    return Stream(config, store.store, lambda: START)


def turn(streaming: Stream, server: Server) -> list[str]:
    """Take a turn; return file, number, bytes and transactions of each piece."""
    made = streaming.turn(cast("Connection", server))
    assert not made.idle
    return [
        f"{int(piece.file[-6:])}.{piece.number} {piece.gtids.one_line().rpartition(':')[2]}" for piece in made.pieces
    ]


def whole(store: MemoryStore, number: int) -> tuple[bytes, GtidSet]:
    """Return what the pieces of a file make, and the transactions that they claim."""
    records = [
        StreamPiece.from_json(store.objects[name], name)
        for name in live_records(store.objects)
        if f"binlog.{number:06d}/" in name
    ]
    files, problems = open_files(records, store.objects)
    assert not problems
    unpacked = [
        subprocess.run(["lz4", "-dc"], input=store.objects[piece.object_name], capture_output=True, check=True).stdout
        for piece in files[0].pieces
    ]
    return b"".join(unpacked), files[0].gtids


def test_each_turn_stores_what_is_new_and_says_how_far_it_came(
    streaming: Stream, server: Server, store: MemoryStore
) -> None:
    assert turn(streaming, server) == ["1.1 "]
    server.commit(1, 2)
    assert turn(streaming, server) == ["1.2 1-2"]
    assert turn(streaming, server) == []
    server.commit(3)
    assert turn(streaming, server) == ["1.3 3"]
    name = "state/stream/db2.json"
    sign = StreamSign.from_json(store.objects[name], name)
    assert (sign.at, sign.reached) == (START, START - timedelta(seconds=3))
    assert sign.gtid_executed == gtids("A:1-3")
    lz4, record = [f"stream/{LINE}/binlog.000001/000001.{ending}" for ending in ("lz4", "json")]
    assert store.order.index(lz4) < store.order.index(record), "the record counts, so it comes last"
    assert whole(store, 1)[1] == gtids("A:1-3")


def test_pieces_are_byte_for_byte_the_beginning_of_the_closed_file(
    streaming: Stream, server: Server, store: MemoryStore
) -> None:
    server.commit(1)
    turn(streaming, server)
    server.commit(2)
    server.rotate()
    server.commit(3)
    assert turn(streaming, server) == ["1.2 2", "2.1 3"]
    closed = server.path(1).read_bytes()
    assert whole(store, 1) == (closed, gtids("A:1-2")), "with its rotation, and without the flag of an open file"
    unflagged = bytearray(server.path(2).read_bytes())
    assert unflagged[21] == 1
    unflagged[21] = 0
    assert whole(store, 2) == (bytes(unflagged), gtids("A:3"))


def test_half_a_transaction_waits(streaming: Stream, server: Server, store: MemoryStore) -> None:
    server.half = wrote(2)[:-9]
    server.commit(1)
    server.position += len(server.half)  # it says so while it writes one that is larger than its cache
    assert turn(streaming, server) == ["1.1 1"]
    server.half = b""
    server.commit(2)
    assert turn(streaming, server) == ["1.2 2"]


def test_what_a_crashed_server_left_half_written_is_passed_over(
    streaming: Stream, server: Server, store: MemoryStore
) -> None:
    server.commit(1)
    turn(streaming, server)
    server.half = wrote(2)[:-9]
    server.commit()
    server.half, server.number, server.files[2] = b"", 2, []
    server.write()
    assert turn(streaming, server) == ["2.1 "]
    assert whole(store, 1)[1] == gtids("A:1")


def test_much_at_once_is_cut(
    streaming: Stream, server: Server, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PIECE_BYTES", 3 * len(wrote(1)))
    server.commit(*range(1, 9))
    assert turn(streaming, server) == ["1.1 1", "1.2 2-4", "1.3 5-7", "1.4 8"]
    monkeypatch.setattr(stream, "PIECE_BYTES", 1)
    server.commit(9, 10)
    assert turn(streaming, server) == ["1.5 9", "1.6 10"], "one transaction is never cut"
    assert whole(store, 1)[1] == gtids("A:1-10")


@pytest.mark.parametrize(
    ("channels", "read_only", "words"),
    [
        ((), False, "streaming is theirs"),
        ((), True, "perhaps an old primary"),
        ((ReplicaChannel(False, True, 0, "gone", "db1"),), True, "the receiver does not run"),
        ((ReplicaChannel(True, True, 601, "", "db1"),), True, "601 s behind"),
        (HEALTHY, False, "accepts writes"),
    ],
)
def test_only_a_healthy_replica_streams(
    streaming: Stream, server: Server, store: MemoryStore, channels: Any, read_only: bool, words: str
) -> None:
    server.channels, server.read_only = channels, read_only
    made = streaming.turn(cast("Connection", server))
    assert words in made.idle
    assert not store.objects


def test_a_closed_file_that_lost_its_end_in_a_crash_is_left_as_it_is(
    streaming: Stream, server: Server, store: MemoryStore, config: Config
) -> None:
    server.commit(1, 2)
    turn(streaming, server)
    server.files[1] = [1]
    server.rotate()
    server.commit(2)
    for again in (streaming, Stream(config, store.store, lambda: START)):
        assert turn(again, server) == (["2.1 2"] if again is streaming else [])
    del store.objects[f"stream/{LINE}/binlog.000002/000001.json"]
    assert turn(Stream(config, store.store, lambda: START), server) == ["2.1 2"]


def test_a_new_process_goes_on_where_the_old_one_was(
    streaming: Stream, server: Server, store: MemoryStore, config: Config
) -> None:
    server.commit(1, 2)
    turn(streaming, server)
    store.objects[f"stream/{LINE}/binlog.000001/000002.lz4"] = b"what a killed turn left"
    server.commit(3)
    assert turn(Stream(config, store.store, lambda: START), server) == ["1.2 3"]
    server.rotate()
    server.rotate()
    server.commit(4)
    assert turn(Stream(config, store.store, lambda: START), server) == ["1.3 ", "2.1 ", "3.1 4"]
    assert whole(store, 1)[0] == server.path(1).read_bytes()


def test_a_role_that_comes_back_goes_on_too(streaming: Stream, server: Server, store: MemoryStore) -> None:
    server.commit(1)
    turn(streaming, server)
    server.channels, server.read_only = (), False
    server.commit(2)
    assert streaming.turn(cast("Connection", server)).idle
    server.channels, server.read_only = HEALTHY, True
    server.commit(3)
    assert turn(streaming, server) == ["1.2 2-3"]


def test_what_the_hourly_job_archived_is_not_streamed(
    streaming: Stream, server: Server, store: MemoryStore, config: Config
) -> None:
    server.commit(1)
    archive(config, store.store, cast("Connection", server), lambda: START)
    server.commit(2)
    assert turn(streaming, server) == ["2.1 2"]
    archive(config, store.store, cast("Connection", server), lambda: START)
    assert live_records(store.objects) == [], "the archive has all of it"


@pytest.mark.parametrize("shorter", [False, True])
def test_another_file_under_the_same_name_is_refused(
    streaming: Stream, server: Server, store: MemoryStore, config: Config, shorter: bool
) -> None:
    server.commit(1)
    turn(streaming, server)
    server.files[1] = []
    server.commit(1, 2, 3)
    data = server.path().read_bytes()
    server.path().write_bytes(data[:150] if shorter else data.replace(b"BEGIN", b"begin"))
    before = dict(store.objects)
    with pytest.raises(StorageError, match="was streamed from another binlog"):
        turn(Stream(config, store.store, lambda: START), server)
    assert store.objects == before


def test_a_failed_upload_is_made_up_for_at_the_next_turn(streaming: Stream, server: Server, store: MemoryStore) -> None:
    server.commit(1)
    turn(streaming, server)
    server.commit(2)
    store.refuse = {f"stream/{LINE}/binlog.000001/000002.json"}
    with pytest.raises(StorageError):
        turn(streaming, server)
    store.refuse = set()
    server.commit(3)
    assert turn(streaming, server) == ["1.2 2-3"]
    assert whole(store, 1)[1] == gtids("A:1-3")


@pytest.fixture
def hasty(config: Config, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration of a service that calls this store, and does not pause between two turns."""
    monkeypatch.setattr(stream, "Store", lambda *_: store)
    monkeypatch.setattr(stream, "SHORTEST_PAUSE_SECONDS", 0.0)
    return replace(config, backup_or_none=replace(config.backup, stream_interval_seconds=0))


def test_the_service_survives_what_fails(
    hasty: Config, server: Server, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, calls = Event(), 0

    def connect(*_: object, **__: object) -> Server:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise DatabaseError("MySQL is restarted")
        if calls == 2:
            store.refuse = {"the store"}
        if calls == 3:
            store.refuse = set()
            stop.set()
        return server

    monkeypatch.setattr(stream, "connect", connect)
    serve(hasty, now=lambda: START, stop=stop)
    assert calls == 3
    assert "state/stream/db2.json" in store.objects


def test_what_lasts_is_said_once(
    hasty: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store or a server that is away for a night does not fill the journal."""
    stop, calls = Event(), 0

    def connect(*_: object, **__: object) -> Server:
        nonlocal calls
        calls += 1
        if calls == 5:
            stop.set()
        raise DatabaseError("MySQL is away")

    monkeypatch.setattr(stream, "connect", connect)
    serve(hasty, now=lambda: START, stop=stop)
    assert calls == 5
    assert caplog.text.count("failed, and is tried again: MySQL is away") == 1


def test_a_restore_reads_the_pieces_and_refuses_one_that_was_changed(
    streaming: Stream, server: Server, store: MemoryStore, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        server.commit(number)
        turn(streaming, server)
    records = [StreamPiece.from_json(store.objects[name], name) for name in live_records(store.objects)]
    ((file,), _) = open_files(records, store.objects)

    class Downloads(MemoryStore):
        def get(self, name: str, local: Path, *, cancel: object = None) -> None:
            local.write_bytes(store.objects[name])

    fetch_binlog(file, Downloads().store, tmp_path / "whole")
    assert summarise(tmp_path / "whole").gtids_in_file == gtids("A:1-3")
    changed = file.pieces[1].object_name
    store.objects[changed] = store.objects[changed][:-1] + b"x"
    with pytest.raises(StorageError, match=rf"{changed} is not what was archived"):
        fetch_binlog(file, Downloads().store, tmp_path / "whole")


@pytest.mark.parametrize(
    ("missing", "kept", "said"),
    [
        ((), 3, ""),
        (("json", 3), 2, ""),  # as if the turn had not ended
        (("lz4", 3), 2, "binlog.000030/000003 is missing"),
        (("lz4", 2), 1, "binlog.000030/000002 is missing"),
        (("json", 2), 1, "binlog.000030/000002 is missing"),
        (("json", 1), 0, "none of its pieces counts"),
    ],
)
def test_a_file_counts_as_far_as_no_piece_is_missing(
    missing: tuple[str, int] | tuple[()], kept: int, said: str
) -> None:
    pieces = [streamed(30, n, "A:1-300", f"A:{n}", hours=n) for n in (301, 302, 303)]
    stored = {name for piece in pieces for name in (piece.object_name, piece.record_name)}
    if missing:
        stored.remove(f"stream/{LINEAGE}/binlog.000030/{missing[1]:06d}.{missing[0]}")
    read = [piece for piece in pieces if piece.record_name in stored]
    files, problems = open_files(reversed(read), stored)
    assert [len(file.pieces) for file in files] == ([kept] if kept else [])
    assert bool(problems) == bool(said) and all(said in problem for problem in problems)
    if files:
        assert files[0].gtids == gtids(f"A:301-{300 + kept}")
        assert (files[0].size, files[0].stored_size) == (100 * kept, 50 * kept)
        assert files[0].last_time == START + timedelta(hours=300 + kept)


def test_pieces_that_do_not_meet_are_no_file() -> None:
    first, second = (streamed(30, n, "A:1-300", f"A:{n}", hours=n) for n in (301, 302))
    overlap = replace(second, start=90)
    files, problems = open_files([first, overlap], {first.object_name, second.object_name})
    assert [file.gtids for file in files] == [gtids("A:301")]
    assert len(problems) == 1


def test_records_count_until_the_archive_has_the_file() -> None:
    one, other = streamed(30, 301, "A:1-300", "A:301", hours=1), streamed(31, 303, "A:1-302", "A:303", hours=2)
    stored = {one.record_name, one.object_name, other.record_name, "stream/x", "stream/a/b/1.json", "stream/a/b.json"}
    assert live_records(stored) == [one.record_name, other.record_name]
    assert live_records(stored | {entry(30, "", "A:1", hours=None).entry_name}) == [other.record_name]


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: data.replace(b"100", b"101")])
def test_a_damaged_record_does_not_count(damage: Callable[[bytes], bytes]) -> None:
    piece = streamed(30, 301, "A:1-300", "A:301", hours=1)
    assert StreamPiece.from_json(piece.to_json(), piece.record_name) == piece
    with pytest.raises(StorageError, match=r"binlog\.000030/000001\.json"):
        StreamPiece.from_json(damage(piece.to_json()), piece.record_name)
    with pytest.raises(StorageError, match="says that it is"):
        StreamPiece.from_json(piece.to_json(), piece.record_name.replace("030", "031"))


@pytest.mark.parametrize(
    ("archived", "left"),
    [
        ([], [1, 2, 3]),
        ([1], [2, 3]),
        ([2], [3]),  # what comes before is the hourly job's to make up for
        ([1, 2, 3], [3]),  # cannot be: the open file is never archived
    ],
)
def test_what_is_not_archived(archived: list[int], left: list[int]) -> None:
    files = [f"binlog.{number:06d}" for number in (1, 2, 3)]
    entries = [f"binlogs/x/binlog.{number:06d}.{ending}" for number in archived for ending in ("lz4", "json")]
    found = not_archived(files, [*entries, "binlogs/x/20261122.index", "binlogs/x/binlog.000009.lz4"])
    assert found == [f"binlog.{number:06d}" for number in left]


def test_only_folders_of_files_that_are_not_archived_are_listed() -> None:
    store = MemoryStore()
    one, other = streamed(30, 301, "A:1-300", "A:301", hours=1), streamed(31, 303, "A:1-302", "A:303", hours=2)
    for piece in (one, other):
        store.objects |= {piece.object_name: b"", piece.record_name: b""}
    archived = {entry(30, "", "A:1", hours=None).entry_name}
    assert [item.name for item in list_live(store.store, archived)] == [other.record_name, other.object_name]
    assert len(list_live(store.store, ())) == 4


def test_names() -> None:
    assert file_of("stream/x/binlog.000001/000012.lz4") == ("x", "binlog.000001")
    for name in ("stream/x/binlog.000001.lz4", "binlogs/x/binlog.000001/000012.lz4", "stream/x/a.b/1.lz4", "stream/x"):
        with pytest.raises(ValueError):  # noqa: PT011
            file_of(name)


def test_visible_bytes_end_with_the_open_file() -> None:
    sizes = {"binlog.000010": 100, "binlog.000009": 90, "binlog.000011": 110}
    found = visible_bytes(sizes, "binlog.000010", 80)
    assert list(found.items()) == [("binlog.000009", 90), ("binlog.000010", 80)]


def test_a_stretch_is_empty_when_nothing_whole_follows(tmp_path: Path) -> None:
    data = binary_log(GtidSet(), [wrote(1)], closed=False)
    path = tmp_path / "binlog.000001"
    path.write_bytes(data)
    assert next_stretch(path, len(data), len(data), 100, closed=False) is None
    assert next_stretch(path, 0, len(data) + 50, 100, closed=False) is not None
    assert copy_stretch(path, 0, 30, tmp_path / "copy") == copy_stretch(tmp_path / "copy", 0, 30, None)


def test_the_moment_of_a_sign_is_that_of_the_servers_source() -> None:
    sign = StreamSign("db2", datetime(2026, 11, 22, tzinfo=START.tzinfo), "x", "binlog.000001", 7, gtids("A:1"))
    assert StreamSign.from_json(sign.to_json(), "state/stream/db2.json") == sign
    with pytest.raises(StorageError, match="says that it is of db2"):
        StreamSign.from_json(sign.to_json(), "state/stream/db1.json")


@pytest.mark.parametrize("maximum", [1, 300, 10_000])
def test_a_file_of_mysql_is_cut_without_a_byte_lost_or_added(tmp_path: Path, maximum: int) -> None:
    real = Path(__file__).parent / "data" / "mysql-9.7.4.binlog"
    size, end, parts, seen = real.stat().st_size, 0, [], GtidSet()
    while stretch := next_stretch(real, end, size, maximum, closed=True):
        assert (stretch.start, stretch.previous_gtids) == (end, summarise(real).previous_gtids)
        copy_stretch(real, stretch.start, stretch.end, tmp_path / "part")
        parts.append((tmp_path / "part").read_bytes())
        seen, end = seen | stretch.gtids, stretch.end
    assert b"".join(parts) == real.read_bytes()
    assert seen == summarise(real).gtids_in_file and len(parts) >= (2 if maximum == 1 else 1)
