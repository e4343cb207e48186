"""Sets of global transaction identifiers (GTIDs), with the algebra that backups and recovery reason with.

A source is what MySQL calls a TSID: ``uuid`` or, since 8.3, ``uuid:tag``. Numbers start at 1; ranges include both ends.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

Interval = tuple[int, int]

LARGEST_NUMBER = 2**63 - 2
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\Z")
_TAG = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,31}\Z")
_RANGE = re.compile(r"([0-9]+)(?:\s*-\s*([0-9]+))?\Z")


@lru_cache(maxsize=1024)  # an archive names few servers, a hundred thousand times
def canonical_source(text: str) -> str:
    """``uuid`` or ``uuid:tag`` in MySQL's own spelling (lower case, dashes). Raises ValueError."""
    uuid, _, tag = text.strip().partition(":")
    if not _UUID.match(uuid.strip()):
        raise ValueError(f"{uuid.strip()!r} is not a server UUID")
    digits = uuid.strip().replace("-", "").lower()
    name = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if not tag:
        return name
    if not _TAG.match(tag.strip()):
        raise ValueError(f"{tag.strip()!r} is not a GTID tag")
    return f"{name}:{tag.strip().lower()}"


def parse_gtid(text: str) -> tuple[str, int]:
    """One GTID, ``uuid:n`` or ``uuid:tag:n``, as (source, number). Raises ValueError."""
    source, _, number = text.strip().rpartition(":")
    if not source or not number.strip().isdigit() or not 1 <= int(number) <= LARGEST_NUMBER:
        raise ValueError(f"{text.strip()!r} is not one GTID (uuid:number or uuid:tag:number)")
    return canonical_source(source), int(number)


