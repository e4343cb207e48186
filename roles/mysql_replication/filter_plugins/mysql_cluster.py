"""Decide what the role may do to a group of MySQL servers, from what they say of themselves: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Server = dict[str, Any]
REBUILD = "playbooks/rebuild_replica.yml"
SEAL = "SET GLOBAL super_read_only=ON"


def observe(answers: Sequence[Mapping[str, Any]], addresses: Mapping[str, str]) -> list[Server]:
    """Return one flat record per server from the answers to the role's questions; a silent one has `answers` false."""
    servers: list[Server] = []
    for answer in answers:
        host = answer["item"]["item"]
        server: Server = {"host": host, "address": addresses[host], "answers": "query_result" in answer}
        if server["answers"]:
            state, channels, schemas, foreign, accounts, plugins = answer["query_result"]
            server.update(
                version=state[0]["version"],
                server_uuid=state[0]["server_uuid"],
                writable=not int(state[0]["read_only"]),
                sealed=bool(int(state[0]["super_read_only"])),
                gtid_executed="".join(state[0]["gtid_executed"].split()),
                channels=channels,
                schemas=[row["name"] for row in schemas],
                foreign_tables=[row["name"] for row in foreign],
                accounts=int(accounts[0]["strangers"]),
                clones="clone" in {row["name"] for row in plugins},
            )
        servers.append(server)
    return servers


def is_blank(server: Server) -> bool:
    """Return whether a server holds nothing to miss: no schema, account, channel, or transaction from elsewhere."""
    sources = {part.split(":")[0] for part in server["gtid_executed"].split(",") if part}
    return not (server["schemas"] or server["accounts"] or server["channels"] or sources - {server["server_uuid"]})


def holding(servers: Sequence[Server]) -> list[str]:
    """Return the hosts whose server answers and has something to miss."""
    return [server["host"] for server in servers if server["answers"] and not is_blank(server)]


def primary_of(servers: Sequence[Server]) -> str:
    """Return the one writable server's host, or nothing when there is none or more than one."""
    writable = [server["host"] for server in servers if server["answers"] and server["writable"]]
    return writable[0] if len(writable) == 1 else ""


def refuse_writers(servers: Sequence[Server], writable: Sequence[Server]) -> list[str]:
    """Return what is wrong with who is writable, in words that say what to do."""
    if len(writable) > 1:
        hosts = " and ".join(server["host"] for server in writable)
        return [
            f"{hosts} are writable: only one server may be. Decide which of them is the primary, {SEAL} on the others, "
            f"compare gtid_executed, and rebuild with {REBUILD} those that have transactions which the primary lacks."
        ]
    if not writable:
        hosts = " and ".join(server["host"] for server in servers if not is_blank(server))
        return [
            f"No server is writable, though there is data on {hosts}: this role opens only a new, empty cluster. "
            "A primary comes back read-only after a crash or a reboot. If nothing was promoted meanwhile, run "
            "SET GLOBAL read_only=OFF on the one from which the others replicate; otherwise promote one."
        ]
    if writable[0]["channels"]:
        host, source = writable[0]["host"], writable[0]["channels"][0]["source"]
        return [f"{host} is writable and replicates from {source}: {SEAL} there, or RESET REPLICA ALL if it leads."]
    return []


def classify(server: Server, primary: Server, errant: Mapping[str, str], cloned: Mapping[str, str]) -> tuple[str, str]:
    """Return what another server is to the primary (seed, attach, replicas or nothing), and what is wrong with it."""
    host, master = server["host"], primary["host"]
    if not server["sealed"]:
        return "", f"{host} has super_read_only=OFF though {master} is the primary: {SEAL} there, then run this again."
    if is_blank(server):
        return "seed", ""
    if errant.get(host):
        return "", (
            f"{host} has transactions that the primary {master} lacks: {errant[host]}. "
            f"Save what they hold, then rebuild {host} with {REBUILD}."
        )
    if not server["channels"]:
        if cloned.get(host) and cloned[host] == server["gtid_executed"]:
            return "attach", ""
        return "", (
            f"{host} holds data and replicates from nobody: it is not touched. "
            f"Rebuild it with {REBUILD}, or empty its data directory."
        )
    strangers = {channel["source"] for channel in server["channels"]} - {primary["address"], master}
    if strangers:
        return "", (
            f"{host} replicates from {', '.join(sorted(strangers))}, which is not the primary {master} "
            f"({primary['address']}): point it there, or rebuild it with {REBUILD}."
        )
    return "replicas", ""


def notices(servers: Sequence[Server]) -> list[str]:
    """Return what a person should know though nothing is refused."""
    return [
        f"{server['host']}: replication does not run (receiver {channel['receiver']}, applier {channel['applier']}). "
        f"{channel['error']}".strip()
        for server in servers
        for channel in server["channels"]
        if (channel["receiver"], channel["applier"]) != ("ON", "ON")
    ]


def judge(
    others: Sequence[Server], primary: Server, errant: Mapping[str, str], cloned: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return hosts by what they are to the primary (seed, attach, replicas), and the problems."""
    found: dict[str, list[str]] = {"seed": [], "attach": [], "replicas": [], "problems": []}
    for server in others:
        kind, problem = classify(server, primary, errant, cloned)
        found["problems" if problem else kind].append(problem or server["host"])
    if found["seed"] and primary["foreign_tables"]:
        found["problems"].append(
            "CLONE copies tables that are not InnoDB without their rows: "
            f"on {primary['host']} convert or drop {', '.join(primary['foreign_tables'])} first."
        )
    return found


def decide(
    servers: Sequence[Server], first: str, errant: Mapping[str, str], cloned: Mapping[str, str]
) -> dict[str, Any]:
    """Return the decision: action, primary, seed, attach, replicas, problems, notices, silent.

    The action is unknown, refuse, bootstrap or keep. `first` is the host to open in a new cluster; `errant` and
    `cloned` are GTID sets by host: what the primary lacks, and what a clone brought.
    """
    answering = [server for server in servers if server["answers"]]
    writable = [server for server in answering if server["writable"]]
    complete = len(answering) == len(servers)
    decision: dict[str, Any] = {"action": "keep", "primary": "", "seed": [], "attach": [], "replicas": []}
    decision |= {"problems": [], "notices": notices(answering)}
    decision["silent"] = [server["host"] for server in servers if not server["answers"]]
    if complete and not writable and all(is_blank(server) for server in answering):
        others = [server["host"] for server in servers if server["host"] != first]
        return {**decision, "action": "bootstrap", "primary": first, "seed": others}
    if complete or writable:
        decision["problems"] = refuse_writers(answering, writable)
    if len(writable) == 1 and not decision["problems"]:
        others_found = [server for server in answering if server is not writable[0]]
        decision |= {"primary": writable[0]["host"], **judge(others_found, writable[0], errant, cloned)}
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
        return {
            "mysql_cluster_observe": observe,
            "mysql_cluster_primary": primary_of,
            "mysql_cluster_holding": holding,
            "mysql_cluster_decide": decide,
        }
