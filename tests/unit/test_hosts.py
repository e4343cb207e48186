"""How the suites reach the lab's hosts."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.hosts import bounding_set, exit_status, started_at


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("0000000000000000", "-all"),
        ("0000000000000005", "-all,+cap_0,+cap_2"),
        ("00000000a0000000", "-all,+cap_29,+cap_31"),
    ],
)
def test_a_command_has_the_hosts_capabilities(mask: str, words: str) -> None:
    assert bounding_set(f"CapEff:\t{'f' * 16}\nCapBnd:\t{mask}\nCapAmb:\t0\n") == words


@pytest.mark.parametrize(("returncode", "status"), [(0, 0), (75, 75), (-9, 137), (-15, 143)])
def test_a_signal_is_told_as_a_shell_does(returncode: int, status: int) -> None:
    assert exit_status(returncode) == status


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    mine = started_at(os.getpid())
    assert mine == started_at(os.getpid()) and int(mine) > 0
    with subprocess.Popen(["sleep", "30"]) as other:
        assert int(started_at(other.pid)) >= int(mine)
        other.kill()
    assert started_at(other.pid) == ""
