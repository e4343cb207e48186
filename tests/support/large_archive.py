#!/usr/bin/env python3
"""How long the status takes for 1,000 manifests and 100,000 binlog entries; a process of its own, as it needs 400 MB.

Prints one JSON line. Seconds are those of a core; cold is without a digest, from the objects as they are fetched, and
warm with one. What the store takes to list and to hand out its objects is the store's and not in it.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta

from holdfast.backup import archive, status, status_text
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
    return made


def main() -> None:
    """Measure, and print."""
    fetched = objects()
    names = sorted(fetched)
    now = START + timedelta(days=MANIFESTS)

    began = time.process_time()
    digest, lacking = archive.without_the_vanished(archive.EMPTY, names)
    seen, grown = archive.with_objects(digest, {name: fetched[name] for name in lacking})
    first = status.look("lab", now, seen)
    text = json.dumps({"store": "x", **grown})
    cold = time.process_time() - began

    began = time.process_time()
    digest = json.loads(text)
    digest.pop("store")
    digest, lacking = archive.without_the_vanished(digest, names)
    again, _ = archive.with_objects(digest, {})
    second = status.look("lab", now, again)
    screen = status_text.text(second)
    warm = time.process_time() - began
    found = {
        "cold_seconds": round(cold, 2),
        "warm_seconds": round(warm, 2),
        "digest_bytes": len(text),
        "lacking": len(lacking),
        "same": again.pieces == seen.pieces and first.covered == second.covered,
        "windows": len(second.covered.windows),
        "binlogs": second.binlog_files,
        "backups": len(second.manifests),
        "screen_lines": screen.count("\n"),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
