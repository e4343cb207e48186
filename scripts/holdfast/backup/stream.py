"""The stream of binlogs: a healthy replica's own log in pieces, as it grows (docs/decisions/binlog-stream.md).

It only reads: no FLUSH, no statement that writes, no dump thread that anybody could take for a replica.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from time import monotonic

from holdfast.backup import lineage
from holdfast.backup.binlogs import FOLDER as BINLOGS
from holdfast.backup.binlogs import compress_file
from holdfast.backup.spool import disk_errors, private_spool
from holdfast.backup.store import Store
from holdfast.backup.stream_cut import Stretch, copy_stretch, next_stretch
from holdfast.backup.stream_piece import StreamPiece, folder_of
from holdfast.backup.stream_sign import StreamSign, name_of_sign
from holdfast.backup.take import evidence_of
from holdfast.clock import utc_now
from holdfast.cluster import ServerState, Verdict, assess_source, observe
from holdfast.config import Config
from holdfast.database import Connection, connect
from holdfast.errors import ExitCode, HoldfastError, StorageError
from holdfast.gtid import GtidSet
from holdfast.lock import hold

LOCK = "stream"
PIECE_BYTES = 64 << 20  # what a turn has to catch up is cut at this size: it bounds the spool
READ_TIMEOUT_SECONDS = 30  # a frozen server answers nothing; the next turn asks again
SHORTEST_PAUSE_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where the stream is: `number` pieces of `file` are stored, which are its first `end` bytes."""

    line: str
    file: str
    number: int = 0
    end: int = 0


@dataclass(frozen=True)
class Turn:
    """What one turn did. `idle` is why this host does not stream; the pieces are those that it stored."""

    idle: str = ""
    pieces: tuple[StreamPiece, ...] = ()


