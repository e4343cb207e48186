"""From what is wrong now and what was told before to what is told now: once, daily while it lasts, once when over.

Pure. Whoever sends says afterwards what went out (`sent`); what did not is due again at the next run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

REPEAT_AFTER = timedelta(hours=24)
# No run begins to the second when the one a day before did; the repetition must not move on by an hour each day.
REPEAT_SLACK = timedelta(minutes=10)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong now. `subject` tells two of one alarm apart; a higher `level` is told at once.

    An `event` happened and is not a state: it is told once, neither repeated nor closed.
    """

    alarm: str
    what: str
    meaning: str
    remedy: str
    subject: str = ""
    level: int = 0
    event: bool = False

    @property
    def key(self) -> str:
        """The alarm's name, with its subject if it has one."""
        return f"{self.alarm}:{self.subject}" if self.subject else self.alarm


@dataclass(frozen=True)
class Standing:
    """An alarm that stands. `told` is when people were last told, None if never; `level` is what they were told."""

    what: str
    began: datetime
    told: datetime | None = None
    level: int = 0
    event: bool = False


@dataclass(frozen=True)
class Over:
    """An alarm that ended, which people do not know yet."""

    stood: Standing
    ended: datetime


@dataclass(frozen=True)
class Silence:
    """No message about an alarm (its name, or its key) until then; UTC."""

    alarm: str
    until: datetime
    reason: str
    by: str

    def covers(self, key: str) -> bool:
        """Whether it is about this alarm."""
        return self.alarm in (key, key.partition(":")[0])


@dataclass(frozen=True)
class Memory:
    """What a watcher remembers. `born`: since when it watches; `used`: bytes of each disk, oldest first.

    `partly` has, by a letter's id, the channels that took it where another did not.
    """

    born: datetime
    standing: Mapping[str, Standing] = field(default_factory=dict)
    over: Mapping[str, Over] = field(default_factory=dict)
    silences: tuple[Silence, ...] = ()
    used: Mapping[str, tuple[tuple[datetime, int], ...]] = field(default_factory=dict)
    partly: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Letter:
    """A message that is due: what about, and its text without cluster and host."""

    kind: Literal["begin", "repeat", "over"]
    key: str
    what: str
    meaning: str
    remedy: str
    began: datetime
    ended: datetime | None = None
    level: int = 0

    @property
    def id(self) -> str:
        """What tells this message from others about the same alarm, also at the next run."""
        return f"{self.kind} {self.key}"


def decide(
    findings: Iterable[Finding],
    memory: Memory,
    now: datetime,
    *,
    unknown: Collection[str] = (),
    not_ours: Collection[str] = (),
) -> tuple[Memory, list[Letter]]:
    """The memory that this moment leaves, and what is to be told, new alarms first.

    `unknown` are alarms (names) that could not be judged: what stands of them goes on standing. `not_ours` are those
    that another program tells by now: what stands of them is dropped, without a word.
    """
    found = {finding.key: finding for finding in findings}
    silences = tuple(silence for silence in memory.silences if silence.until > now)
    standing: dict[str, Standing] = {}
    over = {key: ended for key, ended in memory.over.items() if key not in found}
    for key, finding in found.items():
        # What comes back before people were told that it was over never ended for them.
        ended = memory.over.get(key)
        known = memory.standing.get(key) or (ended.stood if ended else None) or Standing(finding.what, now)
        standing[key] = replace(known, what=finding.what, event=finding.event)
    for key, known in memory.standing.items():
        alarm = key.partition(":")[0]
        if key in found or alarm in not_ours:
            continue
        if alarm in unknown:
            standing[key] = known
            continue
        nobody_waits = _silenced(key, silences) if known.told is None else known.event
        if not nobody_waits:
            over[key] = Over(known, now)
    letters = [
        letter
        for key, finding in found.items()
        if not _silenced(key, silences) and (letter := _due(finding, standing[key], now))
    ]
    letters.sort(key=lambda letter: (letter.kind != "begin", -letter.level, letter.key))
    letters += [_closing(key, ended) for key, ended in sorted(over.items())]
    return replace(memory, standing=standing, over=over, silences=silences), letters


def sent(memory: Memory, letters: Iterable[Letter], now: datetime) -> Memory:
    """The memory after these letters were accepted."""
    standing, over = dict(memory.standing), dict(memory.over)
    for letter in letters:
        if letter.kind == "over":
            over.pop(letter.key, None)
        else:
            standing[letter.key] = replace(standing[letter.key], told=now, level=letter.level)
    return replace(memory, standing=standing, over=over)


def silenced(memory: Memory, silence: Silence) -> Memory:
    """The memory with that silence in the place of an earlier one about the same."""
    others = tuple(known for known in memory.silences if known.alarm != silence.alarm)
    return replace(memory, silences=(*others, silence))


def bundles(texts: Sequence[str], limit: int, few: int = 5) -> list[list[int]]:
    """Which texts go out together: each alone if they are few, else as many in one message as `limit` takes.

    Telegram lets a bot write 20 messages a minute into a group; a host with many alarms must not lose the last of them.
    """
    if len(texts) <= few:
        return [[number] for number in range(len(texts))]
    made: list[list[int]] = []
    room = 0
    for number, text in enumerate(texts):
        size = len(text.encode("utf-16-le")) // 2 + 2
        if made and size <= room:
            made[-1].append(number)
            room -= size
        else:
            made.append([number])
            room = limit - size
    return made


def _due(finding: Finding, known: Standing, now: datetime) -> Letter | None:
    if known.told is None or finding.level > known.level:
        kind: Literal["begin", "repeat"] = "begin"
    elif not finding.event and (now - known.told >= REPEAT_AFTER - REPEAT_SLACK or known.told > now):
        # `told` in the future: the clock was set back. One message too many is better than silence until then.
        kind = "repeat"
    else:
        return None
    return Letter(kind, finding.key, finding.what, finding.meaning, finding.remedy, known.began, level=finding.level)


def _closing(key: str, ended: Over) -> Letter:
    meaning = "It could not be told while it lasted." if ended.stood.told is None else ""
    return Letter("over", key, ended.stood.what, meaning, "", ended.stood.began, ended.ended)


def _silenced(key: str, silences: Iterable[Silence]) -> bool:
    return any(silence.covers(key) for silence in silences)
