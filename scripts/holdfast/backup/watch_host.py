"""What is wrong with the host itself: disks, RAID, clock, certificates, programs. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from holdfast.backup.alarm_engine import Finding
from holdfast.clock import format_utc
from holdfast.config_watch import LimitsConfig
from holdfast.notify import bytes_text

Samples = Sequence[tuple[datetime, int]]

# A trend of less says nothing: backups and binlogs come and go within a day.
SHORTEST_TREND = timedelta(hours=20)
LONGEST_TREND = timedelta(days=14)
NO_GROWTH_DAYS = 365
BETWEEN_SAMPLES = timedelta(hours=3)
_ARRAY = re.compile(r"^(md\S+) : (\S+)(?: \([^)]*\))? ?(.*)$")
_MEMBERS = re.compile(r"\[(\d+)/(\d+)\] \[([U_]+)\]")
_PROGRESS = re.compile(r"(recovery|resync|reshape|check)\s*=\s*([0-9.]+%)")


@dataclass(frozen=True)
class Disk:
    """A file system: bytes in all and in use, as `df` counts them, and how much was in use before."""

    mount: str
    total: int
    used: int
    samples: Samples = ()


@dataclass(frozen=True)
class Expiry:
    """Something that ends at a moment; None: it could not be found out, for the reason in `error`."""

    name: str
    at: datetime | None
    error: str = ""


@dataclass(frozen=True)
class HostView:
    """The host as it shows itself at `now`.

    `offsets` are other hosts' clocks against this one, in seconds; `synchronised` None: nobody knows. `services` are
    the states of the units that should be active; of those in `told_elsewhere` another program tells at once.
    """

    now: datetime
    host: str
    disks: Sequence[Disk] = ()
    mdstat: str = ""
    expiries: Sequence[Expiry] = ()
    synchronised: bool | None = None
    offsets: Mapping[str, float] | None = None
    services: Mapping[str, str] | None = None
    told_elsewhere: Collection[str] = ()


def host_findings(view: HostView, limits: LimitsConfig) -> list[Finding]:
    """Everything that is wrong, in the order of the rules."""
    return [finding for rule in RULES for finding in rule(view, limits)]


def full_disks(view: HostView, limits: LimitsConfig) -> Iterator[Finding]:
    """Disks over the two limits, and in how many days they will be full."""
    for disk in view.disks:
        percent = 100 * disk.used / disk.total if disk.total else 100.0
        if percent < limits.disk_percent:
            continue
        left = days_left(disk, view.now)
        when = "how fast it fills is not known yet"
        if left is not None:
            when = f"at its present rate it is full in {left:.0f} days" if left < NO_GROWTH_DAYS else "it does not grow"
        yield Finding(
            "disk_filling",
            f"{disk.mount} is {percent:.0f}% full: {bytes_text(disk.total - disk.used)} of "
            f"{bytes_text(disk.total)} are free; {when}",
            "When it is full MySQL refuses writes and backups stop.",
            "Make room or enlarge it; the runbook says what may go.",
            subject=disk.mount,
            level=2 if percent >= limits.disk_critical_percent else 1,
        )


def days_left(disk: Disk, now: datetime) -> float | None:
    """Days until the disk is full, by the straight line through the last two weeks.

    Infinite for one that does not grow, None without enough of a past.
    """
    points = [*((at, used) for at, used in disk.samples if timedelta(0) < now - at <= LONGEST_TREND), (now, disk.used)]
    if now - points[0][0] < SHORTEST_TREND:
        return None
    days = [(at - points[0][0]) / timedelta(days=1) for at, _ in points]
    middle_day = sum(days) / len(days)
    middle_used = sum(used for _, used in points) / len(points)
    spread = sum((day - middle_day) ** 2 for day in days)
    a_day = sum((day - middle_day) * (used - middle_used) for day, (_, used) in zip(days, points, strict=True)) / spread
    return math.inf if a_day <= 0 else (disk.total - disk.used) / a_day


def with_sample(samples: Samples, now: datetime, used: int) -> tuple[tuple[datetime, int], ...]:
    """The samples with a new one, if the last is old enough, without those that no trend needs (nor the future's)."""
    kept = tuple((at, size) for at, size in samples if timedelta(0) <= now - at <= LONGEST_TREND)
    return kept if kept and now - kept[-1][0] < BETWEEN_SAMPLES else (*kept, (now, used))


def degraded(view: HostView, limits: LimitsConfig) -> Iterator[Finding]:
    """Arrays of /proc/mdstat that lack a member, or are not running."""
    del limits
    for name, complaint in raid_complaints(view.mdstat):
        yield Finding(
            "raid_degraded",
            f"{name}: {complaint}",
            "One more disk lost takes the data of this host.",
            "Have the disk replaced; the runbook says how to take the old one out and the new one in.",
            subject=name,
        )


def raid_complaints(mdstat: str) -> list[tuple[str, str]]:
    """Each array that is not whole, and how."""
    found: list[tuple[str, str]] = []
    name = state = members = ""
    for line in [*mdstat.splitlines(), ""]:
        if match := _ARRAY.match(line):
            name, state, members = match[1], match[2], match[3]
            if state != "active":
                found.append((name, f"is {state}"))
        elif name and (match := _MEMBERS.search(line)) and "_" in match[3]:
            failed = re.findall(r"(\S+)\[\d+\]\(F\)", members)
            lost = f", failed: {', '.join(failed)}" if failed else ""
            found.append((name, f"{match[2]} of {match[1]} disks are in it [{match[3]}]{lost}"))
        elif found and found[-1][0] == name and (match := _PROGRESS.search(line)):
            found[-1] = (name, f"{found[-1][1]}; {match[1]} is at {match[2]}")
    return found


def skewed(view: HostView, limits: LimitsConfig) -> Iterator[Finding]:
    """A clock that no time server holds, and one that differs from another host's."""
    # An answer's date has whole seconds, and the answer takes its time.
    far = {host: offset for host, offset in (view.offsets or {}).items() if abs(offset) > limits.clock_skew_seconds}
    what = [
        f"the clock of {host} is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
        for host, offset in far.items()
    ]
    if view.synchronised is False:
        what.append("no time server holds this host's clock")
    if what:
        yield Finding(
            "clock_skew",
            f"{'; '.join(what)} (it shows {format_utc(view.now)})",
            "Names and ages of backups are told by clocks; an hour off, the cleanup refuses to work.",
            "See `timedatectl` and `systemctl status systemd-timesyncd` on both hosts.",
        )


def expiring(view: HostView, limits: LimitsConfig) -> Iterator[Finding]:
    """Certificates and keys that end soon, have ended, or cannot be read."""
    for expiry in view.expiries:
        if expiry.at is None:
            what, level = f"{expiry.name}: its end cannot be found out: {expiry.error}", 1
        elif expiry.at - view.now > timedelta(days=limits.certificate_days):
            continue
        elif expiry.at > view.now:
            what, level = f"{expiry.name} expires {format_utc(expiry.at)}, in {(expiry.at - view.now).days} days", 1
        else:
            what, level = f"{expiry.name} has expired {format_utc(expiry.at)}", 2
        yield Finding(
            "certificate_expiring",
            what,
            "Then the hosts no longer trust each other, or the store refuses this one.",
            "Renew it; the runbook says how.",
            subject=expiry.name,
            level=level,
        )


def expiry_of(entry: str) -> Expiry:
    """What `name=YYYY-MM-DD` says: the end of that day, UTC."""
    name, _, text = entry.rpartition("=")
    day = date.fromisoformat(text)
    return Expiry(name, datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1))


def not_running(view: HostView, limits: LimitsConfig) -> Iterator[Finding]:
    """Units that should be active and are not, but for those of which another program tells."""
    del limits
    for unit, state in (view.services or {}).items():
        # Not `activating`: a unit that systemd starts again and again is mostly that.
        if state in ("active", "reloading") or unit in view.told_elsewhere:
            continue
        yield Finding(
            "program_not_running",
            f"{unit} on {view.host} is {state}",
            "What it does is not done.",
            f"See `systemctl status {unit}` and `journalctl -u {unit}` there.",
            subject=unit,
        )


RULES = (full_disks, degraded, skewed, expiring, not_running)
