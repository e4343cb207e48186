#!/usr/bin/env python3
"""Lead a cron that runs under libfaketime from one instant of its jobs to the next; the machine's clock is not touched.

A program for a lab host: cron_steps.py CRON_PID FILE LOG BEGIN END MINUTE[,MINUTE...]
FILE is libfaketime's FAKETIME_TIMESTAMP_FILE, BEGIN and END are Unix seconds, the minutes are those at which jobs are
due. At each of them a job `tick` of every minute writes to LOG, which says that cron has done that minute.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

STEP_SECONDS = 60.0


def main(pid: int, clock: Path, log: Path, begin: int, end: int, minutes: frozenset[int]) -> None:
    """Step through all instants. SystemExit when cron does not follow."""
    for moment in range(begin - begin % 60, end, 60):
        if moment // 60 % 60 not in minutes:  # zones are whole hours away from UTC
            continue
        fake = moment + 0.1
        new = clock.with_suffix(".new")
        new.write_text(f"{fake - time.time():+.3f}s\n")
        new.replace(clock)
        deadline = time.monotonic() + STEP_SECONDS
        asked = 0.0
        while not done(log, moment) or children(pid):
            now = time.monotonic()
            if now > deadline:
                sys.exit(f"cron did not do {moment}")
            if now - asked > 0.25 and not done(log, moment):
                os.kill(pid, signal.SIGCHLD)  # ends its sleep, which is real
                asked = now
            time.sleep(0.01)


def done(log: Path, moment: int) -> bool:
    """Whether cron's job of every minute has run in this one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        return any(line.split()[:2] == [b"%d" % moment, b"tick"] for line in file.read().splitlines())


def children(pid: int) -> bool:
    """Whether cron has jobs at work."""
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


if __name__ == "__main__":
    _, process, timestamp, written, first, last, wanted = sys.argv
    main(int(process), Path(timestamp), Path(written), int(first), int(last), frozenset(map(int, wanted.split(","))))
