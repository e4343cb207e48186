"""What SHOW CREATE TABLE says of foreign keys and checks, line by line as the server prints it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.backup.fingerprint import quoted

_NAME = r"`((?:[^`]|``)*)`"
_NAMES = r"\(((?:`(?:[^`]|``)*`(?:, ?)?)+)\)"
_FOREIGN_KEY = re.compile(
    rf"^  (?P<definition>CONSTRAINT {_NAME} FOREIGN KEY {_NAMES} REFERENCES (?:{_NAME}\.)?{_NAME} {_NAMES}.*?),?$"
)
_CHECK = re.compile(rf"^  (?P<definition>CONSTRAINT {_NAME} CHECK .*?),?$")


@dataclass(frozen=True)
class ForeignKey:
    """One of `table` of `database`; `definition` is what ADD takes, to be read with that database as the default."""

    database: str
    table: str
    name: str
    columns: tuple[str, ...]
    parent_database: str
    parent: str
    parent_columns: tuple[str, ...]
    definition: str


@dataclass(frozen=True)
class Definition:
    """A table's CREATE statement without its foreign keys, those, and its named checks by name."""

    create: str
    foreign_keys: tuple[ForeignKey, ...]
    checks: dict[str, str]


def parse(create: str, database: str, table: str) -> Definition:
    """Take the CREATE statement of a table apart."""
    kept: list[str] = []
    keys: list[ForeignKey] = []
    checks: dict[str, str] = {}
    for line in create.splitlines():
        found = _FOREIGN_KEY.match(line)
        if found:
            definition, name, columns, parent_database, parent, parent_columns = found.groups()
            keys.append(
                ForeignKey(
                    database,
                    table,
                    _plain(name),
                    _names(columns),
                    _plain(parent_database) if parent_database else database,
                    _plain(parent),
                    _names(parent_columns),
                    definition,
                )
            )
            continue
        if check := _CHECK.match(line):
            checks[_plain(check.group(2))] = check.group("definition")
        kept.append(line)
    return Definition(_without_last_comma(kept), tuple(keys), checks)


def own_name(table: str, constraint: str) -> bool:
    """Whether the server made that name itself: such a name follows the table when that is renamed."""
    return re.fullmatch(rf"{re.escape(table)}_(?:ibfk|chk)_\d+", constraint) is not None


def renamed(create: str, database: str, table: str) -> str:
    """The CREATE statement for a table of that name in another database."""
    head = f"CREATE TABLE {quoted(table)} "
    if not create.startswith(head):
        raise ValueError(f"not the CREATE statement of {table}")
    return f"CREATE TABLE {quoted(database)}.{quoted(table)} {create.removeprefix(head)}"


def name_of_aside(table: str, stamp: str) -> str:
    """What the present table is called from then on; names have 64 characters at most."""
    suffix = f"_aside_{stamp}"
    return table[: 64 - len(suffix)] + suffix


def orphans(key: ForeignKey, child: str, parent: str) -> str:
    """The query that counts the rows of `child` that refer to no row of `parent` (both quoted)."""
    pairs = list(zip(key.columns, key.parent_columns, strict=True))
    on = " AND ".join(f"p.{quoted(theirs)} = c.{quoted(mine)}" for mine, theirs in pairs)
    given = " AND ".join(f"c.{quoted(mine)} IS NOT NULL" for mine, _ in pairs)
    # the names are quoted
    return (
        f"SELECT COUNT(*) FROM {child} AS c LEFT JOIN {parent} AS p ON {on}"  # noqa: S608
        f" WHERE {given} AND p.{quoted(pairs[0][1])} IS NULL"
    )


def _without_last_comma(lines: list[str]) -> str:
    """The lines of a CREATE statement, of which some before the closing parenthesis may have been taken out."""
    for number, line in enumerate(lines):
        if line.startswith(")"):
            lines = [*lines[: number - 1], lines[number - 1].removesuffix(","), *lines[number:]]
            break
    return "\n".join(lines)


def _plain(name: str) -> str:
    return name.replace("``", "`")


def _names(text: str) -> tuple[str, ...]:
    return tuple(_plain(name) for name in re.findall(_NAME, text))
