"""What Replication Manager says to its scripts and in its API, and what it means to people (pure).

Sources: its code (cluster/cluster_bash.go, config/error.go), and docs/decisions/replication-manager-only-looks.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from holdfast.errors import UsageError

FENCE_UNIT = "mysql-fence@{}.service"
MANAGER_UNIT = "replication-manager.service"
KINDS = ("failover", "switchover")
# What may stand in a unit's instance name and in the sudo rule; nothing that a shell or systemd would read.
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
PORT = re.compile(r"[0-9]{1,5}")

PROTECTS_NOTHING = "replication_manager_protects_nothing.md"
LIMIT_REACHED = "replication_manager_failover_limit.md"


@dataclass(frozen=True)
class FenceCall:
    """The arguments of Replication Manager's pre- and post-script."""

    old_host: str
    new_host: str
    old_port: str
    new_port: str
    kind: str

    def instance(self, mark: str) -> str:
        """The instance of mysql-fence@ that does this call's work; `mark` makes it this call's alone."""
        return ":".join((self.old_host, self.new_host, self.old_port, self.new_port, self.kind, mark))


def fence_call(arguments: Sequence[str]) -> FenceCall:
    """The call in seven arguments; the fifth and sixth, a proxy's names, are empty with us. Raises UsageError."""
    if len(arguments) != 7:
        raise UsageError(f"{len(arguments)} arguments, Replication Manager gives seven: {' '.join(arguments)}")
    old_host, new_host, old_port, new_port, _, _, kind = arguments
    wrong = [host for host in (old_host, new_host) if not HOST.fullmatch(host)]
    wrong += [port for port in (old_port, new_port) if not PORT.fullmatch(port)]
    if wrong or kind not in KINDS or old_host == new_host:
        raise UsageError(f"these are not two servers and failover or switchover: {' '.join(arguments)}")
    return FenceCall(old_host, new_host, old_port, new_port, kind)


class FenceUnit(Enum):
    """How far the unit is that fences and promotes."""

    WORKS = "not ended"
    PROMOTED = "ended: the new primary may be opened"
    REFUSED = "ended without a promotion"
    UNKNOWN = "systemd does not know it"


def fence_unit(shown: str) -> FenceUnit:
    """What `systemctl show` says of the unit, which remains after its exit: so success differs from never started."""
    properties = dict(line.partition("=")[::2] for line in shown.splitlines())
    state, sub_state = properties.get("ActiveState"), properties.get("SubState")
    if state == "active" and sub_state == "exited" and properties.get("Result") == "success":
        return FenceUnit.PROMOTED
    if state == "failed" and sub_state == "failed":
        return FenceUnit.REFUSED
    if state in ("active", "activating", "deactivating", "reloading"):
        return FenceUnit.WORKS
    return FenceUnit.UNKNOWN


@dataclass(frozen=True)
class Meaning:
    """A state of Replication Manager that people are told of, with the runbook's file name."""

    what: str
    todo: str
    runbook: str = PROTECTS_NOTHING


STATES: Mapping[str, Meaning] = {
    "ERR00004": Meaning("its MySQL account is refused", "Run playbooks/failover.yml; it applies the vault's password."),
    "ERR00010": Meaning("it sees no replica, so it has nobody to promote", "Bring the replica back."),
    "ERR00012": Meaning("it sees no primary: the topology is unknown", "Look which server is writable."),
    "ERR00016": Meaning("it does not reach the primary, but the replica does", "Look at the network of this host."),
    "ERR00021": Meaning("it reaches no server", "Look at the network of this host, then at both servers."),
    "ERR00027": Meaning(
        "it reached its limit of failovers and will not act again",
        "Find out why it failed over so often, then reset its counter.",
        LIMIT_REACHED,
    ),
    "ERR00029": Meaning("its last failover is too recent for another one", "It acts again later; until then you do."),
    "ERR00032": Meaning("it has no candidate for a promotion", "Look at the replica."),
    "ERR00041": Meaning("the replica lags, so it would not be promoted", "Look what its applier does."),
    "ERR00042": Meaning("the replica's applier is stopped", "Read its error, then start it again."),
    "ERR00063": Meaning(
        "a second server looks like a primary", "Look which one the record names: mysql-failover status."
    ),
    "ERR00087": Meaning("the replica does not receive, though the primary is well", "Look at the replica's error."),
    "ERR00088": Meaning("the replica's login is refused", "Run playbooks/mysql.yml; it applies the vault's password."),
    "ERR00092": Meaning("the topology is not one primary and its replicas", "Look which server is writable."),
    "WARN0091": Meaning("a server has transactions that the primary lacks", "It stays out until it is rebuilt."),
}


