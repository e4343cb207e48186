"""Decide what a rolling restart has to do, and what forbids it: pure functions for the playbook."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Of its series it backs up every minor version, newer ones too (Percona's page "Server version and backup version
# comparison", 8.4); the engine clone is the server itself.
XTRABACKUP = "xtrabackup"


def numbers(version: str) -> tuple[int, ...]:
    """Return the three numbers of a server's, package's or engine's version, (8, 4, 6) of 1:8.4.6-6-1; () for none."""
    found = re.search(r"(?:^|:)(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(part) for part in found.groups()) if found else ()


def newest(pending: Mapping[str, Any], *, upgrade: bool) -> str:
    """Return the version that runs after the restart: what is installed, or the newest there is for an upgrade."""
    offered = [pending["installed"], *(pending["candidates"] if upgrade else [])]
    return ".".join(str(part) for part in max((numbers(version) for version in offered), default=()))


def reasons(pending: Mapping[str, Any], *, upgrade: bool, reboot: bool, always: bool) -> list[str]:
    """Return why a server is to be restarted, in words; nothing means that it is left alone."""
    after = newest(pending, upgrade=upgrade)
    found = [f"variable {name}" for name in pending["variables"]]
    if numbers(after) > numbers(pending["installed"]):
        found.append(f"upgrade from {pending['installed']} to {after}")
    elif numbers(pending["running"]) != numbers(pending["installed"]):
        found.append(f"runs {pending['running']}, installed is {pending['installed']}")
    if reboot:
        found.append("reboot of the host")
    return found or (["by order"] if always else [])


def problems(
    servers: Mapping[str, Mapping[str, Any]], engine: str, engine_versions: Mapping[str, str], *, upgrade: bool
) -> list[str]:
    """Return what forbids it. `servers`: what each server's restart would change; `engine_versions` by host too."""
    found = []
    for host, pending in servers.items():
        after, now = newest(pending, upgrade=upgrade), numbers(pending["running"])
        if numbers(after)[:2] != now[:2]:
            found.append(f"{host} would go from {pending['running']} to {after}: another series is no minor upgrade.")
        elif numbers(after) < now:
            found.append(
                f"{host} would go back from {pending['running']} to {after}: MySQL does not start on newer data."
            )
        elif engine == XTRABACKUP and numbers(after)[:2] != numbers(engine_versions[host])[:2]:
            found.append(
                f"{host} would run MySQL {after}, which its XtraBackup ({engine_versions[host] or 'not installed'})"
                " cannot back up: bring XtraBackup to that series first."
            )
    return found


def not_in_sync(told: Mapping[str, Any], replicas: Sequence[str]) -> str:
    """Return why nobody could take over now, empty if somebody can. `told`: `mysql-keeper show --json`."""
    record = told["record"]
    if not record["opened"]:
        return "a promotion is under way"
    named = told["hosts"].get((record["in_sync"] or {}).get("server_uuid", ""), "")
    return "" if named in replicas else "the record names no replica in sync"


class FilterModule:
    """Names that the playbook calls."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "rolling_restart_reasons": reasons,
            "rolling_restart_problems": problems,
            "rolling_restart_not_in_sync": not_in_sync,
        }
