"""The status as a page, as metrics and as a strip; the page is opened in Chromium, also as wide as a phone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast.backup import status, status_html, status_metrics, status_text
from holdfast.backup.archive import Archive
from holdfast.backup.archive_pieces import fold
from holdfast.backup.manifest import Manifest
from holdfast.backup.schedule import next_backups
from holdfast.backup.status_strip import stretches, strip
from holdfast.backup.stream_sign import StreamSign
from holdfast.process import run
from support.backups import OTHER, START, entry, full, gtids, incremental

DAYS = 40
NOW = START + timedelta(days=DAYS, hours=6, minutes=5)
GIB = 1 << 30
CHROMIUM = shutil.which("chromium")
PHONE = 360


def a_month(*, hole_on_day: int | None = None) -> status.Status:
    """Forty nights, a binlog each hour of two servers; on one day three files of both are missing."""
    manifests: list[Manifest] = []
    for day in range(DAYS + 1):
        at = START + timedelta(days=day)
        upper = f"A:1-{day * 24 * 10 + 1}"
        kind = "full" if day % 7 == 0 else "incremental"
        name = f"{at:%Y%m%dT%H%M%SZ}-{kind}-db2"
        if kind == "full":
            manifests.append(
                full(name, hours=day * 24, upper=upper, stored_bytes=40 * GIB + day * GIB // 4, host="db2")
            )
        else:
            size = (1 + day % 5) * GIB
            made = incremental(name, manifests[-1], hours=day * 24, upper=upper, stored_bytes=size, host="db2")
            manifests.append(replace(made, on_primary=day == 9))
    files = []
    for host, line in (("db1", "line-1"), ("db2", "line-2")):
        files.append([
            entry(
                hour + 1, f"A:1-{hour * 10 + 1}", f"A:{hour * 10 + 2}-{hour * 10 + 11}", hours=(hour, hour + 0.9),
                host=host, lineage=line, server_uuid=OTHER, stored_size=50 << 20,
                archived_at=START + timedelta(hours=hour + 1),
            )
            for hour in range(DAYS * 24 + 6)
            if hole_on_day is None or not 5 <= hour - hole_on_day * 24 <= 7
        ])  # fmt: skip
    pieces = [piece for each in files for piece in fold(each)]
    archive = Archive(manifests, pieces, damaged=["x <script>alert(1)</script> does not match"] if hole_on_day else [])
    return status.look(
        "shop & sons", NOW, archive,
        next_runs={"incremental": NOW + timedelta(hours=19)}, price=status.Price(6.95, "USD"),
    )  # fmt: skip


GOOD, BAD = a_month(), a_month(hole_on_day=30)


class Elements(HTMLParser):
    """What is on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "rect"):
            self.open.append(tag)
        if tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("shown", [GOOD, BAD, status.look("empty", NOW, Archive())], ids=["good", "bad", "empty"])
def test_the_page_needs_nothing_from_elsewhere(shown: status.Status) -> None:
    text = status_html.page(shown)
    page = Elements()
    page.feed(text)
    page.close()
    assert page.open == []
    assert set(page.seen) & {"script", "link", "img", "iframe", "object", "embed", "base", "form"} == set()
    assert {name for name, _ in page.attributes} & {"src", "href", "srcset", "action", "background"} == set()
    assert not re.search(r"https?:|url\(|@import|javascript:", text)
    assert not re.search(r"<script", text, re.IGNORECASE), "what the store says is text, whatever it says"


def test_the_page_says_what_the_screen_says() -> None:
    text = status_html.page(BAD)
    assert "look here" in text and "all is well" in status_html.page(GOOD)
    for problem in status.problems(BAD):
        assert problem.partition(" <")[0] in text
    assert "the last 5 min 0 s" in text
    assert text.count('<rect x="') >= len(stretches(BAD)) + 41
    assert "Cost a month" in text