@dataclass(frozen=True)
class Alert:
    """A message for people; `runbook` is a file name below notifications.runbooks."""

    head: str
    todo: str = ""
    runbook: str = ""


def alert_of(arguments: Sequence[str], *, closed: bool) -> Alert | None:
    """The message about a call of Replication Manager's scripts; None where nobody needs to know. Raises UsageError.

    Four arguments: a server changed its state. Three: a state with a code opened, or is over when `closed`. Seven:
    a failover or switchover ended.
    """
    if len(arguments) == 3 and not closed:
        return _opened(*arguments)
    if len(arguments) == 3:
        return _closed(*arguments)
    if len(arguments) == 4:
        return _server_changed(*arguments)
    if len(arguments) == 7:
        call = fence_call(arguments)
        return Alert(f"Replication Manager ended a {call.kind}: {call.old_host} to {call.new_host}")
    raise UsageError(f"{len(arguments)} arguments, Replication Manager gives 3, 4 or 7: {' '.join(arguments)}")


def _opened(cluster: str, server: str, code: str) -> Alert | None:
    meaning = STATES.get(code)
    if meaning is None:
        return None
    at = f" ({server})" if server else ""
    return Alert(f"FAILOVER of {cluster}: {code}{at}: {meaning.what}", meaning.todo, meaning.runbook)


def _closed(cluster: str, server: str, code: str) -> Alert | None:
    meaning = STATES.get(code)
    return None if meaning is None else Alert(f"OK failover of {cluster}: {code} is over ({meaning.what})")


def _server_changed(cluster: str, server: str, before: str, now: str) -> Alert | None:
    if not server:  # a state with a code, whose other script tells more
        return None
    if now == "Failed":
        return Alert(
            f"FAILOVER of {cluster}: {server} does not answer",
            "If it is the primary, a promotion begins now; its messages follow.",
            PROTECTS_NOTHING,
        )
    return Alert(f"FAILOVER of {cluster}: {server} was {before}, is {now}")


@dataclass(frozen=True)
class Seen:
    """Replication Manager as its API shows it."""

    topology: str
    automatic: bool
    failovers: int
    limit: int
    servers: Mapping[str, str]


def seen_of(cluster: Mapping[str, Any], servers: Sequence[Mapping[str, Any]]) -> Seen:
    """What two documents of the API say; a missing key is what would be wrong."""
    settings = cluster.get("config") or {}
    return Seen(
        topology=str(cluster.get("topology") or "unknown"),
        automatic=settings.get("interactive") is False,
        failovers=int(cluster.get("failoverCounter") or 0),
        limit=int(settings.get("failoverLimit") or 0),
        servers={str(server.get("url")): str(server.get("state")) for server in servers},
    )


def complaints(seen: Seen | None, *, paused: bool) -> Mapping[str, Alert]:
    """Why Replication Manager would not replace a dead primary now, by a key that stays the same while it lasts."""
    if seen is None:
        remedy = f"`systemctl status {MANAGER_UNIT}` and its journal say why."
        return {"silent": Alert("Replication Manager does not answer: nobody fails over", remedy, PROTECTS_NOTHING)}
    found: dict[str, Alert] = {}
    states = sorted(f"{name} is {state}" for name, state in seen.servers.items())
    roles = list(seen.servers.values())
    if seen.topology != "master-slave" or roles.count("Master") != 1 or "Slave" not in roles:
        found["topology"] = Alert(
            f"Replication Manager protects nothing: topology {seen.topology}; {', '.join(states) or 'no server'}",
            "It needs one Master and a Slave. Bring the missing one back.",
            PROTECTS_NOTHING,
        )
    if seen.limit and seen.failovers >= seen.limit:
        what = f"Replication Manager reached its limit of {seen.limit} failovers (ERR00027) and will not act again"
        found["limit"] = Alert(what, STATES["ERR00027"].todo, LIMIT_REACHED)
    if not seen.automatic and not paused:
        found["manual"] = Alert(
            "Replication Manager is in manual mode, and no pause was asked for",
            "`mysql-repman resume` makes it automatic.",
            PROTECTS_NOTHING,
        )
    return found
