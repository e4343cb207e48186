"""How long nobody took writes: the health answers of both servers, asked many times a second."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

EVERY_SECONDS = 0.05
ANSWER_SECONDS = 0.5


@dataclass(frozen=True)
class Sample:
    """Which servers said that they are a writable primary, at a moment of one monotonic clock, in seconds."""

    at: float
    primaries: tuple[str, ...]


@dataclass(frozen=True)
class Stall:
    """What a row of samples shows; times in seconds. `two_primaries` counts samples, 0 is right."""

    longest_seconds: float
    total_seconds: float
    samples: int
    two_primaries: int
    first: str
    last: str


def stall_of(samples: Iterable[Sample]) -> Stall:
    """The longest time without a primary, and how often there seemed to be two (pure).

    A gap is counted from the last sample with a primary to the next one with one: it can only be too long. Answers
    come one after the other, so two primaries in one sample are a warning, no proof.
    """
    rows = list(samples)
    longest = total = 0.0
    seen_at: float | None = None
    for number, row in enumerate(rows):
        if not row.primaries:
            continue
        if seen_at is not None and number and not rows[number - 1].primaries:
            longest = max(longest, row.at - seen_at)
            total += row.at - seen_at
        seen_at = row.at
    if rows and not rows[-1].primaries:
        open_gap = rows[-1].at - (rows[0].at if seen_at is None else seen_at)
        longest, total = max(longest, open_gap), total + open_gap
    named = [row.primaries[0] for row in rows if row.primaries]
    two = sum(len(row.primaries) > 1 for row in rows)
    return Stall(longest, total, len(rows), two, named[0] if named else "", named[-1] if named else "")


def is_primary(address: str, port: int) -> bool:
    """Whether a server's health answer to /primary is 200."""
    connection = http.client.HTTPConnection(address, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/primary")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def watch(servers: Sequence[tuple[str, str, int]], go_on: Callable[[], bool]) -> list[Sample]:
    """Ask every server (name, address, port) again and again, each in a thread of its own, while `go_on()`."""
    now: dict[str, bool] = {}
    stop = threading.Event()

    def ask(name: str, address: str, port: int) -> None:
        while not stop.wait(EVERY_SECONDS):
            now[name] = is_primary(address, port)

    threads = [threading.Thread(target=ask, args=server, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    samples: list[Sample] = []
    try:
        while go_on():
            time.sleep(EVERY_SECONDS)
            if len(now) == len(servers):
                samples.append(Sample(time.monotonic(), tuple(name for name, primary in now.items() if primary)))
    finally:
        stop.set()
    return samples


def document(stall: Stall) -> str:
    """The same as JSON, for a playbook."""
    return json.dumps(stall.__dict__)
