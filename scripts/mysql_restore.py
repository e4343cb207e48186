#!/usr/bin/env python3
"""Go back: to a moment, to a transaction, or to just before a statement that destroyed something."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from holdfast.backup.drills import last_drills
from holdfast.backup.jobs import engine_of
from holdfast.backup.store import Store
from holdfast.clock import format_utc, parse_target_time, utc_now
from holdfast.config import DEFAULT_PATH, Config, load
from holdfast.entry_point import add_to_summary, run_program
from holdfast.errors import ExitCode, UsageError
from holdfast.gtid import GtidSet
from holdfast.lock import hold
from holdfast.recovery import instance as side
from holdfast.recovery import place
from holdfast.recovery.catalog import Catalog, load_catalog
from holdfast.recovery.drill import run_drill
from holdfast.recovery.estimate import Rates, describe, document, estimate, rates_of
from holdfast.recovery.find_search import Anything, Search, of_gtid, parse_search
from holdfast.recovery.instance import Instance
from holdfast.recovery.marker import default_directory, read_marker
from holdfast.recovery.plan import Plan, make_plan
from holdfast.recovery.plan_backup import plan_of_backup
from holdfast.recovery.run import how_to_use, restore
from holdfast.recovery.search import Candidate, find, listing
from holdfast.recovery.target import Last, Target, ToBackup, ToTime, gtid_target

log = logging.getLogger("mysql-restore")

DRILLS = 3  # the newest that passed is among the last few, or the alarm has been on for weeks
EPILOG = """examples:
  mysql-restore find --drop shop.orders
  mysql-restore plan --to-time "2026-11-23 15:04:05 Europe/Berlin"
  mysql-restore run --before-statement "drop shop.orders"
  mysql-restore run --last --over-server db2 --confirm db2
exit status: 0 done, 2 usage (find: nothing found), 3 configuration, 4 a tool or this host, 5 the store does not hold
what is needed, 6 another restore runs, 75 (drill) not this host's turn"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="mysql-restore", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="configuration file (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    plan = verbs.add_parser("plan", help="what a run would fetch, replay and need; or why it is impossible")
    run = verbs.add_parser("run", help="restore into a new directory and start a server on it, or over this server")
    for verb in (plan, run):
        _add_target(verb)
    plan.add_argument("--json", action="store_true", help="for programs")
    plan.add_argument("--over-server", action="store_true", help="look at the room where a run in place would need it")
    run.add_argument("--directory", type=Path, help="new directory (default: a new one below recovery.directory)")
    run.add_argument("--stop", action="store_true", help="do not leave the restored server running")
    run.add_argument("--over-server", metavar="HOST", help="replace the data of this host, whose mysqld is stopped")
    run.add_argument("--confirm", metavar="HOST", help="with --over-server: the host's name again")
    run.add_argument("--joins", action="store_true", help="with both: it becomes a replica of a primary that lives")
    search = verbs.add_parser("find", help="search the archived binlogs for the transaction that destroyed something")
    what = search.add_mutually_exclusive_group()
    what.add_argument("--drop", metavar="[DATABASE.]TABLE", help="what was dropped or truncated")
    what.add_argument("--delete-from", metavar="[DATABASE.]TABLE", help="a table whose rows were deleted")
    what.add_argument("--gtid", metavar="GTID", help="what that transaction did")
    _add_between(search)
    search.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("drill", help="restore the newest backup into a scratch instance, compare it, throw it away")
    stop = verbs.add_parser("stop", help="stop the server that a run left running")
    stop.add_argument("directory", type=Path, metavar="DIR")
    return parser


