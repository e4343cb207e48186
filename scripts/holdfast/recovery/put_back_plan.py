"""How restored tables take the place of the present ones: statements in their order, and how to take each back. Pure.

The restored tables lie in SCRATCH, whole and without foreign keys. One RENAME moves the present tables aside and the
restored ones in, so that the application finds one or the other. Foreign keys would follow the renamed tables, and
their names and those of checks are unique in a database: keys of others are taken away before and given again after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.backup.fingerprint import quoted
from holdfast.recovery.table_definition import Definition, ForeignKey, name_of_aside, orphans, own_name

SCRATCH = "holdfast_put_back"


@dataclass(frozen=True)
class Trigger:
    """A trigger as SHOW CREATE TRIGGER has it."""

    name: str
    sql_mode: str
    charset: str
    collation: str
    create: str


@dataclass(frozen=True)
class Restored:
    """A table in SCRATCH: what it is, and what it holds."""

    table: str
    definition: Definition
    rows: int
    checksum: int
    triggers: tuple[Trigger, ...]


@dataclass(frozen=True)
class Present:
    """A table that is there now under the name of a restored one; `next_number` is its AUTO_INCREMENT."""

    definition: Definition
    triggers: tuple[str, ...]
    next_number: int | None


@dataclass(frozen=True)
class Exchange:
    """The statements. `before` come with what takes each back (empty: nothing need be); `asides` are new names."""

    before: tuple[tuple[str, str], ...]
    rename: str
    after: tuple[str, ...]
    asides: Mapping[str, str]


def exchange(
    database: str,
    restored: Sequence[Restored],
    present: Mapping[str, Present],
    children: Sequence[ForeignKey],
    stamp: str,
) -> Exchange:
    """The statements that put `restored` in place. `children`: foreign keys of any table to one of them, now."""
    names = {one.table for one in restored}
    asides = {table: name_of_aside(table, stamp) for table in present}
    others = [key for key in children if not (key.database == database and key.table in names)]
    before = [(_drop_key(key), _add_key(key)) for key in others]
    for table, there in present.items():
        before += [
            (f"ALTER TABLE {_at(database, table)} DROP CHECK {quoted(name)}", f"{_alter(database, table)} ADD {check}")
            for name, check in there.definition.checks.items()
            if not own_name(table, name)
        ]
        if there.next_number:  # or numbers that were given since would be given again
            before.append((f"{_alter(SCRATCH, table)} AUTO_INCREMENT = {there.next_number}", ""))
    moves = [f"{_at(database, table)} TO {_at(database, aside)}" for table, aside in asides.items()]
    moves += [f"{_at(SCRATCH, one.table)} TO {_at(database, one.table)}" for one in restored]
    after: list[str] = []
    for table, there in present.items():
        gone = [_name_aside(table, asides[table], key.name) for key in there.definition.foreign_keys]
        if gone:  # what lies aside must hold nobody's DELETE up
            drops = ", ".join(f"DROP FOREIGN KEY {quoted(name)}" for name in gone)
            after.append(f"{_alter(database, asides[table])} {drops}")
        after += [f"DROP TRIGGER {quoted(database)}.{quoted(name)}" for name in there.triggers]
    after += [_add_key(key) for one in restored for key in one.definition.foreign_keys]
    after += [_add_key(key) for key in others]
    return Exchange(tuple(before), "RENAME TABLE " + ", ".join(moves), tuple(after), asides)


def orphan_queries(
    database: str, restored: Sequence[Restored], children: Sequence[ForeignKey], *, moved: bool
) -> dict[str, str]:
    """The counts of rows that would refer, or with `moved` do refer, to nothing; by what they are of."""
    names = {one.table for one in restored}

    def where(of: str, table: str) -> str:
        return _at(SCRATCH if of == database and table in names and not moved else of, table)

    keys = [key for one in restored for key in one.definition.foreign_keys]
    keys += [key for key in children if not (key.database == database and key.table in names)]
    return {
        f"{key.database}.{key.table} to {key.parent_database}.{key.parent} ({key.name})": orphans(
            key, where(key.database, key.table), where(key.parent_database, key.parent)
        )
        for key in keys
    }


def rows_since(
    database: str, table: str, aside: str, key: Sequence[str], columns: Sequence[str]
) -> tuple[str, str] | None:
    """The counts of rows that only the table aside has, and that are other there; None without a primary key."""
    if not key:
        return None
    old, new = _at(database, aside), _at(database, table)
    on = " AND ".join(f"n.{quoted(name)} = a.{quoted(name)}" for name in key)
    same = " AND ".join(f"n.{quoted(name)} <=> a.{quoted(name)}" for name in columns) or "TRUE"
    only = f"SELECT COUNT(*) FROM {old} AS a LEFT JOIN {new} AS n ON {on} WHERE n.{quoted(key[0])} IS NULL"  # noqa: S608
    other = f"SELECT COUNT(*) FROM {old} AS a JOIN {new} AS n ON {on} WHERE NOT ({same})"  # noqa: S608
    return only, other


def _name_aside(table: str, aside: str, constraint: str) -> str:
    return aside + constraint[len(table) :] if own_name(table, constraint) else constraint


def _alter(database: str, table: str) -> str:
    return f"ALTER TABLE {_at(database, table)}"


def _add_key(key: ForeignKey) -> str:
    return f"{_alter(key.database, key.table)} ADD {qualified(key)}"


def _drop_key(key: ForeignKey) -> str:
    return f"{_alter(key.database, key.table)} DROP FOREIGN KEY {quoted(key.name)}"


def qualified(key: ForeignKey) -> str:
    """The key's definition with its parent's database written out, whatever database is the default."""
    parent = quoted(key.parent)
    plain, full = f" REFERENCES {parent} (", f" REFERENCES {quoted(key.parent_database)}.{parent} ("
    return key.definition.replace(plain, full, 1)


def _at(database: str, table: str) -> str:
    return f"{quoted(database)}.{quoted(table)}"
