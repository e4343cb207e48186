"""How long each part of a failover took: seconds from the fault on, a row a test, printed at the end of the session."""

from __future__ import annotations

from collections.abc import Mapping

from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import Host, wait_until

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

    def promotion(self, pair: Pair, load: Load, fault: str, began: float, term: int) -> Host:
        """Wait for the promotion after `term` and the first writes on it, add its row; return the new primary.

        Raises CommandError when one of them does not come in time.
        """
        new = pair.wait_for_promotion(term, pair.detection_seconds + 60)
        first = load.wait_for_ok(new, began)
        # a loaded machine breaks the old primary some time after the test began to: what it still said does not count
        wait_until(lambda: any(at > first - 1 for at in load.shop_moments()), "the application's write is acknowledged")
        proxied = min(at for at in load.shop_moments() if at > first - 1)
        wait_until(lambda: pair.last().get("term") == pair.term(), "the manager's own account", limit_seconds=30)
        parts = {part: float(at) for part, at in pair.last()["seconds"].items()}
        self.add(fault, "promoted", first=first - began, proxied=proxied - began, parts=parts)
        return new

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows so far."""
        return self._rows
