"""The screen of mysql-backup-status. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from holdfast.backup.status import Status, age, cost, last_successes, problems, restorable_until, rpo_seconds
from holdfast.backup.status_strip import STRIP_DAYS, strip
from holdfast.clock import format_utc
from holdfast.notify import bytes_text, duration_text

BAR_CHARACTERS = 24
STRIP_CHARACTERS = 60
LISTED_CHAINS = 6


def text(status: Status) -> str:
    """The screen."""
    found = problems(status)
    seen = f", as seen {age(status, status.seen_at)} ago" if status.seen_at else ""
    verdict = "look here" if found else "all is well"
    lines = [
        f"Backups of {status.cluster}: {verdict}   ({format_utc(status.now)}{seen})",
        *[f"  ! {problem}" for problem in found],
        "",
        "Last success",
        *[f"  {name:<12} {_moment(status, at)}" for name, at in last_successes(status).items()],
        "",
        "Restorable",
        *_restorable(status),
    ]
    if status.next_runs:
        lines += ["", "Next"]
        lines += [
            f"  {name:<12} {format_utc(at)}  in {duration_text((at - status.now).total_seconds())}"
            for name, at in sorted(status.next_runs.items(), key=lambda item: item[1])
        ]
    lines += ["", "Chains", *(list(_chains(status)) or ["  none"])]
    if status.price is not None:
        lines += ["", *_cost(status)]
    return "\n".join(lines) + "\n"


def bar(size: int, largest: int) -> str:
    """A bar as long as the size among the largest; what is there shows at least one mark."""
    marks = 0 if size == 0 or largest == 0 else max(1, round(BAR_CHARACTERS * size / largest))
    return "#" * marks


def rpo_text(status: Status) -> str:
    """What would be lost now, in words."""
    seconds = rpo_seconds(status)
    return "everything" if seconds is None else f"the last {duration_text(seconds)}"


def _restorable(status: Status) -> Iterator[str]:
    if not status.covered.windows:
        yield "  nothing" if not status.manifests else "  nothing: no chain is whole"
        return
    for window in status.covered.windows:
        length = duration_text((window.end - window.start).total_seconds())
        yield f"  {format_utc(window.start)} to {format_utc(window.end)}  ({length})"
    yield f"  |{strip(status, STRIP_CHARACTERS)}|"
    legend = "= restorable  ! hole  - not archived yet  . nothing"
    yield f"   {STRIP_DAYS} days to now: {legend}"
    until = restorable_until(status)
    if until is not None:
        yield f"  If both servers were lost now, {rpo_text(status)} would be lost (since {format_utc(until)})"


def _chains(status: Status) -> Iterator[str]:
    chains = status.chains
    shown = dict(list(chains.items())[:LISTED_CHAINS])
    largest = max((item.stored_bytes for members in shown.values() for item in members), default=0)
    for chain, members in shown.items():
        total = bytes_text(sum(item.stored_bytes for item in members))
        count = "1 backup" if len(members) == 1 else f"{len(members)} backups"
        yield f"  {chain}  {count}, {total}, {members[0].engine} on {members[0].host}"
        for item in members:
            where = ", on the primary" if item.on_primary else ""
            size = bytes_text(item.stored_bytes)
            when = f"{item.started_at:%a %d %b %H:%M}"
            yield f"    {when} {item.type:<11} {size:>10}  {bar(item.stored_bytes, largest)}{where}"
    if len(chains) > len(shown):
        yield f"  and {len(chains) - len(shown)} older chains"


def _cost(status: Status) -> Iterator[str]:
    if status.price is None:
        return
    yield f"Cost a month, at {status.price.per_terabyte_month:g} {status.price.currency} a terabyte, without requests"
    for kind, (size, price) in cost(status).items():
        yield f"  {kind:<12} {bytes_text(size):>10}  {price:8.2f} {status.price.currency}"


def _moment(status: Status, at: datetime | None) -> str:
    return "never" if at is None else f"{format_utc(at)}  {age(status, at)} ago"