@pytest.mark.needs
@pytest.mark.skipif(CHROMIUM is None, reason="needs the Debian package chromium")
@pytest.mark.parametrize("shown", [GOOD, BAD], ids=["good", "bad"])
def test_the_page_in_chromium_fits_a_phone(shown: status.Status, tmp_path: Path) -> None:
    (tmp_path / "status.html").write_text(status_html.page(shown), encoding="utf-8")
    (tmp_path / "look.html").write_text(
        f'<iframe src="status.html" width="{PHONE}" height="700" style="border:0"></iframe><pre></pre><script>\n'
        "const frame = document.querySelector('iframe');\n"
        "frame.onload = () => {\n"
        "  const page = frame.contentDocument, every = [...page.body.querySelectorAll('*')];\n"
        "  const shown = every.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));\n"
        "  document.querySelector('pre').textContent = JSON.stringify({\n"
        "    wide: page.documentElement.scrollWidth,\n"
        "    smallest: Math.min(...shown.filter(e => e.tagName !== 'title')\n"
        "      .map(e => parseFloat(frame.contentWindow.getComputedStyle(e).fontSize))),\n"
        "    plots: [...page.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width),\n"
        "    holes: [...page.querySelectorAll('rect title')].filter(e => e.textContent.startsWith('hole'))\n"
        "      .map(e => e.parentNode.getBoundingClientRect().width),\n"
        "    title: page.title });\n"
        "};\n</script>\n",
        encoding="utf-8",
    )
    quiet = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
    argv = [
        CHROMIUM or "", "--headless", "--no-sandbox", *quiet, "--disable-component-update", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path}/profile", "--allow-file-access-from-files", "--virtual-time-budget=5000",
        "--dump-dom", f"file://{tmp_path}/look.html",
    ]  # fmt: skip
    dom = run(argv, name="chromium", timeout_seconds=120).stdout.decode()
    match = re.search(r"<pre>(.*?)</pre>", dom, re.DOTALL)
    assert match is not None, dom[-500:]
    seen = json.loads(match[1].replace("&amp;", "&"))
    assert seen["wide"] <= PHONE, "it scrolls sideways on a phone"
    assert seen["smallest"] >= 12
    assert len(seen["plots"]) > 10 and all(0 < width <= PHONE for width in seen["plots"])
    assert len(seen["holes"]) == (1 if shown is BAD else 0) and all(width >= 1 for width in seen["holes"])
    assert seen["title"].endswith("look here" if shown is BAD else "all is well")


def test_the_strip() -> None:
    assert strip(GOOD, 30) == "=" * 30
    assert strip(BAD, 30) == "=" * 19 + "!!" + "=" * 9  # the hole lies in two days of the strip
    assert strip(status.look("lab", NOW, Archive()), 10) == "." * 10
    young = status.look(
        "lab", START + timedelta(days=3), Archive([full("full")], fold([entry(7, "A:1-5", "A:6-20", hours=(0, 24))]))
    )
    assert strip(young, 30) == "." * 27 + "=--"
    assert [each.kind for each in stretches(BAD)] == ["good", "hole", "good", "later"]
    for shown in (GOOD, BAD, young):
        found = stretches(shown)
        assert found[0].start == shown.now - timedelta(days=30) and found[-1].end == shown.now
        assert all(a.end == b.start for a, b in zip(found, found[1:], strict=False))


@pytest.mark.parametrize("minutes", [1, 90])
def test_a_hole_is_seen_however_short(minutes: int) -> None:
    hole = replace(BAD.covered.holes[0], end=BAD.covered.holes[0].start + timedelta(minutes=minutes))
    shown = replace(BAD, covered=replace(BAD.covered, holes=(hole,)))
    assert 1 <= strip(shown, 60).count("!") <= 2
    widths = [
        float(width)
        for width in re.findall(r'width="([0-9.]+)" height="28" style="fill:var\(--bad\)', status_html.page(shown))
    ]
    assert widths and min(widths) >= 4


def test_what_would_be_lost() -> None:
    assert status.rpo_seconds(GOOD) == 5 * 60
    assert status.rpo_seconds(status.look("lab", NOW, Archive())) is None
    assert status_text.rpo_text(status.look("lab", NOW, Archive())) == "everything"
    files = [
        entry(7, "A:1-5", "A:6-20", hours=(0, 2)),
        entry(8, "A:1-20", "", hours=None, archived_at=START + timedelta(hours=8)),
    ]
    idle = status.look("lab", START + timedelta(hours=9), Archive([full("full")], fold(files)))
    assert status.rpo_seconds(idle) == 3600, "nothing was written between the last transaction and the last file"
    broken = status.look("lab", START + timedelta(hours=9), Archive([full("full")], [
        *fold([entry(7, "A:1-5", "A:6-20", hours=(0, 2))]), *fold([entry(9, "A:1-30", "A:31-40", hours=(3, 8))]),
    ]))  # fmt: skip
    assert status.rpo_seconds(broken) == 7 * 3600
    assert broken.covered.holes[0].missing == gtids("A:21-30")


