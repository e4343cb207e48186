"""Which query goes where, and what a running ProxySQL lacks: pure functions for the role's tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Found anywhere in the text. A match too many costs the primary a read, one too few reads stale data or fails.
# Without backslashes: see tasks/preflight.yml.
PRIMARY_ONLY = {
    "locks rows": "FOR[[:space:]]+(UPDATE|SHARE)",
    "locks rows, the old way": "LOCK[[:space:]]+IN[[:space:]]+SHARE[[:space:]]+MODE",
    "locks names": "(GET_LOCK|RELEASE_LOCK|RELEASE_ALL_LOCKS|IS_FREE_LOCK|IS_USED_LOCK)[[:space:]]*[(]",
    "asks about the last write": "(LAST_INSERT_ID|ROW_COUNT)[[:space:]]*[(]",
    "writes a variable or a file": "INTO[[:space:]]+(@|OUTFILE|DUMPFILE)",
}
FIRST_FRESH, FIRST_PRIMARY_ONLY, EVERY_SELECT = 100, 500, 900


def rules(
    fresh: Sequence[str], *, reader_port: int, writer_hostgroup: int, reader_hostgroup: int, split: bool
) -> list[dict[str, Any]]:
    """Return the query rules in their order; the first that matches decides, and what none matches goes to the writer.

    `match_pattern` sees the whole text: the digest of a long query is cut off, and its FOR UPDATE with it.
    """
    found: list[dict[str, Any]] = [
        {
            "rule_id": 1,
            "proxy_port": reader_port,
            "destination_hostgroup": reader_hostgroup,
            "comment": "the port of the readers",
        }
    ]
    named = [(FIRST_FRESH + number, "must read fresh data", text) for number, text in enumerate(fresh)]
    named += [(FIRST_PRIMARY_ONLY + number, *item) for number, item in enumerate(PRIMARY_ONLY.items())]
    found += [
        {"rule_id": rule, "match_pattern": text, "destination_hostgroup": writer_hostgroup, "comment": comment}
        for rule, comment, text in named
    ]
    if split:
        found.append(
            {
                "rule_id": EVERY_SELECT,
                "match_digest": "^[[:space:]]*SELECT[^a-z0-9_]",
                "destination_hostgroup": reader_hostgroup,
                "comment": "every other SELECT",
            }
        )
    return found


def differences(wanted: Mapping[str, Any], running: Mapping[str, Any]) -> list[str]:
    """Return the names of variables that have other values. KeyError names one that this ProxySQL does not know."""
    return sorted(name for name, value in wanted.items() if str(value) != str(running[name] or ""))


class FilterModule:
    """Names that the role's tasks call."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"proxysql_rules": rules, "proxysql_differences": differences}
