"""Decide what the role may do to a group of MySQL servers, from what they say of themselves: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Server = dict[str, Any]


def observe(answers: Sequence[Mapping[str, Any]], addresses: Mapping[str, str]) -> list[Server]:
    """Return one flat record per server from the answers to the role's questions; a server without an answer has `answers` false."""
    servers: list[Server] = []
    for answer in answers:
        host = answer["item"]["item"]
        server: Server = {"host": host, "address": addresses[host], "answers": "query_result" in answer}
        if server["answers"]:
            state, channels, schemas, foreign, accounts, plugins = answer["query_result"]
            server.update(
                version=state[0]["version"],
                writable=not int(state[0]["read_only"]),
                sealed=bool(int(state[0]["super_read_only"])),
                gtid_executed="".join(state[0]["gtid_executed"].split()),
                channels=channels,
                schemas=[row["name"] for row in schemas],
                foreign_tables=[row["name"] for row in foreign],
                server_uuid=state[0]["server_uuid"],
                accounts=int(accounts[0]["strangers"]),
                clones="clone" in {row["name"] for row in plugins},
            )
        servers.append(server)
    return servers


def is_blank(server: Server) -> bool:
    """Return whether a server holds nothing that anybody could miss: no schema, account, channel, or transaction of another server."""
    sources = {part.split(":")[0] for part in server["gtid_executed"].split(",") if part}
    return not (server["schemas"] or server["accounts"] or server["channels"] or sources - {server["server_uuid"]})


def primary_of(servers: Sequence[Server]) -> str:
    """Return the one writable server's host, or nothing when there is none or more than one."""
    writable = [server["host"] for server in servers if server["answers"] and server["writable"]]
    return writable[0] if len(writable) == 1 else ""


def names(servers: Sequence[Server]) -> str:
    """Return hosts for a message."""
    return " and ".join(server["host"] for server in servers)


def refuse_writers(servers: Sequence[Server], writable: Sequence[Server]) -> list[str]:
    """Return what is wrong with who is writable, in words that say what to do."""
    if len(writable) > 1:
        return [
            f"{names(writable)} are all writable: only one may be. Decide which of them is the primary, SET GLOBAL super_read_only=ON on every other, "
            "compare gtid_executed, and rebuild the others with playbooks/rebuild_replica.yml if they have transactions that the primary lacks."
        ]
    if not writable:
        holders = [server for server in servers if not is_blank(server)]
        return [
            f"No server is writable, and {names(holders)} hold data: this role opens nothing but a new, empty cluster. "
            "A primary comes back read-only after a crash or a reboot. If nothing was promoted meanwhile, run SET GLOBAL read_only=OFF on the one "
            "from which the others replicate; otherwise promote one."
        ]
    primary = writable[0]
    if primary["channels"]:
        source = primary["channels"][0]["source"]
        return [f"{primary['host']} is writable and replicates from {source}: SET GLOBAL super_read_only=ON there, or RESET REPLICA ALL if it is the primary."]
    return []


def classify(server: Server, primary: Server, errant: Mapping[str, str], cloned: Mapping[str, str]) -> tuple[str, str]:
    """Return what another server is to the primary (seed, attach, replicas, or nothing) and what is wrong with it, if anything."""
    host = server["host"]
    if not server["sealed"]:
        return "", f"{host} has super_read_only=OFF though {primary['host']} is the primary: SET GLOBAL super_read_only=ON there, then look for errant transactions."
    if is_blank(server):
        return "seed", ""
    if errant.get(host):
        return "", (
            f"{host} has transactions that the primary {primary['host']} lacks: {errant[host]}. They would be lost or diverge for ever. "
            "Save what they hold, then rebuild it with playbooks/rebuild_replica.yml."
        )
    if not server["channels"]:
        if cloned.get(host) and cloned[host] == server["gtid_executed"]:
            return "attach", ""
        return "", f"{host} holds data and replicates from nobody: it is not touched. Rebuild it with playbooks/rebuild_replica.yml, or empty its data directory."
    sources = {channel["source"] for channel in server["channels"]}
    if sources - {primary["address"], primary["host"]}:
        return "", f"{host} replicates from {', '.join(sorted(sources))}, which is not the primary {primary['host']} ({primary['address']}): point it there, or rebuild it."
    return "replicas", ""


def notices(servers: Sequence[Server]) -> list[str]:
    """Return what a person should know though nothing is refused."""
    return [
        f"{server['host']}: replication does not run (receiver {channel['receiver']}, applier {channel['applier']}). {channel['error']}".strip()
        for server in servers
        for channel in server["channels"]
        if "ON" != channel["receiver"] or "ON" != channel["applier"]
    ]


def decide(servers: Sequence[Server], first: str, errant: Mapping[str, str], cloned: Mapping[str, str]) -> dict[str, Any]:
    """Return the decision: action (unknown, refuse, bootstrap, keep), primary, seed, attach, replicas, problems, notices.

    `first` is the host to open in a new cluster; `errant` and `cloned` are GTID sets by host: what the primary lacks, and what a clone brought.
    """
    decision: dict[str, Any] = {"action": "keep", "primary": "", "seed": [], "attach": [], "replicas": [], "problems": [], "notices": []}
    answering = [server for server in servers if server["answers"]]
    writable = [server for server in answering if server["writable"]]
    complete = len(answering) == len(servers)
    decision["silent"] = [server["host"] for server in servers if not server["answers"]]
    decision["notices"] = notices(answering)
    if complete and all(is_blank(server) and not server["writable"] for server in answering):
        others = [server["host"] for server in servers if server["host"] != first]
        return {**decision, "action": "bootstrap", "primary": first, "seed": others}
    if complete or len(writable) > 1:
        decision["problems"] = refuse_writers(answering, writable)
    if len(writable) == 1 and not decision["problems"]:
        decision["primary"] = writable[0]["host"]
        for server in answering:
            if server is not writable[0]:
                kind, problem = classify(server, writable[0], errant, cloned)
                decision["problems"] += [problem] if problem else []
                decision.get(kind, []).append(server["host"])
        if decision["seed"] and writable[0]["foreign_tables"]:
            tables = ", ".join(writable[0]["foreign_tables"])
            decision["problems"].append(f"CLONE copies tables that are not InnoDB empty: on {decision['primary']} convert or drop {tables} first.")
    if decision["problems"]:
        return {**decision, "action": "refuse"}
    if not complete:
        return {**decision, "action": "unknown"}
    # Nobody follows the writable server yet: an interrupted bootstrap, or a single server that gets its first replica.
    if decision["seed"] and not decision["replicas"] and not decision["attach"]:
        return {**decision, "action": "bootstrap"}
    return decision


class FilterModule:
    """Names that the role's tasks call."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"mysql_cluster_observe": observe, "mysql_cluster_primary": primary_of, "mysql_cluster_decide": decide}
