"""A mysqld of our own beside the host's: reachable by one socket only, and deaf to everything the backup carries.

It fires no events, starts no replication, loads no persisted variables and writes no binlog. Its files lie in one
directory: data/, relay/, tmp/, my.cnf, client.cnf (0600, how to connect), mysqld.log, mysqld.sock.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from holdfast.database import Connection, DatabaseError, connect
from holdfast.errors import ToolError, UsageError
from holdfast.process import run
from holdfast.service import Service

ACCOUNT = "holdfast_restore"
LONGEST_SOCKET_PATH = 107
START_TIMEOUT_SECONDS = 1800.0  # crash recovery of a large backup takes a while
STOP_TIMEOUT_SECONDS = 600.0
POLL_SECONDS = 0.2
MOST_MEMORY_BYTES = 8 << 30
# What a data directory was made with must be said again at every start.
CARRIED_OPTIONS = (
    "lower_case_table_names",
    "innodb_page_size",
    "innodb_data_file_path",
    "default_time_zone",
    "character_set_server",
    "collation_server",
)


@dataclass(frozen=True)
class Instance:
    """The files of a side server in `directory`, run by the program `mysqld`."""

    directory: Path
    mysqld: Path

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.directory / "data"

    @property
    def relay(self) -> Path:
        """Where its relay logs lie."""
        return self.directory / "relay"

    @property
    def socket(self) -> Path:
        """Its only way in."""
        return self.directory / "mysqld.sock"

    @property
    def account_file(self) -> Path:
        """The option file with account, password and socket."""
        return self.directory / "client.cnf"

    @property
    def cnf(self) -> Path:
        """Its configuration."""
        return self.directory / "my.cnf"

    def connect(self) -> Connection:
        """A session of its administrator. Raises DatabaseError."""
        return connect(self.account_file, socket=self.socket)

    def running(self) -> bool:
        """Whether a mysqld works on its data directory."""
        return in_use(self.data)


def configuration(instance: Instance, *, workers: int, server_id: int, memory: int, carried: Mapping[str, str]) -> str:
    """Its my.cnf (pure). `memory`: bytes for the buffer pool."""
    own = instance.directory
    options = {
        "datadir": str(instance.data),
        "socket": str(instance.socket),
        "pid_file": str(own / "mysqld.pid"),
        "log_error": str(own / "mysqld.log"),
        "tmpdir": str(own / "tmp"),
        "skip_networking": "ON",
        "mysqlx": "OFF",
        "local_infile": "OFF",
        "secure_file_priv": "NULL",
        "event_scheduler": "OFF",
        "skip_replica_start": "ON",
        "persisted_globals_load": "OFF",
        "disable_log_bin": None,
        "gtid_mode": "ON",
        "enforce_gtid_consistency": "ON",
        "server_id": str(server_id),
        "relay_log": str(instance.relay / "relay"),
        "relay_log_recovery": "OFF",
        "relay_log_purge": "OFF",
        "replica_parallel_workers": str(workers),
        "replica_preserve_commit_order": "ON",
        "innodb_flush_log_at_trx_commit": "0",
        "innodb_buffer_pool_size": str(memory),
        **carried,
    }
    return "\n".join(
        ["[mysqld]", *(name if value is None else f"{name}={value}" for name, value in options.items()), ""]
    )


def carried_options(printed: Iterable[str]) -> dict[str, str]:
    """Of what my_print_defaults prints, the options that a data directory needs at every start (pure)."""
    found = {}
    for line in printed:
        name, separator, value = line.strip().removeprefix("--").partition("=")
        name = name.replace("-", "_").removeprefix("loose_")
        if separator and name in CARRIED_OPTIONS:
            found[name] = value
    return found


def buffer_pool_bytes(available: int) -> int:
    """A quarter of the memory that is free now, from 128 MiB to 8 GiB (pure): the host's own server may be running."""
    return min(max(available // 4, 128 << 20), MOST_MEMORY_BYTES)


def prepare(instance: Instance, *, workers: int, memory_bytes: int | None = None) -> None:
    """Write configuration and account; the data directory is there already. Raises UsageError, ToolError.

    `memory_bytes` is the most for the buffer pool.
    """
    refuse_long_path(instance)
    for name in ("auto.cnf", "mysqld-auto.cnf"):  # a new server_uuid; nothing persisted
        (instance.data / name).unlink(missing_ok=True)
    for folder in (instance.relay, instance.directory / "tmp"):
        folder.mkdir(mode=0o750, exist_ok=True)
        own_like(folder, instance.directory)
    printed: list[str] = []
    if shutil.which("my_print_defaults"):
        output = run(("my_print_defaults", "mysqld"), name="my_print_defaults", timeout_seconds=30).stdout
        printed = output.decode(errors="replace").splitlines()
    page = os.sysconf("SC_PAGE_SIZE")
    text = configuration(
        instance,
        workers=workers,
        # Events of its own server_id would be skipped: one that no server of a site has.
        server_id=(1 << 31) + secrets.randbelow((1 << 31) - 1),
        memory=min(buffer_pool_bytes(os.sysconf("SC_AVPHYS_PAGES") * page), memory_bytes or MOST_MEMORY_BYTES),
        carried=carried_options(printed),
    )
    _write(instance.cnf, text, 0o640, instance)
    password = secrets.token_urlsafe(24) + "-aA1"  # the backup may carry a password policy
    _write(
        instance.account_file,
        f"[client]\nuser={ACCOUNT}\npassword={password}\nsocket={instance.socket}\n",
        0o600,
        None,
    )
    _write(
        instance.directory / "init.sql",
        "SET sql_log_bin=0;\n"
        f"DROP USER IF EXISTS '{ACCOUNT}'@'localhost';\n"
        f"CREATE USER '{ACCOUNT}'@'localhost' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO '{ACCOUNT}'@'localhost' WITH GRANT OPTION;\n",
        0o600,
        instance,
    )


def refuse_long_path(instance: Instance) -> None:
    """Raise UsageError where the kernel could not make the socket."""
    if len(str(instance.socket)) > LONGEST_SOCKET_PATH:
        raise UsageError(
            f"{instance.socket} is longer than {LONGEST_SOCKET_PATH} characters",
            meaning="A socket cannot have such a name.",
            remedy="Choose a shorter --directory.",
        )


@contextmanager
def started(instance: Instance) -> Iterator[Service]:
    """The server, from its start until the block is left; the password is off the disk for all but root by then."""
    init = instance.directory / "init.sql"
    argv = [str(instance.mysqld), f"--defaults-file={instance.cnf}"]
    if init.exists():
        argv.append(f"--init-file={init}")
    service = Service(
        "side mysqld",
        tuple(argv),
        lambda: _answers(instance),
        START_TIMEOUT_SECONDS,
        stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
        user=_owner(instance),
    )
    try:
        with service:
            init.unlink(missing_ok=True)
            yield service
    except ToolError as error:
        raise ToolError(error.what, meaning=error.meaning + "\n" + log_tail(instance), remedy=error.remedy) from error


def start_for_people(instance: Instance) -> None:
    """Start it so that it outlives this program. Raises ToolError."""
    argv = (str(instance.mysqld), f"--defaults-file={instance.cnf}", "--daemonize")
    run(argv, name="side mysqld", timeout_seconds=START_TIMEOUT_SECONDS, user=_owner(instance))
    with instance.connect():
        pass


def stop(instance: Instance) -> None:
    """Drop our account, shut it down and wait until it is gone. Raises ToolError."""
    with instance.connect() as connection:
        process = Path("/proc") / str(int(Path(connection.value("SELECT @@GLOBAL.pid_file")).read_text()))
        drop_account(connection)
        connection.execute("SHUTDOWN")
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    pause = Event()
    while instance.running() or process.exists():
        if time.monotonic() > deadline:
            raise ToolError(f"the server in {instance.directory} did not stop in {STOP_TIMEOUT_SECONDS:.0f} s")
        pause.wait(POLL_SECONDS)


def drop_account(connection: Connection) -> None:
    """Leave no administrator of ours in the data; this session goes on."""
    connection.execute("SET sql_log_bin=0")
    connection.execute(f"DROP USER IF EXISTS '{ACCOUNT}'@'localhost'")


def in_use(data_directory: Path) -> bool:
    """Whether a mysqld holds InnoDB's lock on that data directory."""
    try:
        descriptor = os.open(data_directory / "ibdata1", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def log_tail(instance: Instance, lines: int = 15) -> str:
    """The last errors and warnings that it logged."""
    try:
        text = (instance.directory / "mysqld.log").read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if "[ERROR]" in line or "[Warning]" in line][-lines:])


def own_like(path: Path, model: Path) -> None:
    """Give a file the owner of another."""
    status = model.stat()
    os.chown(path, status.st_uid, status.st_gid)


def _answers(instance: Instance) -> bool:
    try:
        with instance.connect():
            return True
    except DatabaseError:
        return False


def _owner(instance: Instance) -> str:
    return pwd.getpwuid(instance.data.stat().st_uid).pw_name


def _write(path: Path, text: str, mode: int, owner_of: Instance | None) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    if owner_of is not None:
        own_like(path, owner_of.directory)
