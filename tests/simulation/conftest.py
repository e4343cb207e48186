"""Counts of schedules and states are printed at the end of a run."""

from __future__ import annotations

import pytest

COUNTS: list[str] = []


@pytest.fixture
def counts() -> list[str]:
    """Lines for the summary."""
    return COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in COUNTS:
        terminalreporter.write_line(f"simulation: {line}")
