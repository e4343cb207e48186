"""The file that says that a directory is ours, and for which plan: only such a directory is ever started over."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.clock import compact_utc, format_utc
from holdfast.errors import UsageError
from holdfast.recovery.plan import Plan
from holdfast.recovery.target import short_name

NAME = ".holdfast-restore.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Marker:
    """Which plan a directory holds, and whether it was finished."""

    plan: str
    target: str
    finished: bool


def identity(plan: Plan) -> str:
    """The same for the same target, chain and binlogs (pure). A streamed file stays the same when it is archived."""
    parts = [str(plan.target), *(manifest.id for manifest in plan.chain)]
    parts += [f"{entry.lineage}/{entry.file}" for entry in plan.binlogs]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def default_directory(parent: Path, plan: Plan, now: datetime) -> Path:
    """Where a run works unless told otherwise (pure)."""
    return parent / f"{compact_utc(now)}-{short_name(plan.target)}"


def read_marker(directory: Path) -> Marker | None:
    """The marker of a directory; None when there is none that can be read."""
    try:
        document = json.loads((directory / NAME).read_text())
        return Marker(str(document["plan"]), str(document["target"]), bool(document["finished"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_marker(directory: Path, plan: Plan, now: datetime, *, finished: bool) -> None:
    """Say what the directory holds."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "plan": identity(plan),
        "target": str(plan.target),
        "backup": plan.chain[-1].id,
        "at": format_utc(now),
        "finished": finished,
    }
    partial = directory / f"{NAME}.partial"
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(directory / NAME)


def refuse_foreign(directory: Path, plan: Plan, *, any_plan: bool = False) -> None:
    """Raise UsageError unless the directory is new, empty, or holds an earlier run of this very plan (or of any)."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    marker = read_marker(directory) if directory.is_dir() else None
    if marker is None:
        raise UsageError(
            f"{directory} is not empty, and not by an earlier run",
            meaning="Nothing in it was touched.",
            remedy="Name a new directory, or leave --directory out.",
        )
    if not any_plan and marker.plan != identity(plan):
        raise UsageError(
            f"{directory} holds a run of another plan ({marker.target})",
            meaning="Its target, backup or binlogs are not those of this run. Nothing in it was touched.",
            remedy="Name a new directory, or remove that one.",
        )


def clear(directory: Path, owner_of: Path) -> None:
    """Make the directory, or empty it but for the marker; owned as `owner_of` is, for mysqld must not be root."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    owner = owner_of.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    for path in directory.iterdir():
        if path.name == NAME:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