class Stream:
    """Carries what is new of this host's binlogs into the store, a turn at a time."""

    def __init__(self, config: Config, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        """Nothing is known of the store yet: the first turn looks there."""
        self._config, self._store, self._now = config, store, now
        self._place: Place | None = None

    def turn(self, connection: Connection) -> Turn:
        """Store what the server has more than the store. Raises what database, binlog, lz4 and store raise."""
        try:
            return self._turn(connection)
        except BaseException:
            self._place = None  # how far it came is in the store
            raise

    def _turn(self, connection: Connection) -> Turn:
        at = self._now()
        verdict = verdict_of(observe(connection), self._config)
        if not verdict.work:
            self._place = None
            return Turn(idle=verdict.reason)
        # In this order: what `state` says was executed lies before its position, which lies before what is listed.
        line, state = self._line(connection, at)
        directory = Path(str(connection.value("SELECT @@log_bin_basename"))).parent
        purged = GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_purged")))
        sizes = {str(row["Log_name"]): int(row["File_size"]) for row in connection.rows("SHOW BINARY LOGS")}
        visible = visible_bytes(sizes, state.binlog_file, state.binlog_position)
        if self._place is None or self._place.line != line or self._place.file not in visible:
            self._place = self._place_in_store(line, visible, directory)
        made: list[StreamPiece] = []
        for file in list(visible)[list(visible).index(self._place.file) :]:
            if file != self._place.file:
                self._place = Place(line, file)
            closed = file != state.binlog_file
            path = directory / file
            while stretch := next_stretch(path, self._place.end, visible[file], PIECE_BYTES, closed=closed):
                made.append(self._store_piece(self._place, path, stretch, state, purged, at))
        lag = max((channel.lag_seconds or 0 for channel in state.channels), default=0)
        sign = StreamSign(self._config.host, at, line, state.binlog_file, lag, state.gtid_executed)
        self._store.put_bytes(name_of_sign(sign.host), sign.to_json(), overwrite=True)
        return Turn(pieces=tuple(made))

    def _line(self, connection: Connection, at: datetime) -> tuple[str, ServerState]:
        seen: list[ServerState] = []

        def look() -> lineage.Evidence:
            seen.append(observe(connection))
            return evidence_of(seen[-1])

        return lineage.update(self._config.state_directory, look, at).lineage, seen[-1]

    def _place_in_store(self, line: str, visible: Mapping[str, int], directory: Path) -> Place:
        """Where an earlier process, or this one before its role changed, left off."""
        left = not_archived(list(visible), [item.name for item in self._store.list(f"{BINLOGS}/{line}")])
        # The last that has pieces is where the stream was, for it never leaves a file before its end.
        for file in reversed(left):
            pieces = self._store.list(folder_of(line, file))
            if records := [item.name for item in pieces if item.name.endswith(".json")]:
                return self._after(line, file, max(records), directory / file, closed=file != left[-1])
        return Place(line, left[0])

    def _after(self, line: str, file: str, record: str, path: Path, *, closed: bool) -> Place:
        last = StreamPiece.from_json(self._store.get_bytes(record), record)
        if closed and path.stat().st_size < last.end:
            # A server that crashed lost the end of it, which had not reached its disk: it has it again in a later file.
            log.warning("%s is shorter than what was streamed of it: the server crashed", file)
        elif copy_stretch(path, last.start, last.end, None) != last.content_sha256:
            raise StorageError(
                f"{record} was streamed from another {file}",
                meaning="Two servers, or two lives of one server, share a lineage; nothing was overwritten.",
                remedy="Find out whether this server was restored by hand. If it was, remove lineage.json in the state "
                "directory: a new lineage begins.",
            )
        return Place(line, file, last.number, last.end)

    def _store_piece(
        self, place: Place, path: Path, stretch: Stretch, state: ServerState, purged: GtidSet, at: datetime
    ) -> StreamPiece:
        """Upload one piece, its record last."""
        spool_directory = self._config.backup.spool_directory
        with private_spool(spool_directory) as spool:
            raw, packed = spool / "piece", spool / "piece.lz4"
            with disk_errors(spool_directory):
                content = copy_stretch(path, stretch.start, stretch.end, raw)
            digest = compress_file(raw, packed, self._config.backup.lz4_level, spool_directory)
            piece = StreamPiece(
                lineage=place.line,
                server_uuid=state.server_uuid,
                host=self._config.host,
                file=path.name,
                number=place.number + 1,
                start=stretch.start,
                end=stretch.end,
                stored_size=packed.stat().st_size,
                sha256=digest,
                content_sha256=content,
                previous_gtids=stretch.previous_gtids | purged,
                gtids=stretch.gtids,
                first_time=stretch.first_time,
                last_time=stretch.last_time,
                server_version=stretch.server_version,
                taken_at=at,
            )
            # Without its record the object is what a killed turn left, perhaps of fewer bytes: it is replaced.
            self._store.put(packed, piece.object_name, overwrite=True)
        self._store.put_bytes(piece.record_name, piece.to_json())
        if piece.number == 1:
            log.info("streams %s/%s", piece.lineage, piece.file)
        self._place = Place(piece.lineage, piece.file, piece.number, piece.end)
        return piece


def verdict_of(state: ServerState, config: Config) -> Verdict:
    """Whether this host streams: as a healthy replica, and never in the primary's place (pure)."""
    verdict = assess_source(state, last_backup_age_hours=0.0, config=config.backup)
    if verdict.on_primary:
        return Verdict(False, f"primary, {state.connected_replicas} replica(s) connected: streaming is theirs", True)
    return verdict


def visible_bytes(sizes: Mapping[str, int], open_file: str, position: int) -> dict[str, int]:
    """The files up to the open one, in order, and how many bytes of each hold whole events by now (pure)."""
    files = [file for file in sorted(sizes, key=lineage.sequence_of)]
    last = lineage.sequence_of(open_file)
    found = {file: sizes[file] for file in files if lineage.sequence_of(file) < last}
    return {**found, open_file: position}


def not_archived(files: Sequence[str], archived: Sequence[str]) -> list[str]:
    """Of the server's files, in order, those that the archive lacks, by the names of its objects (pure).

    What it has is passed over with all before it: the hourly job goes in order, and makes up for what it left out.
    """
    whole = [name.rpartition("/")[2].removesuffix(".json") for name in archived if name.endswith(".json")]
    newest = max((lineage.sequence_of(file) for file in whole), default=-1)
    return [file for file in files if lineage.sequence_of(file) > newest] or list(files[-1:])


def serve(config: Config, *, now: Callable[[], datetime] = utc_now, stop: Event | None = None) -> ExitCode:
    """Take a turn each `backup.stream_interval_seconds` until `stop`, or SIGTERM. What fails is tried again.

    Raises LockedError when another process streams, and ConfigurationError.
    """
    stop = stop or Event()
    interval = config.backup.stream_interval_seconds
    with hold(LOCK, config.state_directory):
        stream = Stream(config, Store(config.store, config.cluster), now)
        said = ""
        while not stop.is_set():
            began = monotonic()
            try:
                account, place = config.mysql.backup_account_file, config.mysql.socket
                with connect(account, socket=place, read_timeout_seconds=READ_TIMEOUT_SECONDS) as connection:
                    saying = stream.turn(connection).idle or "this host is the healthy replica: streams"
                level = logging.INFO
            except (HoldfastError, OSError) as error:
                saying, level = f"failed, and is tried again: {error}", logging.ERROR
            if saying != said:  # once, or a store that is away for a night fills the journal
                log.log(level, "%s", saying)
                said = saying
            stop.wait(max(SHORTEST_PAUSE_SECONDS, interval - (monotonic() - began)))
    return ExitCode.DONE
