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
from holdfast.recovery.target import ToBackup


def plan_of_backup(
    manifests: Sequence[Manifest], lines: Sequence[Line], target: ToBackup, problems: Iterable[str] = ()
) -> Plan:
    """The chain up to that backup, and no binlogs. Raises PlanError when it is not there, or its chain is not whole."""
    wanted = next((item for item in manifests if item.id == target.backup_id), None)
    if wanted is None:
        raise PlanError(
            f"the store holds no complete {target}",
            meaning="\n".join(problems),
            remedy="mysql-backup-status --json names every backup.",
        )
    try:
        chain = chain_of(wanted, manifests)
    except StorageError as error:
        raise PlanError(error.what, meaning=error.meaning, remedy="Choose another backup.") from error
    notes = list(problems)
    abandoned = GtidSet.union_of(line.abandoned for line in lines)
    if given_up := wanted.gtid_upper & abandoned:
        notes.append(
            f"{wanted.id} holds transactions that were given up later ({given_up.one_line()}); they come with it"
        )
    end = wanted.finished_at + timedelta(seconds=1)
    return Plan(target, tuple(chain), (), abandoned, Window(end, end), tuple(notes))
