"""Telling people how a job went: what is said (pure texts), and the context manager that says it in any case."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from holdfast.channels import MAXIMUM_CHARACTERS, failures_by_command, failures_by_telegram
from holdfast.config import NotificationsConfig
from holdfast.errors import HoldfastError, LockedError, NotThisHostError, Stopped, disk_full

log = logging.getLogger(__name__)
CUT = "\n[... cut ...]\n"


@dataclass(frozen=True)
class BackupSucceeded:
    """A backup is complete and stored; sizes in bytes, `note` for what a person should know besides."""

    kind: str
    cluster: str
    host: str
    backup_id: str
    stored_bytes: int
    data_bytes: int
    duration_seconds: float
    chain_id: str
    reason: str
    note: str = ""

    def text(self) -> str:
        """The message."""
        lines = [
            f"OK {self.kind} backup of {self.cluster} ({self.host})",
            f"size {bytes_text(self.stored_bytes)} compressed ({bytes_text(self.data_bytes)} data), "
            f"took {duration_text(self.duration_seconds)}",
            f"backup {self.backup_id}",
            f"chain {self.chain_id}, reason {self.reason}",
        ]
        return "\n".join([*lines, self.note] if self.note else lines)


@dataclass(frozen=True)
class Succeeded:
    """A job other than a backup went well."""

    job: str
    cluster: str
    host: str
    duration_seconds: float
    detail: str = ""

    def text(self) -> str:
        """The message."""
        head = f"OK {self.job} of {self.cluster} ({self.host}), took {duration_text(self.duration_seconds)}"
        return f"{head}\n{self.detail}" if self.detail else head


@dataclass(frozen=True)
class Failed:
    """A job failed; `runbook` is the file's whole path or address."""

    job: str
    cluster: str
    host: str
    what: str
    meaning: str
    remedy: str
    runbook: str

    def text(self) -> str:
        """The message; what is said first survives when it has to be cut."""
        parts = [f"FAILED {self.job} of {self.cluster} ({self.host})", self.what]
        if self.meaning:
            parts.append(self.meaning)
        if self.remedy:
            parts.append(f"To do: {self.remedy}")
        return "\n".join([*parts, f"Runbook: {self.runbook}"])


Message = BackupSucceeded | Succeeded | Failed


@dataclass(frozen=True)
class Job:
    """Who reports: the job's name for people, and the runbook's file name below notifications.runbooks."""

    name: str
    cluster: str
    host: str
    runbook: str


class Report:
    """What the job says when it went well; without a message it says nothing then."""

    def __init__(self) -> None:
        self.message: BackupSucceeded | Succeeded | None = None


@contextlib.contextmanager
def reported(job: Job, config: NotificationsConfig) -> Iterator[Report]:
    """Send `report.message` when the block ends well, and the error, which goes on, when it does not.

    Nothing is sent for NotThisHostError and LockedError: nothing is wrong then, and the run that works reports.
    """
    report = Report()
    try:
        yield report
    except (NotThisHostError, LockedError):
        raise
    except BaseException as error:
        if not isinstance(error, GeneratorExit):
            tell(config, failure_of(job, config, error))
        raise
    if report.message is not None:
        tell(config, report.message)


def failure_of(job: Job, config: NotificationsConfig, error: BaseException) -> Failed:
    """The message about an error (pure)."""
    runbook = f"{config.runbooks.rstrip('/')}/{job.runbook}"
    error = disk_full(error) or error
    if isinstance(error, HoldfastError):
        what, meaning, remedy = error.what, error.meaning, error.remedy
    elif isinstance(error, (Stopped, KeyboardInterrupt)):
        what, meaning, remedy = "stopped by a signal", "Someone or a shutdown ended it; it is not complete.", ""
    else:
        what, meaning, remedy = f"a bug: {type(error).__name__}: {error}", "The log has the traceback.", ""
    return Failed(job.name, job.cluster, job.host, what, meaning, remedy, runbook)


def tell(config: NotificationsConfig, message: Message) -> None:
    """Send a message and log what could not be sent; never raises an Exception."""
    for failure in send(config, message.text()):
        log.warning("notification not sent: %s", failure)


def send(config: NotificationsConfig, text: str) -> list[str]:
    """Send a text by every configured channel; what failed, in words without secrets. Never raises an Exception."""
    return list(send_by(config, text, channels_of(config)).values())


def channels_of(config: NotificationsConfig) -> tuple[str, ...]:
    """Name the channels that are configured (pure)."""
    return (*(["telegram"] if config.telegram is not None else []), *(["command"] if config.command else []))


def send_by(config: NotificationsConfig, text: str, channels: Collection[str]) -> dict[str, str]:
    """Send a text by some of the configured channels; of each that refused, why. Never raises an Exception."""
    failures: dict[str, list[str]] = {}
    if "telegram" in channels and config.telegram is not None:
        failures["telegram"] = failures_by_telegram(config.telegram, cut(text), config.timeout_seconds)
    if "command" in channels and config.command:
        failures["command"] = failures_by_command(config.command, text, config.timeout_seconds)
    return {channel: "; ".join(why) for channel, why in failures.items() if why}


def cut(text: str, limit: int = MAXIMUM_CHARACTERS) -> str:
    """The text in at most `limit` characters as Telegram counts them; its head and its last line stay (pure)."""
    if _units(text) <= limit:
        return text
    last = text.rstrip("\n").rpartition("\n")[2]
    ending = CUT + last if _units(CUT + last) < limit // 2 else CUT.rstrip("\n")
    room = limit - _units(ending)
    # Telegram counts UTF-16 units; half of a pair is dropped.
    head = text.encode("utf-16-le")[: 2 * room].decode("utf-16-le", errors="ignore")
    return head + ending


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def bytes_text(size: float) -> str:
    """A size for people: 512 B, 1.2 GiB (pure)."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """A duration for people, in its two largest units: 42 s, 3 min 20 s, 2 h 5 min (pure)."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
