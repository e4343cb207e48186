"""Reading a parsed YAML document into frozen dataclasses; what is wrong is named by its path (pure)."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import time
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from holdfast.errors import ConfigurationError

T = TypeVar("T")
Rule = tuple[Callable[[Any], bool], str]
Rules = Mapping[str, Rule]
_INDEX = re.compile(r"\[\d+\]")


def section(kind: type[T], document: object, rules: Rules, path: str = "") -> T:
    """Return the dataclass of that type in a mapping. Raises ConfigurationError.

    A field's key is its name, or what its metadata says under "key". `rules` are looked up by path; what holds for
    each entry of a list stands there without an index.
    """
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path or 'the file'}: must be a mapping")
    types = typing.get_type_hints(kind)
    known = {field.metadata.get("key", field.name): field for field in fields(typing.cast(Any, kind))}
    for key in document:
        if key not in known:
            raise ConfigurationError(f"{_join(path, str(key))}: unknown key")
    values: dict[str, object] = {}
    for key, field in known.items():
        if key in document:
            values[field.name] = _value(types[field.name], document[key], rules, _join(path, key))
        elif field.default is MISSING:
            raise ConfigurationError(f"{_join(path, key)}: missing")
    return kind(**values)


def _value(kind: Any, value: object, rules: Rules, path: str) -> object:
    if isinstance(kind, UnionType):
        if value is None:
            return None
        (kind,) = (member for member in typing.get_args(kind) if member is not NoneType)
    made = _converted(kind, value, rules, path)
    holds, wanted = rules.get(_INDEX.sub("", path), (None, ""))
    if holds is not None and not holds(made):
        raise ConfigurationError(f"{path}: is {value!r}, must be {wanted}")
    return made


def _converted(kind: Any, value: object, rules: Rules, path: str) -> object:
    if is_dataclass(kind):
        return section(typing.cast(type, kind), value, rules, path)
    if typing.get_origin(kind) is tuple:
        return _list(typing.get_args(kind)[0], value, rules, path)
    if kind is Path:
        if not isinstance(value, str) or not value.startswith("/"):
            raise ConfigurationError(f"{path}: must be an absolute path")
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = {member.name.lower(): member for member in kind}
        if not isinstance(value, str) or value not in choices:
            raise ConfigurationError(f"{path}: is {value!r}, must be one of {', '.join(choices)}")
        return choices[value]
    if kind is float and type(value) is int:
        return float(value)
    # YAML's `yes` and 9.7 are traps: a bool is an int to Python, an unquoted 9.7 is a float.
    if type(value) is not kind:
        nouns = {str: "a string (quote it)", int: "a whole number", float: "a number", bool: "true or false"}
        raise ConfigurationError(f"{path}: must be {nouns[kind]}, not {value!r}")
    return value


def _list(kind: Any, value: object, rules: Rules, path: str) -> tuple[object, ...]:
    if is_dataclass(kind):
        if not isinstance(value, list):
            raise ConfigurationError(f"{path}: must be a list of mappings")
        return tuple(section(typing.cast(type, kind), item, rules, f"{path}[{n}]") for n, item in enumerate(value))
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{path}: must be a list of strings")
    return tuple(value)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def matches(pattern: str) -> Callable[[Any], bool]:
    """Whether a whole string matches."""
    return lambda value: re.fullmatch(pattern, value) is not None


def at_least(minimum: float) -> Callable[[Any], bool]:
    """Whether a number is not smaller."""
    return lambda value: value >= minimum


def one_of(*choices: str) -> Rule:
    """One of some words."""
    return lambda value: value in choices, f"{', '.join(choices[:-1])} or {choices[-1]}"


def is_zone(value: str) -> bool:
    """Whether it is a time zone's name."""
    try:
        ZoneInfo(value)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return False
    except KeyError:
        return False
    return True


def is_time(value: str) -> bool:
    """Whether it is a time of day as 02:00."""
    try:
        return time.fromisoformat(value).tzinfo is None and len(value) == 5
    except ValueError:
        return False


NAME: Rule = (matches(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"), "lower-case letters, digits and inner hyphens")
POSITIVE: Rule = (at_least(1), "at least 1")
NOT_NEGATIVE: Rule = (at_least(0), "0 or more")
PORT: Rule = (lambda value: 1 <= value <= 65535, "a port, 1 to 65535")
