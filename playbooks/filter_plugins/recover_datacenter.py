"""Decide whether a whole site may be restored, say what that means and how it went: pure functions for the playbook."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Guards and keepers of before know later terms than the last record that was found, or than none, but not this many.
TERMS_LEFT_OUT = 1000


def problems(
    hosts: Sequence[str],
    host: str,
    confirm: str,
    holding: Sequence[str],
    leftovers: Sequence[str],
    to: str,
    backup: str,
    *,
    done: bool,
    without_binlogs: bool,
) -> list[str]:
    """Return what forbids it.

    `holding`: hosts whose server answers and holds something; `leftovers`: those that have data files, and no server
    that answers; `done`: an earlier run restored the data, so that what is there now is what it made.
    """
    if host not in hosts:
        return [f"Say -e recover_host=HOST with one of {', '.join(hosts)} (it was {host!r}): the primary to be."]
    found = []
    if confirm and confirm != host:
        found.append(f"Not confirmed: recover_host is {host}, but confirm is {confirm!r}.")
    if sum((bool(to), bool(backup), without_binlogs)) > 1:
        found.append("recover_to, recover_backup and recover_without_binlogs name different targets: say one of them.")
    if not done:
        found += [
            f"{one} runs MySQL with data: the site is not lost as a whole. Make the other server anew from it"
            " (playbooks/recover_server.yml). If that data is to be given up, stop MySQL there and empty"
            " /var/lib/mysql."
            for one in holding
        ]
        found += [
            f"MySQL on {one} does not answer, but its data files are there: start it, if it is whole. If that data is"
            " to be given up, empty /var/lib/mysql (or move it away) and run this again."
            for one in leftovers
        ]
    return found


def target(to: str, backup: str, *, without_binlogs: bool) -> list[str]:
    """Return the words of mysql-restore for it: by default everything that was archived."""
    if backup:
        return ["--backup", backup]
    if without_binlogs:
        return ["--backup", "newest"]
    return ["--to-time", to] if to else ["--last"]


def intent(hosts: Sequence[str], host: str, to: str, backup: str, *, done: bool, without_binlogs: bool) -> list[str]:
    """Return what will be done, line by line, before the store was asked."""
    others = ", ".join(one for one in hosts if one != host)
    if done:
        return [f"{host} was restored by an earlier run that did not end: it goes on from there."]
    if backup or without_binlogs:
        what = f"{f'backup {backup}' if backup else 'the newest whole backup'} as it is, WITHOUT any binary logs"
    else:
        what = f"everything before {to}" if to else "everything that was archived"
    return [
        f"{host} gets {what}, and becomes the primary; {others} {'is' if len(hosts) == 2 else 'are'} cloned from it.",
        "Record, failover, proxy, backups and their cron jobs are put in place as site.yml has them.",
        "First the empty database hosts get their packages; then the plan is shown, and nothing is restored unasked.",
    ]


def first_term(replaced: str) -> int:
    """Return the first term of the new record. `replaced` is the text of the old one, empty where that is lost too."""
    try:
        return int(json.loads(replaced)["record"]["term"]) + TERMS_LEFT_OUT
    except (ValueError, KeyError, TypeError):
        return 1 + TERMS_LEFT_OUT


def report(
    noted: Mapping[str, Any], host: str, hosts: Sequence[str], events: Sequence[str], site_seconds: float, total: float
) -> list[str]:
    """Return how it went. `noted`: the plan and the seconds of its phases; `events`: those that are off now."""
    plan = noted["plan"]
    others = ", ".join(one for one in hosts if one != host)
    lines = [
        f"{host} is the primary, {others} replicates from it.",
        f"The data is of {plan['reaches']}, from {plan['backup']} and {len(plan['binlogs'])} binary logs;"
        " what was committed after that moment is lost.",
        f"{minutes(total)} in all: {minutes(noted['install_seconds'])} for packages and plan,"
        f" {minutes(noted['restore_seconds'])} for the restore (planned {minutes(plan['seconds'])}),"
        f" {minutes(site_seconds)} for the rest of the site.",
    ]
    if events:
        lines.append(
            f"Scheduled events that are off, as the backup was a replica's: {', '.join(events)}. On {host}: ALTER EVENT"
            " ... ENABLE for those that shall run."
        )
    lines.append(f"The next backup is a full one: at the next hour by itself, or now: mysql-backup-full on {others}.")
    return lines


def minutes(seconds: float) -> str:
    """Return a time as people read it."""
    whole = round(float(seconds))
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


class FilterModule:
    """Names that the playbook calls."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "recover_target": target,
            "recover_first_term": first_term,
            "recover_datacenter_problems": problems,
            "recover_datacenter_intent": intent,
            "recover_datacenter_report": report,
        }
