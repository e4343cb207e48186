"""The status as one page with plots, without anything from elsewhere, readable on a phone. Pure.

The plots are SVG without text: they stretch to any width; what is to be read is HTML, which does not shrink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from html import escape

from holdfast.backup.manifest import Manifest
from holdfast.backup.status import Status, age, cost, last_successes, problems, restorable_until
from holdfast.backup.status_strip import STRIP_DAYS, stretches
from holdfast.backup.status_text import LISTED_CHAINS, rpo_text
from holdfast.clock import format_utc
from holdfast.notify import bytes_text, duration_text

PLOTTED_BACKUPS = 60
WIDTH = 1000  # of a plot, in its own units
TALL = 120
MEANINGS = {"good": "restorable", "hole": "hole", "later": "not archived yet", "none": "no backup"}

STYLE = """
:root { --ink: #1c2024; --soft: #5c6670; --page: #fbfbfa; --card: #ffffff; --line: #dfe3e6;
  --good: #2f7d4f; --bad: #b3261e; --later: #b98a1b; --none: #cfd5da; --full: #2b5d9b; --incremental: #86afd9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa4ad; --page: #15181b; --card: #1d2125;
  --line: #31373d; --good: #58b07c; --bad: #ef7a72; --later: #d8b04d; --none: #444c54; --full: #7fb0e6;
  --incremental: #41658c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p, ul { margin: .3rem 0; } ul { padding-left: 1.2rem; }
.soft { color: var(--soft); font-size: .875rem; }
.verdict { font-weight: 600; } .well { color: var(--good); } .look { color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin-top: 1rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .75rem; }
.tile b { display: block; font-size: 1.1rem; } .tile span { color: var(--soft); font-size: .875rem; }
svg { display: block; width: 100%; }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: .875rem; margin-top: .2rem; }
.key span { display: inline-block; margin-right: 1rem; font-size: .875rem; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin-right: .35em; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .5rem .25rem 0; }
th { color: var(--soft); font-weight: 500; font-size: .875rem; } tr { border-bottom: 1px solid var(--line); }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } td.bar { width: 40%; }
.id { font-family: ui-monospace, monospace; font-size: .8rem; overflow-wrap: anywhere; }
"""


def page(status: Status) -> str:
    """The whole page."""
    found = problems(status)
    seen = f", as seen {age(status, status.seen_at)} ago" if status.seen_at else ""
    verdict = '<span class="well">&#10003; all is well</span>' if not found else '<span class="look">! look here</span>'
    parts = [
        f'<h1>Backups of {escape(status.cluster)}</h1>\n<p class="verdict">{verdict}</p>',
        f'<p class="soft">{format_utc(status.now)}{escape(seen)}</p>',
        _list(found),
        _tiles(status),
        _restorable(status),
        _sizes(status.manifests[-PLOTTED_BACKUPS:]),
        _runs(status),
        *_chains(status),
        _cost(status),
    ]
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Backups of {escape(status.cluster)}: {'all is well' if not found else 'look here'}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(part for part in parts if part) + "\n</body>\n</html>\n"


def _list(items: Iterable[str]) -> str:
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<ul class="look">{rows}</ul>' if rows else ""


def _tiles(status: Status) -> str:
    stored = cost(status)["total"][0]
    tiles = [
        ("would be lost if both servers were lost now", rpo_text(status)),
        ("in the store", bytes_text(stored)),
        ("backups", f"{len(status.manifests)} in {len(status.chains)} chains"),
        ("archived binlogs", f"{status.binlog_files:,}"),
    ]
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _restorable(status: Status) -> str:
    found = stretches(status)
    begin = status.now - timedelta(days=STRIP_DAYS)
    length = timedelta(days=STRIP_DAYS)
    colours = {"good": "--good", "hole": "--bad", "later": "--later", "none": "--none"}
    rects = []
    for each in found:
        left = WIDTH * ((each.start - begin) / length)
        # A minute's hole in a month is no pixel wide, and the one thing that must be seen.
        wide = max(4.0 if each.kind == "hole" else 0.0, WIDTH * ((each.end - each.start) / length))
        title = f"{MEANINGS[each.kind]}: {format_utc(each.start)} to {format_utc(each.end)}"
        rects.append(
            (
                each.kind == "hole",
                f'<rect x="{left:.1f}" width="{wide:.1f}" height="28" style="fill:var({colours[each.kind]})">'
                f"<title>{title}</title></rect>",
            )
        )
    drawn = "".join(rect for _, rect in sorted(rects, key=lambda item: item[0]))
    present = {each.kind for each in found}
    key = "".join(
        f'<span><i style="background:var({colour})"></i>{MEANINGS[kind]}</span>'
        for kind, colour in colours.items()
        if kind in present
    )
    until = restorable_until(status)
    first = status.covered.windows[0].start if status.covered.windows else None
    reach = "Nothing can be restored." if until is None or first is None else (
        f"From {format_utc(first)} to {format_utc(until)}"
        f"{', but for the holes' if status.covered.holes else ''}."
    )  # fmt: skip
    return (
        f"<h2>Restorable, the last {STRIP_DAYS} days</h2>\n"
        f'<svg viewBox="0 0 {WIDTH} 28" height="28" preserveAspectRatio="none" role="img" aria-label="{escape(reach)}">'
        f"{drawn}</svg>\n{_ends(begin, status.now)}\n"
        f'<p class="key">{key}</p>\n<p class="soft">{escape(reach)}</p>'
    )


def _sizes(manifests: Iterable[Manifest]) -> str:
    shown = list(manifests)
    if not shown:
        return ""
    largest = max(item.stored_bytes for item in shown) or 1
    step = WIDTH / len(shown)
    heights = [max(1.0, TALL * item.stored_bytes / largest) for item in shown]
    bars = "".join(
        f'<rect x="{(number + 0.1) * step:.1f}" width="{step * 0.8:.1f}" y="{TALL - heights[number]:.1f}" '
        f'height="{heights[number]:.1f}" style="fill:var(--{item.type})">'
        f"<title>{escape(item.id)}: {bytes_text(item.stored_bytes)}</title></rect>"
        for number, item in enumerate(shown)
    )
    return (
        f"<h2>Sizes of the last {len(shown)} backups</h2>\n"
        f'<p class="soft">The tallest has {bytes_text(largest)}.</p>\n'
        f'<svg viewBox="0 0 {WIDTH} {TALL}" height="{TALL}" preserveAspectRatio="none" role="img" '
        f'aria-label="sizes of backups in their order">{bars}</svg>\n'
        f"{_ends(shown[0].started_at, shown[-1].started_at)}\n"
        '<p class="key"><span><i style="background:var(--full)"></i>full</span>'
        '<span><i style="background:var(--incremental)"></i>incremental</span></p>'
    )


def _runs(status: Status) -> str:
    rows = [
        f"<tr><td>{escape(name)}</td><td>{'never' if at is None else f'{age(status, at)} ago'}</td>"
        f'<td class="soft">{"" if at is None else format_utc(at)}</td></tr>'
        for name, at in last_successes(status).items()
    ]
    made = f"<h2>Last success</h2>\n<table>{''.join(rows)}</table>"
    if status.next_runs:
        rows = [
            f"<tr><td>{escape(name)}</td><td>in {duration_text((at - status.now).total_seconds())}</td>"
            f'<td class="soft">{format_utc(at)}</td></tr>'
            for name, at in sorted(status.next_runs.items(), key=lambda item: item[1])
        ]
        made += f"\n<h2>Next</h2>\n<table>{''.join(rows)}</table>"
    return made


def _chains(status: Status) -> Iterator[str]:
    shown = list(status.chains.items())[:LISTED_CHAINS]
    largest = max((item.stored_bytes for _, members in shown for item in members), default=0) or 1
    for chain, members in shown:
        total = bytes_text(sum(item.stored_bytes for item in members))
        rows = "".join(
            f"<tr><td>{item.started_at:%a %d %b %H:%M}</td>"
            f"<td>{item.type}{' (primary)' if item.on_primary else ''}</td>"
            f'<td class="n">{bytes_text(item.stored_bytes)}</td><td class="bar">'
            f'<svg viewBox="0 0 {WIDTH} 10" height="10" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect width="{max(4.0, WIDTH * item.stored_bytes / largest):.1f}" height="10" '
            f'style="fill:var(--{item.type})"/>'
            "</svg></td></tr>"
            for item in members
        )
        yield (
            f'<h2>Chain <span class="id">{escape(chain)}</span></h2>\n'
            f'<p class="soft">{total}, {escape(members[0].engine)} on {escape(members[0].host)}</p>\n'
            f"<table>{rows}</table>"
        )
    if len(status.chains) > len(shown):
        yield f'<p class="soft">and {len(status.chains) - len(shown)} older chains</p>'


def _cost(status: Status) -> str:
    if status.price is None:
        return ""
    currency = escape(status.price.currency)
    rows = "".join(
        f'<tr><td>{kind}</td><td class="n">{bytes_text(size)}</td><td class="n">{price:.2f} {currency}</td></tr>'
        for kind, (size, price) in cost(status).items()
    )
    return (
        f"<h2>Cost a month</h2>\n<p class='soft'>{status.price.per_terabyte_month:g} {currency} a terabyte, "
        f"without requests</p>\n<table>{rows}</table>"
    )


def _ends(start: datetime, end: datetime) -> str:
    return f'<div class="ends"><span>{start:%d %b %Y}</span><span>{end:%d %b %Y}</span></div>'
