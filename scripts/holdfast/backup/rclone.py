"""One call of rclone (1.60 and later), what its failure means, and when to try again."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TypeVar

from holdfast.config import StoreConfig
from holdfast.errors import ConfigurationError, StorageError
from holdfast.process import CancelledError, TimedOutError, run

LONGEST_WAIT_SECONDS = 60.0
# Of a transfer that takes longer than a call may: a binlog is as large as its largest transaction.
SLOWEST_BYTES_PER_SECOND = 250_000
# rclone's own exit statuses: the command line is wrong; a directory, or an object, is not there.
_SYNTAX_STATUS = 2
_NOT_FOUND_STATUSES = (3, 4)

_MISSING = re.compile(r"directory not found|object not found|is a directory or doesn't exist", re.IGNORECASE)
_PERMANENT = re.compile(
    r"status ?code:? ?40[13]\b|\(40[13] |\b40[13] (unauthorized|forbidden)|access ?denied|permission denied"
    r"|InvalidAccessKeyId|SignatureDoesNotMatch|bad_auth_token|NoSuchBucket|bucket does not exist"
    r"|didn't find section in config file|didn't find backend called|unknown flag|no space left on device",
    re.IGNORECASE,
)

log = logging.getLogger(__name__)
T = TypeVar("T")


class Failure(Enum):
    """What a failed call means: there is no such object, try again, or trying again is pointless."""

    MISSING = "missing"
    PASSING = "passing"
    PERMANENT = "permanent"


class PassingError(StorageError):
    """Worth another attempt."""


class MissingError(StorageError):
    """There is no such object or folder."""


def classify(exit_status: int, stderr_tail: str) -> Failure:
    """What rclone's exit status and last lines mean (pure). What is not known is worth another try."""
    if _PERMANENT.search(stderr_tail) or exit_status == _SYNTAX_STATUS:
        return Failure.PERMANENT
    if exit_status in _NOT_FOUND_STATUSES or _MISSING.search(stderr_tail):
        return Failure.MISSING
    return Failure.PASSING


def wait_before(attempt: int, first_wait_seconds: float) -> float:
    """Seconds to wait before the given attempt (2 is the first repetition): doubling, at most a minute (pure)."""
    return min(first_wait_seconds * 2.0 ** (attempt - 2), LONGEST_WAIT_SECONDS)


class Rclone:
    """Calls rclone with one configuration file; secrets are in that file alone."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config

    def command(self) -> tuple[str, ...]:
        """The beginning of every command line."""
        # One try per call, for the retries that count and are logged are ours (rclone's own of one call to a store
        # that is away took half a minute). rclone would create a bucket that
        # is not there: a misspelt name must fail instead.
        options = ("--retries", "1", "--low-level-retries", "1", "--contimeout", "15s", "--s3-no-check-bucket")
        return ("rclone", "--config", str(self._config.rclone_config_file), *options)

    def once(
        self,
        *arguments: str,
        where: str,
        size: int = 0,
        input_file: Path | None = None,
        cancel: threading.Event | None = None,
    ) -> bytes:
        """The output of one call, which may take longer if it moves `size` bytes.

        Raises MissingError, PassingError or, for good, StorageError; CancelledError.
        """
        _check(cancel, where)
        if not self._config.rclone_config_file.exists():
            raise ConfigurationError(
                f"{self._config.rclone_config_file} does not exist",
                meaning="It holds the remotes and their keys; without it nothing can be stored or read.",
                remedy="Run playbooks/backups.yml, which writes it from the vault, or set store.rclone_config_file.",
            )
        try:
            completed = run(
                [*self.command(), *arguments],
                name=f"rclone {arguments[0]}",
                timeout_seconds=self._config.timeout_seconds + size / SLOWEST_BYTES_PER_SECOND,
                check=False,
                input_file=input_file,
                cancel=cancel,
            )
        except TimedOutError as error:
            raise PassingError(f"{where}: {error.what}") from None
        if completed.exit_status == 0:
            return completed.stdout
        what = f"{where}: rclone {arguments[0]} failed with status {completed.exit_status}"
        match classify(completed.exit_status, completed.stderr_tail):
            case Failure.MISSING:
                raise MissingError(what, meaning=completed.stderr_tail)
            case Failure.PASSING:
                raise PassingError(what, meaning=completed.stderr_tail)
            case Failure.PERMANENT:
                raise StorageError(
                    what,
                    meaning=completed.stderr_tail,
                    remedy="Trying again does not help: correct the remote, its key or its rights in rclone.conf.",
                )

    def retrying(self, call: Callable[[], T], cancel: threading.Event | None = None) -> T:
        """What `call` returns, tried again after each PassingError; after the last attempt StorageError."""
        pause = cancel or threading.Event()
        attempts = self._config.attempts
        for attempt in range(1, attempts):
            try:
                return call()
            except PassingError as error:
                log.warning("attempt %d of %d: %s", attempt, attempts, error)
            pause.wait(wait_before(attempt + 1, self._config.retry_wait_seconds))
            _check(cancel, "the store")
        try:
            return call()
        except PassingError as error:
            raise StorageError(
                f"{error.what} (attempt {attempts} of {attempts})",
                meaning=error.meaning,
                remedy="Look at this host's network and the store's status page; the job tries again at its next turn.",
            ) from None


def _check(cancel: threading.Event | None, where: str) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError(f"{where}: stopped, its result is not wanted any more")
