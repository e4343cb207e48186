"""How long each part of a failover took: seconds from the fault on, a row a test, printed at the end of the session."""

from __future__ import annotations

from collections.abc import Mapping

HEADINGS = ("fault", "detected", "fenced", "opened", "writable", "first OK", "through the proxy", "how")
PARTS = ("detection", "fence", "opened", "writable")


class Times:
    """The rows of the table."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []

    def add(
        self, fault: str, how: str, *, first: float, proxied: float, parts: Mapping[str, float] | None = None
    ) -> None:
        """Add a row. `parts` are the manager's own seconds, which count from the primary's last answer to it."""
        own = [f"{parts[part]:.1f}" if parts and part in parts else "" for part in PARTS]
        self._rows.append((fault, *own, f"{first:.1f}", f"{proxied:.1f}", how))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows so far."""
        return self._rows
