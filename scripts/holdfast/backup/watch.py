"""The hourly run of mysql-backup-watch: look, judge, tell, and leave a sign that this host was at work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from zoneinfo import ZoneInfo

from holdfast.backup import archive, watch_heartbeat
from holdfast.backup.alarm_engine import Finding, Letter, Memory, bundles, decide, sent
from holdfast.backup.alarm_memory import load_memory, save_memory
from holdfast.backup.alarm_names import FROM_MYSQL, FROM_THE_HOST, FROM_THE_STORE, GUARDS_OWN, runbook_of
from holdfast.backup.coverage import coverage
from holdfast.backup.store import Store
from holdfast.backup.watch_drills import cleanup_of, drills_of
from holdfast.backup.watch_heartbeat import Heartbeat
from holdfast.backup.watch_host import host_findings, with_sample
from holdfast.backup.watch_look import GUARD, look_at_host, look_at_mysql, states_of
from holdfast.backup.watch_mysql import mysql_findings
from holdfast.backup.watch_store import StoreView, store_findings
from holdfast.channels import MAXIMUM_CHARACTERS
from holdfast.clock import format_utc, utc_now
from holdfast.config import Config
from holdfast.entry_point import add_to_summary
from holdfast.errors import ExitCode, HoldfastError, StorageError
from holdfast.gtid import GtidSet
from holdfast.lock import hold
from holdfast.notify import channels_of, duration_text, send_by

LOCK = "watch"
MEMORY = "watch.json"
# Each message may take `notifications.timeout_seconds`; a Telegram that swallows all must not make a run meet the next.
SENDING_SECONDS = 300.0

log = logging.getLogger(__name__)


@dataclass
class Look:
    """What one run has found so far: what is wrong, what could not be judged, what others tell."""

    findings: list[Finding] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    not_ours: set[str] = field(default_factory=set)
    status: ExitCode = ExitCode.DONE
    gtid_executed: GtidSet = field(default_factory=GtidSet)
    used: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str, alarms: frozenset[str]) -> Iterator[None]:
        """A part of the run that must not take the others with it when it breaks off."""
        try:
            yield
        except StorageError as error:
            log.warning("%s: %s", name, error)
            self.unknown |= alarms
            self.status = ExitCode.STORAGE
            if name == "store":
                what = f"the store cannot be read: {error.what[:400]}"
                meaning = "Nobody knows whether the backups are well, and new ones may not arrive."
                # rclone's last words have the cause: that a spending cap is reached is seen nowhere else
                if cause := " ".join(error.meaning.split())[-400:]:
                    meaning += f"\nThe last that was heard: {cause}"
                self.findings.append(
                    Finding("store_unreachable", what, meaning, error.remedy or "See rclone.conf and the network.")
                )
        except Exception as error:
            bug = not isinstance(error, HoldfastError)
            log.error("%s: %s", name, error, exc_info=bug)
            self.unknown |= alarms
            self.status = ExitCode.BUG if bug else ExitCode(getattr(error, "exit_code", ExitCode.BUG))
            what = f"{type(error).__name__}: {error}" if bug else str(getattr(error, "what", error))
            self.findings.append(
                Finding(
                    "watch_failed",
                    f"the watcher could not look at {name}: {what[:400]}",
                    "What is wrong there is not noticed.",
                    "See `journalctl -t mysql-backup-watch`.",
                    subject=name,
                )
            )


def run_watch(config: Config, *, now: Callable[[], datetime] = utc_now) -> ExitCode:
    """Look at this host, and at the store if it is this host's turn; tell what is new.

    0 when all was looked at and people were told, whatever was wrong. 4 when a message was not accepted, 5 when the
    store cannot be read, 1 for a bug in a part. Raises LockedError and ConfigurationError.
    """
    with hold(LOCK, config.state_directory):
        path = config.state_directory / MEMORY
        at = now()
        memory = load_memory(path, at)
        found = look(config, memory, at)
        memory = _with_samples(memory, found, at)
        memory, letters = decide(found.findings, memory, at, unknown=found.unknown, not_ours=found.not_ours)
        # Before anything is sent: what is due must be known to the next run, however this one ends.
        _save(path, memory)
        took = tell(config, letters, memory.partly)
        every = set(channels_of(config.notifications))
        accepted = [letter for letter in letters if every <= set(took[letter.id])]
        memory = sent(memory, accepted, at)
        left = {letter.id: took[letter.id] for letter in letters if letter not in accepted and took[letter.id]}
        memory = replace(memory, partly=left)
        saved = _save(path, memory)
        unsent = tuple(letter.key for letter in letters if letter not in accepted)
        sign = Heartbeat(config.host, at, tuple(memory.standing), unsent, found.gtid_executed)
        with found.part("its sign of life", frozenset()):
            Store(config.store, config.cluster).put_bytes(
                watch_heartbeat.name_of_heartbeat(config.host), sign.to_json(), overwrite=True
            )
        add_to_summary(alarms=len(memory.standing), told=len(accepted), unsent=len(unsent))
        if found.status == ExitCode.DONE and (unsent or not saved):
            return ExitCode.TOOL
        return found.status


def look(config: Config, memory: Memory, at: datetime) -> Look:
    """Look at everything that is this host's to look at."""
    found = Look()
    store = Store(config.store, config.cluster)
    heartbeats: dict[str, Heartbeat] = {}
    with found.part("store" if config.host == config.watch.speaker else "other hosts", FROM_THE_STORE):
        heartbeats = watch_heartbeat.load_heartbeats(store)
        # This run is this host's sign.
        heartbeats[config.host] = Heartbeat(config.host, at)
        if watch_heartbeat.speaks(config.watch, config.host, heartbeats, memory.born, at):
            found.findings += _from_the_store(config, store, heartbeats, memory, at)
        else:
            found.not_ours |= FROM_THE_STORE
    with found.part("host", FROM_THE_HOST):
        host = look_at_host(config, memory, at)
        found.findings += host_findings(host, config.watch.limits)
        found.used = {disk.mount: disk.used for disk in host.disks}
    if config.mysql_or_none is not None:
        with found.part("MySQL", FROM_MYSQL):
            others = [name for name in config.watch.database_hosts if name != config.host]
            peers = {name: heartbeats[name].gtid_executed for name in others if name in heartbeats}
            if not all(peers.get(name) for name in others):
                # What a server has that did not say so is not known; nothing is over by that.
                found.unknown.add("errant_transactions")
            server = look_at_mysql(config, memory, peers, at)
            found.findings += mysql_findings(server, config.watch.limits)
            if server.state is None:
                found.unknown |= FROM_MYSQL - {"mysql_unreachable"}
            else:
                found.gtid_executed = server.state.gtid_executed
            if config.failover_or_none is not None and states_of([GUARD]).get(GUARD) == "active":
                found.not_ours |= GUARDS_OWN
                found.findings = [finding for finding in found.findings if finding.alarm not in GUARDS_OWN]
    return found


