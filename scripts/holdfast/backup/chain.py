"""Which backup stands on which: the choice of a parent, and the way from a backup back to its full. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.backup.manifest import BackupType, Manifest, newest
from holdfast.clock import format_utc
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet


@dataclass(frozen=True)
class Observed:
    """The server that is about to be backed up. `signature_ids`: backups whose block signature is kept on this host."""

    lineage: str
    engine: str
    series: str
    gtid_executed: GtidSet
    now: datetime
    signature_ids: Collection[str]


@dataclass(frozen=True)
class Choice:
    """What will be taken, upon which parent, and why in words for the message."""

    type: BackupType
    parent: Manifest | None
    reason: str


def choose(wanted: BackupType, manifests: Iterable[Manifest], observed: Observed, *, maximum_age: timedelta) -> Choice:
    """A full, or an incremental upon the newest backup if that can carry it; otherwise a full instead, saying why."""
    if wanted == "full":
        return Choice("full", None, "full as asked")
    by_id = {manifest.id: manifest for manifest in manifests}
    parent = newest(manifest for manifest in by_id.values() if manifest.lineage == observed.lineage)
    if parent is None:
        cause = (
            "the store holds no backup of this server's lineage (new, re-cloned or restored): " + observed.lineage
            if by_id
            else "the store holds no recent backup"
        )
    else:
        cause = _obstacle(parent, by_id, observed, maximum_age)
    if parent is None or cause:
        return Choice("full", None, f"full instead of incremental: {cause}")
    return Choice("incremental", parent, f"incremental upon {parent.id}")


def _obstacle(parent: Manifest, by_id: Mapping[str, Manifest], observed: Observed, maximum_age: timedelta) -> str:
    """Why this parent cannot carry an incremental; empty if it can."""
    if parent.engine != observed.engine:
        return f"{parent.id} was taken by engine {parent.engine}, this host uses {observed.engine}"
    if parent.series != observed.series:
        return f"{parent.id} is of MySQL {parent.series}, the server is now {observed.series}"
    if not parent.gtid_upper <= observed.gtid_executed:
        lacking = (parent.gtid_upper - observed.gtid_executed).one_line()
        return f"{parent.id} holds transactions that this server does not have: {lacking}"
    try:
        full = chain_of(parent, by_id.values())[0]
    except StorageError as error:
        return error.what
    if full.started_at > observed.now:
        return f"{full.id} lies in the future (now is {format_utc(observed.now)}): check the clocks"
    if observed.now - full.started_at > maximum_age:
        return f"the chain's full {full.id} is older than {maximum_age.days} days"
    if parent.engine == "clone" and parent.id not in observed.signature_ids:
        return f"the block signature of {parent.id} is not on this host"
    if parent.engine == "xtrabackup" and parent.to_lsn is None:
        return f"{parent.id} names no to_lsn"
    return ""


def chain_of(manifest: Manifest, manifests: Iterable[Manifest]) -> list[Manifest]:
    """The full and every incremental up to `manifest`, in the order of applying.

    Raises StorageError naming what is missing or does not fit.
    """
    by_id = {item.id: item for item in manifests}
    chain = [manifest]
    while chain[0].type == "incremental":
        child = chain[0]
        parent = by_id.get(child.parent_id or "")
        if parent is None:
            raise StorageError(
                f"{child.id} stands upon {child.parent_id}, which is not in the store or is damaged",
                meaning="That chain cannot be restored beyond its last complete member.",
                remedy="Take a full backup now: mysql-backup-full.",
            )
        if parent.id in {item.id for item in chain}:
            raise StorageError(
                f"{child.id} and {parent.id} name each other as parents", meaning="One of the manifests is wrong."
            )
        same = ("cluster", "engine", "series", "lineage", "chain_id", "server_uuid")
        differing = [name for name in same if getattr(parent, name) != getattr(child, name)]
        if child.from_lsn != parent.to_lsn:
            differing.append("from_lsn is not the parent's to_lsn")
        if differing:
            raise StorageError(
                f"{child.id} does not fit its parent {parent.id}: {', '.join(differing)}",
                meaning="Applying it would give a damaged server.",
                remedy="Take a full backup now: mysql-backup-full.",
            )
        chain.insert(0, parent)
    return chain
