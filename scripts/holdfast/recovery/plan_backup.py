"""The plan that restores one backup as it is: the only one for weeks of which no binlogs are left. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from holdfast.backup.chain import chain_of
from holdfast.backup.manifest import Manifest
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet
from holdfast.recovery.lines import Line
from holdfast.recovery.plan import Plan, PlanError, Window
from holdfast.recovery.target import NEWEST, ToBackup


def plan_of_backup(
    manifests: Sequence[Manifest], lines: Sequence[Line], target: ToBackup, problems: Iterable[str] = ()
) -> Plan:
    """The chain up to that backup, and no binlogs. Raises PlanError when it is not there, or its chain is not whole."""
    notes = list(problems)
    if target.backup_id == NEWEST:
        chain = _newest(manifests, notes)
        wanted, target = chain[-1], ToBackup(chain[-1].id)
    else:
        wanted, chain = _named(manifests, target, notes)
    abandoned = GtidSet.union_of(line.abandoned for line in lines)
    if given_up := wanted.gtid_upper & abandoned:
        notes.append(
            f"{wanted.id} holds transactions that were given up later ({given_up.one_line()}); they come with it"
        )
    end = wanted.finished_at + timedelta(seconds=1)
    return Plan(target, tuple(chain), (), abandoned, Window(end, end), tuple(notes))


def _named(manifests: Sequence[Manifest], target: ToBackup, notes: Sequence[str]) -> tuple[Manifest, list[Manifest]]:
    wanted = next((item for item in manifests if item.id == target.backup_id), None)
    if wanted is None:
        raise PlanError(
            f"the store holds no complete {target}",
            meaning="\n".join(notes),
            remedy="mysql-backup-status --json names every backup.",
        )
    try:
        return wanted, chain_of(wanted, manifests)
    except StorageError as error:
        raise PlanError(error.what, meaning=error.meaning, remedy="Choose another backup.") from error


def _newest(manifests: Sequence[Manifest], notes: list[str]) -> list[Manifest]:
    """The chain of the newest backup whose parents are all there; why newer ones are passed over goes to the notes."""
    for manifest in sorted(manifests, key=lambda one: (one.finished_at, one.id), reverse=True):
        try:
            return chain_of(manifest, manifests)
        except StorageError as error:
            notes.append(f"{manifest.id} is not used: {error.what}")
    raise PlanError(
        "the store holds no complete backup",
        meaning="\n".join(notes) or "Nothing can be restored.",
        remedy="If the bucket is another one, or its folder: mysql_backup_store_bucket, holdfast_programs_cluster.",
    )
