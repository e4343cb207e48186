"""Each alarm has its page, each page its alarm, and a page names only programs and playbooks that exist."""

from __future__ import annotations

import re

import pytest

from holdfast.backup.alarm_names import ALARMS, runbook_of
from support.repository import ROOT, read_yaml

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(path.name for path in RUNBOOKS.glob("*.md"))
# what a person looks up, or another page names; no message does
DISASTERS = {
    "datacenter_lost.md",
    "dropped_table.md",
    "dropped_table_by_hand.md",
    "failover_drill.md",
    "fence_unproven.md",
    "rebuild_replica.md",
    "rolling_restart.md",
    "server_lost.md",
}
PROGRAM = re.compile(
    r"(?<![\w/.@-])(mysql-(?:backup|restore|put|failover|fence|keeper|salvage|repman|stall)[a-z-]*)(?![\w.@-])"
)
PLAYBOOK = re.compile(r"playbooks/(\w+)\.yml")
UNITS = {"mysql-failover", "mysql-keeper", "mysql-guard"}


def named_by_programs() -> set[str]:
    """Return the pages that messages of jobs, guards and managers name."""
    return {
        name for path in (ROOT / "scripts").rglob("*.py") for name in re.findall(r"\b([a-z_]+\.md)\b", path.read_text())
    }


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_has_its_page(alarm: str) -> None:
    assert runbook_of(alarm) in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_alarm(page: str) -> None:
    assert page.removesuffix(".md") in ALARMS or page in named_by_programs() | DISASTERS


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_tells_to_run_exists(page: str) -> None:
    text = (RUNBOOKS / page).read_text()
    links = read_yaml("roles/holdfast_programs/vars/main.yml")["__holdfast_programs_links"]
    assert set(PROGRAM.findall(text)) - set(links) - UNITS == set()
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert set(PLAYBOOK.findall(text)) - playbooks == set()
    assert {name for name in re.findall(r"`([a-z_]+\.md)`", text)} - set(PAGES) == set()


@pytest.mark.parametrize("alarm", ALARMS)
def test_a_page_silences_no_other_alarm(alarm: str) -> None:
    text = (RUNBOOKS / runbook_of(alarm)).read_text()
    assert set(re.findall(r"mysql-backup-watch silence (\w+)", text)) <= {alarm}
