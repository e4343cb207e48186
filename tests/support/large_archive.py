#!/usr/bin/env python3
"""How long the status takes for 1,000 manifests and 100,000 binlog entries; a process of its own, as it needs 400 MB.

Prints one JSON line. Seconds are those of a core; cold is without a digest, from the objects as they are fetched, and
warm with one. What the store takes to list and to hand out its objects is the store's and not in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from holdfast.backup import archive, status, status_text
from holdfast.backup.binlog_index import due
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.bulk import Bulk, objects_in
from holdfast.backup.catalog_cache import Cache
from holdfast.backup.manifest import Manifest, name_of_manifest
from support.backups import LINEAGE, OTHER, SERVER, START, entry, full, incremental

MANIFESTS, ENTRIES = 1000, 100_000
EVENTS = 20  # transactions in a binlog


def objects() -> dict[str, bytes]:
    """Three years of nights, and a binlog of each of two servers every half hour."""
    manifests: list[Manifest] = []
    for number in range(MANIFESTS):
        upper = f"A:1-{(number + 1) * ENTRIES * EVENTS // MANIFESTS // 2}"
        stamp = f"{START + timedelta(days=number):%Y%m%dT%H%M%SZ}"
        if number % 7 == 0:
            manifests.append(full(f"{stamp}-full-db1", hours=24 * number, upper=upper))
        else:
            manifests.append(incremental(f"{stamp}-incremental-db1", manifests[-1], hours=24 * number, upper=upper))
    made = {name_of_manifest(item.id): item.to_json() for item in manifests}
    entries: list[BinlogEntry] = []
    each = ENTRIES // 2
    for server, line, host in ((SERVER, LINEAGE, "db1"), (OTHER, f"{OTHER}-20261101T000000Z", "db2")):
        for number in range(1, each + 1):
            hour = number * 24 * MANIFESTS / each
            before, last = EVENTS * (number - 1) + 1, EVENTS * number + 1
            item = entry(
                number, f"A:1-{before}", f"A:{before + 1}-{last}", hours=(hour - 0.4, hour),
                lineage=line, server_uuid=server, host=host,
            )  # fmt: skip
            made[item.entry_name] = item.to_json()
            entries.append(item)
    return made | {index.name: index.to_json() for index in due(entries, (), LINEAGE, START + timedelta(days=9999))}


class Served:
    """The store: what it lists, and hands out."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.fetched = 0
        at = "2026-11-22T01:00:00Z"
        items = [{"Path": name, "Size": len(data), "ModTime": at} for name, data in objects.items()]
        self.listing = json.dumps(items).encode()

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return small objects, and count them."""
        self.fetched += len(names)
        return {name: self.objects[name] for name in names}


def look(served: Served, digest: Path, now: datetime) -> tuple[archive.Archive, status.Status, str]:
    """Return what a look at the store says, as mysql-backup-status does it."""
    cache = Cache(digest, "x")
    seen, names = archive.read(objects_in(served.listing), cache, cast("Bulk", served))
    cache.save(names)
    found = status.look("lab", now, seen)
    return seen, found, status_text.text(found)


def main() -> None:
    """Measure, and print."""
    served = Served(objects())
    now = START + timedelta(days=MANIFESTS)
    with tempfile.TemporaryDirectory() as folder:
        digest = Path(folder) / "archive.jsonl"
        began = time.process_time()
        seen, first, _ = look(served, digest, now)
        cold, read_cold = time.process_time() - began, served.fetched
        began = time.process_time()
        again, second, screen = look(served, digest, now)
        warm = time.process_time() - began
        size = digest.stat().st_size
    found = {
        "cold_seconds": round(cold, 2),
        "cold_objects": read_cold,
        "warm_seconds": round(warm, 2),
        "warm_objects": served.fetched - read_cold,
        "digest_bytes": size,
        "same": again.pieces == seen.pieces and first.covered == second.covered,
        "windows": len(second.covered.windows),
        "binlogs": second.binlog_files,
        "backups": len(second.manifests),
        "screen_lines": screen.count("\n"),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
