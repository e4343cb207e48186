"""The status for Prometheus, as node_exporter's textfile collector reads it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from holdfast.backup.status import Status, last_successes, problems, restorable_until, rpo_seconds

Samples = Mapping[str, float]


def metrics(status: Status) -> str:
    """The whole file. A job that never succeeded has no sample: alert on `absent()` too."""
    until = restorable_until(status)
    windows = status.covered.windows
    families: list[tuple[str, str, Samples]] = [
        ("status_timestamp_seconds", "When the store was looked at.", {"": (status.seen_at or status.now).timestamp()}),
        (
            "last_success_timestamp_seconds",
            "When a job last left something complete in the store.",
            {f'job="{name}"': at.timestamp() for name, at in last_successes(status).items() if at is not None},
        ),
        (
            "last_stored_bytes",
            "Size in the store of the newest backup of a type.",
            {f'type="{item.type}"': item.stored_bytes for item in status.manifests},
        ),
        ("stored_bytes", "Size in the store of all backups.", {"": sum(i.stored_bytes for i in status.manifests)}),
        ("count", "Complete backups in the store.", {"": len(status.manifests)}),
        ("binlog_files", "Archived binlogs.", {"": status.binlog_files}),
        ("problems", "What is not well; 0 when all is.", {"": len(problems(status))}),
        ("holes", "Holes in the restorable time.", {"": len(status.covered.holes)}),
        ("restorable_from_timestamp_seconds", "Start of the last window.", _of(windows[-1].start if windows else None)),
        ("restorable_until_timestamp_seconds", "The last restorable moment.", _of(until)),
    ]
    if (rpo := rpo_seconds(status)) is not None:
        families.append(("rpo_seconds", "What would be lost if both servers were lost at that time.", {"": rpo}))
    lines = []
    for name, meaning, samples in families:
        if not samples:
            continue
        full = f"holdfast_backup_{name}"
        lines += [f"# HELP {full} {meaning}", f"# TYPE {full} gauge"]
        for labels, value in samples.items():
            every = ",".join(part for part in (f'cluster="{status.cluster}"', labels) if part)
            lines.append(f"{full}{{{every}}} {value:.15g}")
    return "\n".join(lines) + "\n"


def _of(moment: datetime | None) -> Samples:
    return {} if moment is None else {"": moment.timestamp()}