def tell(config: Config, letters: list[Letter], partly: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """Send the letters, each by the channels that have not taken it yet; by its id those that have now.

    Never raises an Exception.
    """
    every = channels_of(config.notifications)
    took = {letter.id: tuple(partly.get(letter.id, ())) for letter in letters}
    began = monotonic()
    for before in sorted(set(took.values())):
        group = [letter for letter in letters if took[letter.id] == before]
        texts = [text_of(letter, config) for letter in group]
        left = [channel for channel in every if channel not in before]
        for bundle in bundles(texts, MAXIMUM_CHARACTERS):
            text = "\n\n".join(texts[number] for number in bundle)
            log.warning("%s", text.replace("\n", "; "))
            if monotonic() - began > SENDING_SECONDS:
                log.warning("not sent, as sending took too long already; the next run tries again")
                continue
            refused = send_by(config.notifications, text, left)
            for why in refused.values():
                log.warning("notification not sent, the next run tries again: %s", why)
            now_took = (*before, *(channel for channel in left if channel not in refused))
            took |= {group[number].id: now_took for number in bundle}
    return took


def text_of(letter: Letter, config: Config) -> str:
    """The message (pure)."""
    where = f"{letter.key} of {config.cluster} ({config.host})"
    if letter.ended is not None:
        lasted = duration_text((letter.ended - letter.began).total_seconds())
        return "\n".join(part for part in (f"OVER {where}, lasted {lasted}", letter.what, letter.meaning) if part)
    head = f"ALARM {where}"
    if letter.kind == "repeat":
        head = f"STILL {where}, since {format_utc(letter.began)}"
    runbook = f"{config.notifications.runbooks.rstrip('/')}/{runbook_of(letter.key.partition(':')[0])}"
    return "\n".join([head, letter.what, letter.meaning, f"To do: {letter.remedy}", f"Runbook: {runbook}"])


def _from_the_store(
    config: Config, store: Store, heartbeats: dict[str, Heartbeat], memory: Memory, at: datetime
) -> list[Finding]:
    seen = archive.look(store, config.state_directory)
    cleaner = config.retention_or_none is not None
    view = StoreView(
        now=at,
        born=memory.born,
        zone=ZoneInfo(config.time_zone),
        speaker=config.watch.speaker,
        database_hosts=config.watch.database_hosts,
        manifests=seen.manifests,
        archived=seen.archived,
        streamed={sign.host: sign.at for sign in seen.signs} if config.watch.binlog_stream else None,
        covered=coverage(seen.manifests, seen.binlogs),
        damaged=seen.damaged,
        drills=drills_of(seen.drills),
        heartbeats=heartbeats,
        cleanup=cleanup_of(config.state_directory) if cleaner else None,
        cleanup_seen=cleaner,
    )
    return store_findings(view, config.watch.limits)


def _with_samples(memory: Memory, found: Look, at: datetime) -> Memory:
    used = {mount: with_sample(memory.used.get(mount, ()), at, size) for mount, size in found.used.items()}
    return replace(memory, used={**memory.used, **used})


def _save(path: Path, memory: Memory) -> bool:
    try:
        save_memory(path, memory)
    except OSError as error:
        # A full disk is what people must hear of: they are told, at each run again until there is room.
        log.error("%s cannot be written, so what was told now is told again: %s", path, error)
        return False
    return True
