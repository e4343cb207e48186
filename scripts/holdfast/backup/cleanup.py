"""The job of mysql-backup-cleanup: look at the store, decide, refuse or delete, and prove that it is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from holdfast.backup import lease, manifest, retention
from holdfast.backup.bulk import Bulk
from holdfast.backup.cleanup_look import Look, look_at
from holdfast.backup.cleanup_memory import FILE, Memory
from holdfast.backup.rclone import MissingError
from holdfast.backup.retention import BACKUP, BINLOG, ORPHAN, Decision
from holdfast.backup.retention_refusals import summary
from holdfast.backup.schedule import due_instant
from holdfast.clock import format_utc, utc_now
from holdfast.config import Config
from holdfast.entry_point import add_to_summary
from holdfast.errors import ExitCode, LockedError, NotThisHostError, StorageError, ToolError
from holdfast.lock import hold
from holdfast.notify import Job, failure_of, tell

LOCK = "cleanup"
RUNBOOK = "cleanup_refused.md"
# A job that holds a lease each night at this hour must not keep the cleanup away for ever, and nobody hears of it.
LEASE_ALARM_AFTER = timedelta(days=3)
ROUNDS = 5  # of deleting what older versions bring back

log = logging.getLogger(__name__)


class RefusedError(ToolError):
    """Something is not as it must be, so nothing was deleted."""


class LeasedError(LockedError):
    """A backup, restore or drill is at work, so nothing was deleted."""


def run_cleanup(
    config: Config,
    *,
    dry_run: Callable[[str], None] | None = None,
    allow_more: bool = False,
    retry_due: bool = False,
    now: Callable[[], datetime] = utc_now,
) -> ExitCode:
    """Delete what is due. `dry_run` is given each line to print, and nothing is deleted, remembered or told.

    Raises NotThisHostError, LockedError, LeasedError while a job holds a lease, RefusedError, StorageError.
    """
    if config.retention_or_none is None:
        raise NotThisHostError("another host cleans up: this one has no section `retention`, and no key that deletes")
    bulk = Bulk(config.store, config.cluster, now)
    if dry_run is not None:
        look = look_at(config, bulk)
        for line in report(look.decisions):
            dry_run(line)
        _raise(look, now(), now(), allow_more=allow_more)
        return ExitCode.DONE
    memory = Memory(config.state_directory / FILE)
    with hold(LOCK, config.state_directory):
        if retry_due and memory.succeeded and memory.succeeded >= last_due(config, now()):
            log.info("the cleanup due at %s is done", format_utc(last_due(config, now())))
            return ExitCode.DONE
        try:
            look = look_at(config, bulk)
            _raise(look, now(), memory.since(now()), allow_more=allow_more)
            carry_out(look.decisions, bulk, now)
        except LeasedError:
            memory.save(now(), None)
            raise
        except BaseException as error:
            memory.save(now(), error)
            if not retry_due or memory.due_to_tell(now()):
                job = Job("offsite cleanup", config.cluster, config.host, RUNBOOK)
                tell(config.notifications, failure_of(job, config.notifications, error))
                memory.told(now())
            raise
        memory.succeed(now())
    gone = [item for item in look.decisions if item.delete]
    add_to_summary(
        backups=sum(item.kind == BACKUP for item in gone),
        binlogs=sum(item.kind == BINLOG for item in gone),
        bytes=sum(item.size for item in gone),
    )
    return ExitCode.DONE


def last_due(config: Config, now: datetime) -> datetime:
    """The moment for which the cleanup was planned last."""
    zone, at = ZoneInfo(config.time_zone), time.fromisoformat(config.retention.time_of_day)
    today = now.astimezone(zone).date()
    return max(due for back in range(2) if (due := due_instant(today - timedelta(days=back), zone, at)) <= now)


def _raise(look: Look, now: datetime, since: datetime, *, allow_more: bool) -> None:
    """Raise what stands against deleting."""
    against = [item for item in look.refusals if not (allow_more and item.limit)]
    if against:
        raise RefusedError(
            "refused: " + "; ".join(item.what for item in against),
            meaning="Nothing was deleted. " + summary(look.decisions) + " by the policy.",
            remedy="\n".join(item.remedy for item in against),
        )
    if look.leases:
        holders = "; ".join(str(item) for item in look.leases)
        meaning = "Nothing is deleted meanwhile; the next hour's run looks again."
        if now - since > LEASE_ALARM_AFTER:
            raise RefusedError(
                f"refused: no cleanup since {format_utc(since)}, as a lease stands: {holders}",
                meaning=meaning,
                remedy=f"See whether that job still runs. If it does not, delete its folder below {lease.FOLDER}/.",
            )
        raise LeasedError(f"a job is at work: {holders}", meaning=meaning, remedy="Nothing is to be done.")


def carry_out(decisions: Iterable[Decision], bulk: Bulk, now: Callable[[], datetime] = utc_now) -> None:
    """Delete what goes, so that a run that is killed anywhere leaves nothing that seems to be whole.

    Of each backup the manifest goes first, and it goes before the one that it stands upon. Raises LeasedError when a
    job began meanwhile; what is left is the next run's.
    """
    gone = retention.deletions(decisions)
    for item in gone:
        if item.kind in (BACKUP, ORPHAN):
            _require_no_lease(bulk, now)
            log.info("deletes %s: %s", item.name, item.reason)
            if item.kind == BACKUP:
                bulk.delete([manifest.name_of_manifest(item.name)])
            bulk.purge(manifest.folder_of(item.name), objects=len(item.objects))
    rest = [part.name for item in gone if item.kind not in (BACKUP, ORPHAN) for part in item.objects]
    if rest:
        _require_no_lease(bulk, now)
        log.info("deletes %d objects of binlogs and old leases", len(rest))
        bulk.delete([name for name in rest if name.endswith(".json")])
        bulk.delete([name for name in rest if not name.endswith(".json")])
    if gone:
        _prove(gone, bulk)


def _prove(gone: Sequence[Decision], bulk: Bulk) -> None:
    """Raise StorageError unless nothing of it is listed any more.

    Where a name was written twice, deleting its newest version brings the older one back: that goes too.
    """
    names = {part.name for item in gone for part in item.objects}
    for _ in range(ROUNDS):
        left = names & {item.name for item in bulk.listing(expected=len(names))}
        if not left:
            return
        log.info("%d names had older versions: deletes these too", len(left))
        bulk.delete(left)
    raise StorageError(
        f"{len(left)} objects are still there after they were deleted {ROUNDS} times, such as {min(left)}",
        meaning="The store keeps them: this key may not delete, or a lock holds them.",
        remedy="Compare the key's rights and the bucket's Object Lock with retention.object_lock_days.",
    )


def _require_no_lease(bulk: Bulk, now: Callable[[], datetime]) -> None:
    try:
        objects = bulk.listing(lease.FOLDER)
    except MissingError:
        return
    if standing := [item for item in lease.leases_in(objects) if item.stands(now())]:
        raise LeasedError(
            f"a job began meanwhile: {'; '.join(str(item) for item in standing)}",
            meaning="What was not deleted yet stays until the next hour's run.",
        )


def report(decisions: Sequence[Decision]) -> list[str]:
    """A line for each object, what goes first, and one that sums it up (pure)."""
    rest = [item for item in decisions if not item.delete]
    lines_of = [
        f"{'delete' if item.delete else 'keep  '} {part.name}  ({item.kind}: {item.reason})"
        for item in (*retention.deletions(decisions), *rest)
        for part in item.objects
    ]
    return [*lines_of, summary(decisions)]