def _normal(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sorted, disjoint, with neighbours joined."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1] + 1:
            if end > joined[-1][1]:
                joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _intersection(left: tuple[Interval, ...], right: tuple[Interval, ...]) -> tuple[Interval, ...]:
    found: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start <= end:
            found.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def _difference(left: tuple[Interval, ...], right: tuple[Interval, ...]) -> tuple[Interval, ...]:
    rest: list[Interval] = []
    j = 0
    for start, end in left:
        while j < len(right) and right[j][1] < start:
            j += 1
        k = j
        while k < len(right) and right[k][0] <= end and start <= end:
            if right[k][0] > start:
                rest.append((start, right[k][0] - 1))
            start = right[k][1] + 1
            k += 1
        if start <= end:
            rest.append((start, end))
    return tuple(rest)


def _range_text(interval: Interval) -> str:
    return str(interval[0]) if interval[0] == interval[1] else f"{interval[0]}-{interval[1]}"


@dataclass(frozen=True, init=False)
class GtidSet:
    """An immutable set of GTIDs. ``|``, ``&``, ``-`` and ``<=`` (subset) take time linear in the number of ranges."""

    _sources: tuple[tuple[str, tuple[Interval, ...]], ...]

    def __init__(self, intervals: Mapping[str, Iterable[Interval]] | None = None) -> None:
        """``intervals``: canonical source -> inclusive ranges, in any order, overlaps allowed."""
        normal = ((source, _normal(ranges)) for source, ranges in (intervals or {}).items())
        object.__setattr__(self, "_sources", tuple(sorted(item for item in normal if item[1])))

    @classmethod
    def _of_normal(cls, sources: Mapping[str, tuple[Interval, ...]]) -> GtidSet:
        result = cls()
        object.__setattr__(result, "_sources", tuple(sorted(item for item in sources.items() if item[1])))
        return result

    @classmethod
    def single(cls, source: str, number: int) -> GtidSet:
        """The set of one GTID."""
        return cls({source: ((number, number),)})

    @classmethod
    def union_of(cls, sets: Iterable[GtidSet]) -> GtidSet:
        """The union of many sets in one pass."""
        collected: dict[str, list[Interval]] = {}
        for one in sets:
            for source, ranges in one._sources:
                collected.setdefault(source, []).extend(ranges)
        return cls(collected)

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read what MySQL prints, in one line or several. Raises ValueError that names the part that is wrong."""
        collected: dict[str, list[Interval]] = {}
        for part in text.split(","):
            words = [word.strip() for word in part.strip().split(":")]
            if words == [""]:
                continue
            if len(words) < 2:
                raise ValueError(f"GTID set: {part.strip()!r} has no transaction numbers")
            try:
                uuid = source = canonical_source(words[0])
                pending_tag = False
                for word in words[1:]:
                    if _TAG.match(word):
                        if pending_tag:
                            raise ValueError(f"tag before {word!r} has no transaction numbers")
                        source, pending_tag = canonical_source(f"{uuid}:{word}"), True
                        continue
                    collected.setdefault(source, []).append(_parse_range(word))
                    pending_tag = False
                if pending_tag:
                    raise ValueError(f"tag {words[-1]!r} has no transaction numbers")
            except ValueError as error:
                raise ValueError(f"GTID set: in {part.strip()!r}: {error}") from None
        return cls(collected)

    def __str__(self) -> str:
        """As MySQL prints it: sources in order, one line per UUID, a UUID's tags after its untagged numbers."""
        lines: list[str] = []
        last = ""
        for source, ranges in self._sources:
            uuid, _, tag = source.partition(":")
            numbers = ":".join(map(_range_text, ranges))
            if uuid == last:
                lines[-1] += f":{tag}:{numbers}"
            else:
                lines.append(f"{source}:{numbers}")
            last = uuid
        return ",\n".join(lines)

    def one_line(self) -> str:
        """The same text on one line, for messages and logs."""
        return str(self).replace("\n", " ")

    def __repr__(self) -> str:
        """Readable in a failed test."""
        return f"GtidSet.parse({self.one_line()!r})"

    def __bool__(self) -> bool:
        """False for the empty set."""
        return bool(self._sources)

    def __or__(self, other: GtidSet) -> GtidSet:
        """Union."""
        if not other:
            return self
        if not self:
            return other
        return GtidSet.union_of((self, other))

    def __and__(self, other: GtidSet) -> GtidSet:
        """Intersection."""
        theirs = dict(other._sources)
        return GtidSet._of_normal({s: _intersection(ranges, theirs[s]) for s, ranges in self._sources if s in theirs})

    def __sub__(self, other: GtidSet) -> GtidSet:
        """What is in this set and not in the other."""
        theirs = dict(other._sources)
        return GtidSet._of_normal({s: _difference(ranges, theirs.get(s, ())) for s, ranges in self._sources})

    def __le__(self, other: GtidSet) -> bool:
        """Whether every GTID of this set is in the other."""
        theirs = dict(other._sources)
        return all(s in theirs and not _difference(ranges, theirs[s]) for s, ranges in self._sources)

    def count(self) -> int:
        """How many transactions."""
        return sum(end - start + 1 for _, ranges in self._sources for start, end in ranges)

    def contains(self, source: str, number: int) -> bool:
        """Whether this GTID is in the set; ``source`` in canonical spelling (``uuid`` or ``uuid:tag``)."""
        for name, ranges in self._sources:
            if name == source:
                at = bisect_right(ranges, (number, LARGEST_NUMBER + 1)) - 1
                return at >= 0 and ranges[at][1] >= number
        return False

    def intervals(self) -> Iterator[tuple[str, tuple[Interval, ...]]]:
        """(source, its ranges) in order."""
        return iter(self._sources)


def _parse_range(word: str) -> Interval:
    match = _RANGE.match(word)
    if not match:
        raise ValueError(f"{word!r} is neither a transaction number, a range nor a tag")
    start = int(match.group(1))
    end = int(match.group(2)) if match.group(2) else start
    if not 1 <= start <= end <= LARGEST_NUMBER:
        raise ValueError(f"{word!r} is not a range of transaction numbers")
    return start, end
