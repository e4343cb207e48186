"""How every program starts and ends: logging, signals, exit status, and one summary line."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from holdfast.errors import ExitCode, HoldfastError, NotThisHostError, Stopped, disk_full

SYSLOG_SOCKET = Path("/dev/log")
# The shell's convention for a program that a signal ended.
STATUS_OF_SIGTERM = 128 + signal.SIGTERM
STATUS_OF_SIGINT = 128 + signal.SIGINT

log = logging.getLogger(__name__)
_facts: dict[str, object] = {}


def add_to_summary(**facts: object) -> None:
    """Add key=value to this run's summary line."""
    _facts.update(facts)


def run_program(
    name: str,
    main: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Run `main` and return the exit status for sys.exit: its own, an error's, 1 for a bug, 128+n for a signal.

    Syslog gets every step. Standard error gets it too on a terminal; else only warnings, so that cron mails no
    more than trouble. A wrong command line ends in argparse, with status 2.
    """
    arguments = parser.parse_args(argv)
    start_logging(name)
    _facts.clear()
    began = time.monotonic()
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        status = _status_of(main, arguments)
    finally:
        signal.signal(signal.SIGTERM, before)
    log.info("%s", summary_line({"exit": status, "seconds": f"{time.monotonic() - began:.1f}", **_facts}))
    return status


def start_logging(name: str) -> None:
    """Send the log to standard error and, where there is one, to syslog."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.INFO if sys.stderr.isatty() else logging.WARNING)
    terminal.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    root.addHandler(terminal)
    if SYSLOG_SOCKET.exists():
        try:
            syslog = logging.handlers.SysLogHandler(str(SYSLOG_SOCKET), logging.handlers.SysLogHandler.LOG_DAEMON)
        except OSError:  # a socket that nobody listens on any more
            return
        syslog.ident = f"{name}: "
        syslog.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        root.addHandler(syslog)
    # These log every address they call, and Telegram's carries the token.
    for library in ("httpx", "httpcore", "telegram"):
        logging.getLogger(library).setLevel(logging.WARNING)


def summary_line(facts: dict[str, object]) -> str:
    """The facts as `summary key=value ...`, values with blanks quoted (pure)."""
    return " ".join(["summary", *(f"{key}={_quoted(str(value))}" for key, value in facts.items())])


def _quoted(text: str) -> str:
    if text and not any(character.isspace() or character in "\"='" for character in text):
        return text
    return '"' + " ".join(text.split()).replace('"', "'") + '"'


def _status_of(main: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    try:
        return int(main(arguments))
    except NotThisHostError as error:
        log.info("%s", error)
        return int(error.exit_code)
    except HoldfastError as error:
        log.error("%s", error)
        return int(error.exit_code)
    except Stopped:
        log.error("stopped by SIGTERM; what was started has been stopped too")
        return STATUS_OF_SIGTERM
    except KeyboardInterrupt:
        log.error("interrupted")
        return STATUS_OF_SIGINT
    except Exception as error:
        if (full := disk_full(error)) is not None:
            log.error("%s", full)
            return int(full.exit_code)
        log.exception("a bug: please report it with these lines")
        return int(ExitCode.BUG)


def _stop(number: int, frame: FrameType | None) -> None:
    # Once: a second SIGTERM must not break off the cleaning up after the first. Not SIG_IGN, which the processes
    # that are started for cleaning up and for telling people would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)
    raise Stopped
