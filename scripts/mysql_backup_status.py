#!/usr/bin/env python3
"""Show whether the backups are well: last successes, restorable moments and holes, chains and their sizes.

Exit status: 0 whatever it shows (--check: 4 if something is not well), 3 configuration, 4 a file could not be written,
5 the store cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from holdfast.backup import archive, status, status_html, status_metrics, status_text
from holdfast.backup.schedule import next_backups
from holdfast.backup.store import Store
from holdfast.clock import utc_now
from holdfast.config import DEFAULT_PATH, Config, load
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode, ToolError
from holdfast.whole_file import replace_file


def main(arguments: argparse.Namespace) -> int:
    """Read the store and show it."""
    config = load(arguments.config)
    seen = look(config, cached=arguments.cached, with_cost=arguments.cost)
    if arguments.html:
        write(arguments.html, status_html.page(seen))
    if arguments.prometheus:
        write(arguments.prometheus, status_metrics.metrics(seen))
    if arguments.json:
        sys.stdout.write(json.dumps(status.document(seen), indent=1) + "\n")
    elif not (arguments.html or arguments.prometheus):
        sys.stdout.write(status_text.text(seen))
    return ExitCode.TOOL if arguments.check and status.problems(seen) else ExitCode.DONE


def look(config: Config, *, cached: bool, with_cost: bool) -> status.Status:
    """What there is: in the store, or as this host saw it last."""
    store = Store(config.store, config.cluster)
    seen_at: datetime | None = None
    if cached:
        found, seen_at = archive.look_without_asking(store, config.state_directory)
    else:
        found = archive.look(store, config.state_directory)
    now = utc_now()
    price = status.Price(config.watch.price_per_terabyte_month, config.watch.currency) if with_cost else None
    streams = config.watch_or_none is not None and config.watch.binlog_stream
    runs = next_runs(config, now)
    return status.look(config.cluster, now, found, next_runs=runs, price=price, seen_at=seen_at, streams=streams)


def next_runs(config: Config, now: datetime) -> dict[str, datetime]:
    """When this host's jobs are due; an app host takes no backups and has none."""
    if config.backup_or_none is None:
        return {}
    at = time.fromisoformat(config.backup.time_of_day)
    due = next_backups(now, ZoneInfo(config.time_zone), config.backup.full_weekday, at)
    return {str(kind): moment for kind, moment in due.items()}


def write(path: Path, text: str) -> None:
    """Replace a file that others read. Raises ToolError."""
    try:
        replace_file(path, text, mode=0o644)
    except OSError as error:
        raise ToolError(
            f"{path} cannot be written: {error}", remedy="Give a folder that is there, with room."
        ) from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--json", action="store_true", help="the same for programs")
    made.add_argument("--html", type=Path, metavar="FILE", help="the same as a page with plots, in one file")
    made.add_argument("--prometheus", type=Path, metavar="FILE", help="metrics for node_exporter's textfile collector")
    made.add_argument(
        "--cost", action="store_true", help="what the store costs a month, by watch.price_per_terabyte_month"
    )
    made.add_argument("--cached", action="store_true", help="as this host saw it last, without asking the store")
    made.add_argument("--check", action="store_true", help="exit 4 if something is not well")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-status", main, parser()))
