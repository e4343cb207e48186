"""Which statements destroy what (DROP TABLE, DROP DATABASE, TRUNCATE), and what a person types to find them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.binlog import Query
from holdfast.errors import UsageError

_TOKENS = re.compile(
    r"/\*!\d*|\*/"  # an executable comment's content counts
    r"|/\*.*?\*/|--[ \t\n][^\n]*|\#[^\n]*"  # other comments do not
    r"|`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|'(?:[^'\\]|\\.|'')*'"
    r"|[^\s`\"'(),.;=*/#-]+|[(),.;=*/#-]",
    re.DOTALL,
)


@dataclass(frozen=True)
class Loss:
    """What a statement destroys: `verb` is drop, truncate or drop database; names as written, database resolved."""

    verb: str
    database: str
    table: str | None


@dataclass(frozen=True)
class Wanted:
    """What a person looks for; None fits everything."""

    verb: str | None
    database: str | None
    name: str


def losses(query: Query) -> list[Loss]:
    """What the statement destroys; nothing for other statements and for temporary tables (pure)."""
    words = list(_words(query.text))
    heads = [word.casefold() for word in words[:2]]
    if heads[:1] == ["truncate"]:
        rest = words[2:] if heads[1:] == ["table"] else words[1:]
        return [Loss("truncate", database, name) for database, name in _names(rest, query.database)[:1]]
    if heads == ["drop", "table"] or heads == ["drop", "tables"]:
        return [Loss("drop", database, name) for database, name in _names(_after_if_exists(words[2:]), query.database)]
    if heads in (["drop", "database"], ["drop", "schema"]):
        rest = _after_if_exists(words[2:])
        return [Loss("drop database", _unquoted(rest[0]), None)] if rest else []
    return []


def parse_wanted(text: str) -> Wanted:
    """From `orders`, `shop.orders`, `drop orders`, `truncate shop.orders`, `drop database shop`. Raises UsageError."""
    words = list(_words(text))
    verb: str | None = None
    head = [word.casefold() for word in words]
    if head[:2] in (["drop", "database"], ["drop", "schema"]) and len(words) == 3:
        return Wanted("drop database", None, _unquoted(words[2]))
    if len(words) > 1 and head[0] in ("drop", "truncate"):
        verb, words = head[0], words[1:]
        if len(words) > 1 and words[0].casefold() == "table":
            words = words[1:]
        words = _after_if_exists(words)
    names = _names(words, "")
    if len(names) != 1 or len(words) not in (1, 3):
        raise UsageError(
            f"{text!r} does not name one table",
            remedy="Write orders, shop.orders, 'drop orders', 'truncate shop.orders' or 'drop database shop'.",
        )
    return Wanted(verb, names[0][0] or None, names[0][1])


def fits(loss: Loss, wanted: Wanted) -> bool:
    """Whether the loss is one that was looked for; upper and lower case are the same here (pure)."""
    if loss.verb == "drop database":
        if wanted.verb == "truncate":
            return False
        # Of a table whose database was not said nobody knows whether it was in there; its own name is a guess.
        looked_for = wanted.database if wanted.database is not None else wanted.name
        return loss.database.casefold() == looked_for.casefold()
    return (
        wanted.verb in (None, loss.verb)
        and (loss.table or "").casefold() == wanted.name.casefold()
        and (wanted.database is None or loss.database.casefold() == wanted.database.casefold())
    )


def _words(text: str) -> Iterator[str]:
    """The tokens of a statement without comments."""
    for token in _TOKENS.findall(text):
        if token.startswith(("/*", "*/", "--", "#")):
            continue
        yield token


def _after_if_exists(words: Sequence[str]) -> list[str]:
    return list(words[2:] if [word.casefold() for word in words[:2]] == ["if", "exists"] else words)


def _names(words: Sequence[str], database: str) -> list[tuple[str, str]]:
    """`a, b.c restrict` as (database, name) pairs, the database given where none is written."""
    names: list[list[str]] = [[]]
    joined = True
    for word in words:
        if word == ",":
            names.append([])
            joined = True
        elif word == ".":
            joined = True
        elif joined:
            names[-1].append(_unquoted(word))
            joined = False
        else:  # RESTRICT, CASCADE or the end of the statement
            break
    return [
        (parts[0], parts[1]) if len(parts) == 2 else (database, parts[0]) for parts in names if 1 <= len(parts) <= 2
    ]


def _unquoted(word: str) -> str:
    for quote in ("`", '"'):
        if len(word) > 1 and word[0] == word[-1] == quote:
            return word[1:-1].replace(quote * 2, quote)
    return word
