"""What a guard must not forget when it restarts: the highest term that it saw, and which mysqld has answered it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.errors import ConfigurationError, ToolError
from holdfast.failover.record import Instance, Record
from holdfast.failover.wire import WireError, from_json, to_json


@dataclass(frozen=True, slots=True)
class Memory:
    """`primary` is that of `highest_term`, empty when the term came without its record (by a fence)."""

    highest_term: int = 0
    primary: str = ""
    answered: Instance | None = None
    pid: int = 0

    def with_record(self, record: Record) -> Memory:
        """Having seen a record; itself if that is older."""
        if record.term < self.highest_term:
            return self
        return replace(self, highest_term=record.term, primary=record.primary)

    def with_fence(self, term: int) -> Memory:
        """Having been fenced for a term."""
        return replace(self, highest_term=term, primary="") if term > self.highest_term else self

    def refusal_of_kill(self, term: int, me: str) -> str:
        """Why this server is not killed for a fence of that term; empty: it is (pure).

        A fence is sent against who is not the primary of its term. An older term's is late: its promotion was rolled
        back or succeeded by another.
        """
        if term < self.highest_term:
            return f"term {term} is over: this guard knows term {self.highest_term}"
        if term == self.highest_term and self.primary == me:
            return f"{me} is the primary of term {term}"
        return ""


def load(path: Path) -> Memory:
    """Read it; an empty one on a new host. Raises ConfigurationError when the file is not what was written."""
    try:
        return from_json(Memory, json.loads(path.read_text(encoding="ascii")))
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError, WireError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error}",
            meaning="It holds the highest term that this guard saw; without it an older record could be believed.",
            remedy="If the other guard and the keeper agree on the term (mysql-failover status), remove the file.",
        ) from None


def save(path: Path, memory: Memory) -> None:
    """Write it durably. Raises ToolError, for instance when the disk is full."""
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w", encoding="ascii") as target:
            json.dump(to_json(memory), target)
            target.flush()
            os.fsync(target.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ToolError(f"{path}: cannot be written: {error}", remedy="Make room on that disk.") from None
