"""Decide whether a server may be erased and cloned anew, and say what that means: pure functions for the playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Server = dict[str, Any]


def problems(servers: Sequence[Server], host: str, told: Mapping[str, Any]) -> list[str]:
    """Return what forbids it. `told` is what `mysql-keeper show --json` prints, empty on a site without guards."""
    server = next((one for one in servers if one["host"] == host), None)
    if server is None:
        return [f"{host or 'No host'} is none of the servers {', '.join(one['host'] for one in servers)}."]
    if not server["answers"]:
        return [
            f"MySQL on {host} does not answer. Start it there. If its data directory does not start any more, nothing "
            "can be saved from it: move it away, make an empty one, and let playbooks/mysql.yml clone it."
        ]
    writable = [one["host"] for one in servers if one["answers"] and one["writable"]]
    if host in writable:
        return [f"{host} takes writes: it is the primary, or was left open. Switch over first."]
    if len(writable) != 1:
        return [f"There must be one server that takes writes to clone from, but it is {', '.join(writable) or 'none'}."]
    source = next(one for one in servers if one["host"] == writable[0])
    return [*_against_the_record(host, source["host"], told), *_not_clonable(server, source)]


def _against_the_record(host: str, source: str, told: Mapping[str, Any]) -> list[str]:
    if not told:
        return []
    named = told["hosts"].get(told["record"]["primary"], told["record"]["primary"])
    if named != source:
        return [f"{source} takes writes, but the record's primary is {named}: {host} must not be cloned from {source}."]
    if not told["record"]["opened"]:
        return [f"A promotion of {named} is under way: wait for its end."]
    return []


def _not_clonable(server: Server, source: Server) -> list[str]:
    found = []
    if source["foreign_tables"]:
        tables = ", ".join(source["foreign_tables"])
        found.append(
            f"CLONE copies tables that are not InnoDB without their rows: on {source['host']} convert or drop {tables}."
        )
    if not server["clones"]:
        found.append(f"{server['host']} has no clone plugin: run playbooks/mysql.yml.")
    return found


def plan(servers: Sequence[Server], host: str, errant: str, told: Mapping[str, Any], *, salvage: bool) -> list[str]:
    """Return what will happen, line by line, for a server without problems. `errant`: what only it has."""
    server = next(one for one in servers if one["host"] == host)
    source = next(one["host"] for one in servers if one["answers"] and one["writable"])
    in_sync = (told.get("record") or {}).get("in_sync") or {}
    running = [one for one in server["channels"] if (one["receiver"], one["applier"]) == ("ON", "ON")]
    lines = [f"ALL DATA of {host} is erased; it becomes a copy of {source}, the primary, and replicates from it."]
    if errant and salvage:
        lines.append(f"Only {host} has {errant}: saved offsite first (mysql-salvage), gone from {host} afterwards.")
    elif errant:
        lines.append(f"Only {host} has {errant}: LOST, as rebuild_salvage is false.")
    else:
        lines.append(f"{host} has no transaction that {source} lacks.")
    if in_sync.get("server_uuid") == server["server_uuid"]:
        lines.append("The record counts on it now; first it is told not to, so that writes go on.")
    if running:
        lines.append(f"It replicates without an error ({server['gtid_executed']}): is it really the one that you mean?")
    lines += [f"{one['source']}: {one['error']}" for one in server["channels"] if one["error"]]
    lines.append(f"Until it has caught up nobody can replace {source}, should that die.")
    return lines


class FilterModule:
    """Names that the playbook calls."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"mysql_rebuild_problems": problems, "mysql_rebuild_plan": plan}