def _add_target(verb: argparse.ArgumentParser) -> None:
    target = verb.add_mutually_exclusive_group(required=True)
    target.add_argument("--to-time", metavar="TIME", help='with its zone: "2026-11-23 15:04:05 Europe/Berlin"')
    target.add_argument("--to-gtid", metavar="GTID", help="uuid:n, included")
    target.add_argument("--before-gtid", metavar="GTID", help="uuid:n, not included")
    target.add_argument("--last", action="store_true", help="everything that was archived")
    target.add_argument(
        "--backup", metavar="ID", help="what this backup holds, without binlogs: a full of an older week, or `newest`"
    )
    target.add_argument(
        "--before-statement",
        metavar="WHAT",
        help="the only 'drop shop.orders', 'truncate orders' or 'delete from orders'",
    )
    _add_between(verb)


def _add_between(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--between", nargs=2, metavar=("FROM", "TO"), help="search only this time; each with its zone")


def main(arguments: argparse.Namespace) -> int:
    """Do one verb."""
    config = load(arguments.config)
    if arguments.verb == "stop":
        return _stop(arguments.directory, config)
    if arguments.verb == "run" and arguments.joins and not (arguments.over_server and arguments.last):
        raise UsageError("--joins goes with --last --over-server HOST --confirm HOST")
    if arguments.verb == "run" and arguments.over_server:
        if arguments.directory or arguments.stop:
            raise UsageError("--over-server goes with neither --directory nor --stop")
        place.refuse_other_host(arguments.over_server, arguments.confirm, config.host)
        place.refuse_running(config)
    store = Store(config.store, config.cluster)
    if arguments.verb == "drill":
        with hold("drill", config.state_directory):  # of its own: a drill must hold no restore up
            return _drill(config, store)
    catalog = load_catalog(store)
    if arguments.verb == "find":
        return _find(arguments, config, store, catalog)
    target = _target(arguments, config, store, catalog)
    if isinstance(target, ToBackup):
        plan = plan_of_backup(catalog.manifests, catalog.lines, target, catalog.problems)
    else:
        plan = make_plan(catalog.manifests, catalog.entries, catalog.lines, target, catalog.problems)
    if arguments.verb == "plan":
        where = config.mysql.data_directory if arguments.over_server else config.recovery.directory
        return _plan(plan, config, where, rates_of(last_drills(store, DRILLS)), as_json=arguments.json)
    with hold("restore", config.state_directory):
        return _run(arguments, plan, config, store, catalog)


def _plan(plan: Plan, config: Config, where: Path, rates: Rates, *, as_json: bool) -> int:
    cost, free = estimate(plan, rates), shutil.disk_usage(where).free
    told = describe(plan, cost, free, config.time_zone, rates)
    if as_json:
        told = json.dumps({**document(plan, cost, free), "text": told.splitlines()}, indent=1)
    _tell(told)
    if free < cost.disk_bytes:
        elsewhere = "" if where == config.mysql.data_directory else " or run with --directory elsewhere"
        reason = f"impossible  {where} is too small; make room{elsewhere}"
        if as_json:
            log.error("%s", reason)
        else:
            _tell(reason)
        return ExitCode.TOOL
    return ExitCode.DONE


def _run(arguments: argparse.Namespace, plan: Plan, config: Config, store: Store, catalog: Catalog) -> int:
    now, engine = utc_now(), engine_of(config)
    for line in describe(
        plan, estimate(plan), shutil.disk_usage(config.recovery.directory).free, config.time_zone
    ).splitlines():
        log.info("%s", line)
    if arguments.over_server:
        restored, aside = place.restore_over_server(
            plan, catalog, config=config, store=store, engine=engine, now=now, joins=arguments.joins
        )
        _tell((place.joining if arguments.joins else place.next_steps)(restored, aside, config))
    else:
        directory = arguments.directory or default_directory(config.recovery.directory, plan, now)
        restored = restore(
            plan,
            directory.absolute(),
            config=config,
            store=store,
            engine=engine,
            now=now,
            for_people=True,
            owner_of=config.recovery.directory,
            leave_running=not arguments.stop,
        )
        _tell(how_to_use(restored, running=not arguments.stop))
    add_to_summary(replayed=restored.replayed, backup=plan.chain[-1].id)
    return ExitCode.DONE


def _drill(config: Config, store: Store) -> int:
    done = run_drill(config, store, engine_of(config))
    add_to_summary(backup=done.backup_id, **{name: round(value, 1) for name, value in done.measured.items()})
    _tell(done.note)
    return ExitCode.DONE


def _stop(directory: Path, config: Config) -> int:
    instance = Instance(directory.absolute(), config.mysql.mysqld)
    if read_marker(instance.directory) is None:
        raise UsageError(f"{directory} is not the directory of a restore", remedy="Name the one that `run` printed.")
    if not instance.running():
        _tell(f"no server runs in {directory}")
        return ExitCode.DONE
    side.stop(instance)
    _tell(f"stopped; its data stays in {instance.data}")
    return ExitCode.DONE


def _find(arguments: argparse.Namespace, config: Config, store: Store, catalog: Catalog) -> int:
    candidates = _candidates(_search(arguments), arguments.between, config, store, catalog)
    if arguments.json:
        listed = [{**asdict(one), "at": format_utc(one.at)} for one in candidates]
        _tell(json.dumps({"schema_version": 1, "candidates": listed}, indent=1))
    elif candidates:
        _tell(listing(candidates, config.time_zone))
        _tell(f"go back to just before one of them: mysql-restore run --before-gtid {candidates[0].gtid}")
    if not candidates:
        log.warning("nothing of the kind is in the archived binlogs that were searched; archive first, or look wider")
        return ExitCode.USAGE
    return ExitCode.DONE


def _search(arguments: argparse.Namespace) -> Search:
    if arguments.gtid:
        return of_gtid(arguments.gtid)
    if arguments.delete_from:
        return parse_search("delete from " + arguments.delete_from)  # noqa: S608  (read by us, sent to nobody)
    if arguments.drop:
        return parse_search(arguments.drop)
    if not arguments.between:
        raise UsageError("find needs one of --drop, --delete-from, --gtid, or --between alone")
    return Anything()


def _candidates(
    search: Search, between: list[str] | None, config: Config, store: Store, catalog: Catalog
) -> list[Candidate]:
    first = min((entry.first_time for entry in catalog.entries if entry.first_time), default=utc_now())
    last = max((entry.last_time for entry in catalog.entries if entry.last_time), default=first)
    searched = (first, last)
    if between:
        start, end = (parse_target_time(text, config.time_zone) for text in between)
        searched = (start, end)
    return find(
        catalog.entries,
        search,
        searched,
        store=store,
        spool=config.recovery.directory,
        parallel=config.recovery.fetch_parallel,
        abandoned=GtidSet.union_of(line.abandoned for line in catalog.lines),
    )


def _target(arguments: argparse.Namespace, config: Config, store: Store, catalog: Catalog) -> Target:
    if arguments.between and not arguments.before_statement:
        raise UsageError("--between goes with --before-statement only")
    if arguments.to_time:
        return ToTime(parse_target_time(arguments.to_time, config.time_zone))
    if arguments.to_gtid or arguments.before_gtid:
        return gtid_target(arguments.to_gtid or arguments.before_gtid, included=bool(arguments.to_gtid))
    if arguments.backup:
        return ToBackup(arguments.backup)
    if arguments.last:
        return Last()
    found = _candidates(parse_search(arguments.before_statement), arguments.between, config, store, catalog)
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} statements fit {arguments.before_statement!r}",
            meaning=listing(found, config.time_zone),
            remedy="Choose one by --before-gtid, or narrow the search by --between."
            if found
            else "Archive first (mysql-backup-binlogs), or try `mysql-restore find` with the table's name alone.",
        )
    log.info("found: %s", listing(found, config.time_zone))
    return gtid_target(found[0].gtid, included=False)


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run_program("mysql-restore", main, build_parser()))