def test_cost() -> None:
    found = status.cost(GOOD)
    assert found["total"][0] == sum(size for kind, (size, _) in found.items() if kind != "total")
    assert found["total"][1] == pytest.approx(found["total"][0] / 10**12 * 6.95)
    assert status.document(GOOD)["cost"]["month"]["total"]["price"] == round(found["total"][1], 2)
    assert "Cost a month, at 6.95 USD a terabyte" in status_text.text(GOOD)
    assert "cost" not in status.document(replace(GOOD, price=None))
    assert "Cost" not in status_text.text(replace(GOOD, price=None))


def test_metrics() -> None:
    lines = status_metrics.metrics(BAD).splitlines()
    samples = dict(line.rpartition(" ")[::2] for line in lines if not line.startswith("#"))
    name = 'cluster="shop & sons"'
    assert float(samples[f"holdfast_backup_holes{{{name}}}"]) == 1
    assert float(samples[f"holdfast_backup_rpo_seconds{{{name}}}"]) == 300
    assert float(samples[f'holdfast_backup_last_success_timestamp_seconds{{{name},job="binlogs db1"}}']) > 1.7e9
    assert float(samples[f'holdfast_backup_last_stored_bytes{{{name},type="full"}}']) > 40 * GIB
    for line in lines:
        assert re.fullmatch(
            r'# (HELP|TYPE) holdfast_backup_\w+ .+|holdfast_backup_\w+\{cluster="[^"]*"(,\w+="[^"]*")?\} [0-9.e+-]+',
            line,
        ), line
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types)), "a family stands once"
    empty = status_metrics.metrics(status.look("lab", NOW, Archive()))
    assert 'holdfast_backup_count{cluster="lab"} 0' in empty and "rpo" not in empty


@pytest.mark.parametrize(
    ("now", "incremental_at", "full_at"),
    [
        ("2026-11-25T12:00:00", "2026-11-26T01:00:00", "2026-11-29T01:00:00"),
        ("2026-11-28T12:00:00", "2026-11-30T01:00:00", "2026-11-29T01:00:00"),
        ("2026-10-24T12:00:00", "2026-10-26T01:00:00", "2026-10-25T00:00:00"),  # the night of 25 hours
        ("2026-11-29T01:00:00", "2026-11-30T01:00:00", "2026-12-06T01:00:00"),
    ],
)
def test_next_runs(now: str, incremental_at: str, full_at: str) -> None:
    moment, *expected = (datetime.fromisoformat(f"{text}+00:00") for text in (now, incremental_at, full_at))
    at = datetime.fromisoformat("2026-01-01T02:00").time()
    found = next_backups(moment, ZoneInfo("Europe/Berlin"), "sunday", at)
    assert [found["incremental"], found["full"]] == expected


def streaming(minutes_ago: float, reached: str, **changes: Any) -> status.Status:
    """GOOD, with the sign of a stream so long ago."""
    sign = StreamSign("db2", NOW - timedelta(minutes=minutes_ago), "line-2", "binlog.000999", 4, gtids(reached))
    archive = replace(GOOD.archive, signs=[sign])
    return status.look("lab", NOW, archive, streams=True, **changes)


LAST = DAYS * 240 + 61  # what the archive has


def test_what_would_be_lost_now_is_measured_by_the_streams_sign() -> None:
    seen = streaming(1, f"A:1-{LAST}")
    assert status.rpo_seconds(seen) == 64
    assert status.restorable_until(seen) == NOW - timedelta(seconds=64)
    assert not status.problems(seen)
    assert "the last 1 min 4 s would be lost" in status_text.text(seen)
    assert "stream db2" in status_text.text(seen)
    assert 'holdfast_backup_rpo_seconds{cluster="lab"} 64' in status_metrics.metrics(seen)


def test_a_sign_that_claims_more_than_the_store_has_is_not_believed() -> None:
    assert status.rpo_seconds(streaming(1, f"A:1-{LAST + 1}")) == status.rpo_seconds(GOOD)


def test_a_stream_that_stands_still_is_told() -> None:
    (problem,) = status.problems(streaming(16, f"A:1-{LAST}"))
    assert problem.startswith("no binlog was streamed since ") and problem.endswith("for 16 min 0 s")
    seen_then = streaming(16, f"A:1-{LAST}", seen_at=NOW - timedelta(minutes=15))
    assert not status.problems(seen_then), "it was well when the store was looked at"
    (problem,) = status.problems(replace(GOOD, streams=True))
    assert problem.startswith("no binlog has been streamed yet")
