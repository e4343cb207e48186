"""Decide whether a lost server may be made anew, and say what that means: pure functions for the playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SOURCES = {"clone": "cloned from {primary}", "offsite": "restored from offsite; what came since, {primary} sends it"}


def problems(
    servers: Sequence[Mapping[str, Any]],
    host: str,
    primary: str,
    holding: Sequence[str],
    source: str,
    confirm: str,
    *,
    left: bool,
) -> list[str]:
    """Return what forbids it.

    `primary` is the one server that takes writes, empty if it is not one; `holding` are those that have something to
    lose; `left`: the host has data files, though no server answers.
    """
    hosts = [str(one["host"]) for one in servers]
    if host not in hosts:
        return [f"Say -e recover_host=HOST with one of {', '.join(hosts)} (it was {host!r}): the one that was lost."]
    server = next(one for one in servers if one["host"] == host)
    found = []
    if source not in SOURCES:
        found.append(f"recover_from is {source!r}: it takes {' or '.join(SOURCES)}.")
    if confirm and confirm != host:
        found.append(f"Not confirmed: recover_host is {host}, but confirm is {confirm!r}.")
    if host == primary:
        found.append(f"{host} takes writes: it is not lost.")
    elif not primary:
        found.append(
            "No server takes writes, or more than one: see to the primary first (mysql-failover status; if both are"
            " lost, playbooks/recover_datacenter.yml)."
        )
    if host in holding and host != primary and not server["channels"]:
        found.append(f"{host} runs MySQL with data: make it a replica again by playbooks/rebuild_replica.yml.")
    if left and not server["answers"]:
        found.append(
            f"MySQL on {host} does not answer, but its data files are there. Start it, and use"
            " playbooks/rebuild_replica.yml; or empty /var/lib/mysql (or move it away) and run this again."
        )
    return found


def plan(primary: str, host: str, source: str, *, blank: bool) -> list[str]:
    """Return what will be done, line by line, for a server without problems."""
    if not blank:
        return [
            f"{host} replicates from {primary} already, by a run that did not end: what its host lacks is put there."
        ]
    return [
        f"{host} is empty: it is {SOURCES[source].format(primary=primary)}, and becomes its replica.",
        f"Its host gets everything of site.yml. The site goes on meanwhile, but nobody can replace {primary}, should"
        " that die.",
    ]


class FilterModule:
    """Names that the playbook calls."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"recover_server_problems": problems, "recover_server_plan": plan}
