"""The file in which a watcher keeps what it remembers between two runs."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.backup.alarm_engine import LONG_AGO, Memory, Over, Silence, Standing
from holdfast.clock import format_utc, parse_utc
from holdfast.whole_file import replace_file

SCHEMA_VERSION = 1

log = logging.getLogger(__name__)


def load_memory(path: Path, now: datetime) -> Memory:
    """What is remembered; nothing on a host's first run.

    A file that cannot be read is an empty memory that watches since ever, so that every alarm is told again: a second
    message does no harm, a missing one does.
    """
    try:
        return _memory(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Memory(born=now)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s): all alarms that stand are told again, silences are forgotten", path, error)
        return Memory(born=LONG_AGO)


def save_memory(path: Path, memory: Memory) -> None:
    """Replace the file, mode 0600. Raises OSError."""
    replace_file(path, json.dumps(_document(memory), indent=1) + "\n")


def _document(memory: Memory) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "born": format_utc(memory.born),
        "standing": {key: _standing_document(standing) for key, standing in memory.standing.items()},
        "over": {
            key: {"stood": _standing_document(over.stood), "ended": format_utc(over.ended)}
            for key, over in memory.over.items()
        },
        "silences": [
            {"alarm": one.alarm, "until": format_utc(one.until), "reason": one.reason, "by": one.by}
            for one in memory.silences
        ],
        "partly": {letter: list(channels) for letter, channels in memory.partly.items()},
        "used": {disk: [[format_utc(at), used] for at, used in samples] for disk, samples in memory.used.items()},
    }


def _standing_document(standing: Standing) -> dict[str, Any]:
    return {
        "what": standing.what,
        "began": format_utc(standing.began),
        "told": None if standing.told is None else format_utc(standing.told),
        "level": standing.level,
        "event": standing.event,
    }


def _memory(document: Any) -> Memory:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document['schema_version']!r}")
    return Memory(
        born=parse_utc(document["born"]),
        standing={key: _standing(value) for key, value in document["standing"].items()},
        over={
            key: Over(_standing(value["stood"]), parse_utc(value["ended"])) for key, value in document["over"].items()
        },
        silences=tuple(
            Silence(str(one["alarm"]), parse_utc(one["until"]), str(one["reason"]), str(one["by"]))
            for one in document["silences"]
        ),
        partly={letter: tuple(map(str, channels)) for letter, channels in document["partly"].items()},
        used={
            disk: tuple((parse_utc(at), int(used)) for at, used in samples)
            for disk, samples in document["used"].items()
        },
    )


def _standing(value: Any) -> Standing:
    told = value["told"]
    return Standing(
        what=str(value["what"]),
        began=parse_utc(value["began"]),
        told=None if told is None else parse_utc(told),
        level=int(value["level"]),
        event=bool(value["event"]),
    )
