"""Which tables and which moment a person means, and what is said before and after: pure functions for the playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def names(tables: str | Sequence[str]) -> list[dict[str, str]]:
    """Return name, database and table of each; of what is no DATABASE.TABLE the table is empty."""
    words = tables.split(",") if isinstance(tables, str) else tables
    found = []
    for word in dict.fromkeys(word.strip() for word in words):
        database, _, table = word.partition(".")
        found.append({"name": word, "database": database, "table": table})
    return found


def target(to: str, to_gtid: str, before_gtid: str, before: str) -> list[str]:
    """Return the words of mysql-restore for the moment; nothing unless exactly one is named."""
    chosen = {"--to-time": to, "--to-gtid": to_gtid, "--before-gtid": before_gtid, "--before-statement": before}
    given = [(option, value) for option, value in chosen.items() if value]
    return list(given[0]) if len(given) == 1 else []


def problems(tables: Sequence[Mapping[str, str]], words: Sequence[str], primary: str, confirm: str) -> list[str]:
    """Return what is wrong with the request."""
    found = []
    if not all(one["database"] and one["table"] for one in tables):
        found.append(f"Say -e recover_tables=DATABASE.TABLE (it was {', '.join(one['name'] for one in tables)!r}).")
    elif len({one["database"] for one in tables}) > 1:
        found.append("The tables are of several databases: run it once for each database.")
    if "'" in "".join(one["name"] for one in tables):
        found.append("A table with a quote in its name is put back by hand (docs/runbooks/dropped_table_by_hand.md).")
    if not words:
        found.append("Say one moment: recover_before, recover_before_gtid, recover_to_gtid or recover_to.")
    if confirm and confirm != primary:
        found.append(f"Not confirmed: the primary is {primary}, but confirm is {confirm!r}.")
    return found


def plan(
    tables: Sequence[Mapping[str, str]],
    present: Sequence[Mapping[str, Any]],
    children: Sequence[Mapping[str, Any]],
    primary: str,
    side: str,
) -> list[str]:
    """Return what will be done, line by line. `present` and `children` are what information_schema says."""
    there = {str(row["name"]): row["about_rows"] for row in present}
    lines = []
    for one in tables:
        what = (
            f"is there, with about {there[one['table']]} rows: it is renamed aside and kept"
            if one["table"] in there
            else "is not there now"
        )
        lines.append(f"{one['name']} {what}; what it was at the target takes its place on {primary}, and replicates.")
    names_of = {one["name"] for one in tables}
    others = sorted({str(row["name"]) for row in children} - names_of)
    if others:
        lines.append(f"Foreign keys of {', '.join(others)} refer to it: checked before, taken away and given again.")
    lines.append(f"The restore itself happens beside {side}, in an instance that nobody else reaches:")
    return lines


def report(
    told: Mapping[str, Any], target: str, restore_seconds: float, seconds: float, late: Sequence[int]
) -> list[str]:
    """Return how it went. `told` is what mysql-put-back printed, `late` whether each server lacks something (1)."""
    lines = []
    for one in told["tables"]:
        name = f"{told['database']}.{one['table']}"
        lines.append(f"{name} is as it was ({target}): {one['rows']} rows, equal by checksum to the restored ones.")
        if one["aside"] is None:
            continue
        aside = f"{told['database']}.{one['aside']}"
        if "rows_since" in one:
            lines.append(
                f"What was there is kept as {aside}: {one['rows_aside']} rows, of which {one['rows_since']} are only"
                f" there (written since that moment) and {one['rows_changed']} are other than in the restored table."
            )
        else:
            lines.append(
                f"What was there is kept as {aside}: {one['rows_aside']} rows, without a primary key to compare."
            )
        lines.append(f"Take from it what you want (INSERT ... SELECT), then DROP TABLE {aside}.")
    if told["orphans"]:
        text = ", ".join(f"{count} of {what}" for what, count in told["orphans"].items())
        lines.append(f"ROWS THAT REFER TO NOTHING: {text}.")
    else:
        lines.append(f"{told['foreign_keys']} foreign keys checked: every row refers to one that is there.")
    lines.append("NOT ON EVERY SERVER YET: a replica lags." if any(late) else "Every server has it.")
    lines.append(f"{seconds:.0f} s in all, {restore_seconds:.0f} s of them until the moment was restored.")
    return lines


class FilterModule:
    """Names that the playbook calls."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "recover_table_names": names,
            "recover_table_target": target,
            "recover_table_problems": problems,
            "recover_table_plan": plan,
            "recover_table_report": report,
        }
