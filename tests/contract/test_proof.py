"""docs/proof.md says where each promise is proved: the tests that it names exist, and no row says nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "proof.md").read_text()
NAMED = sorted(set(re.findall(r"`(\w+/\w+\.py(?:::\w+)?)`", PAGE)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]
SOFTWARE = {"pair", "rclone", "simulator", "model", "fake", "Chromium", "Ansible"}


@pytest.mark.parametrize("name", NAMED)
def test_each_test_that_is_named_exists(name: str) -> None:
    path, _, test = name.partition("::")
    text = (ROOT / "tests" / path).read_text()
    assert re.search(rf"def {test}\(" if test else r"def test_|def main\(", text), f"{name} is not there"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_promise_is_proved_or_said_to_be_open(row: list[str]) -> None:
    promise, proved, software, left = row
    assert promise
    if proved == "nothing":
        assert left, "neither a test nor a word that it lacks one"
        return
    assert "`" in proved, "no test is named"
    for path in re.findall(r"`(\w+/\w+\.py)", proved):
        assert "mark.open(" not in (ROOT / "tests" / path).read_text(), f"{path} is open: it proves nothing yet"
    assert set(software.split(", ")) <= SOFTWARE, software


def test_every_folder_of_tests_has_its_promise() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders - {name.partition("/")[0] for name in NAMED} == {"lab"}, "a folder of tests that proves nothing here"
