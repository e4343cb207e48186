from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.errors import ConfigurationError, ToolError
from holdfast.failover.guard_memory import Memory, load, save
from support.guards import A1, RECORD, A, B


def test_it_survives(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    assert load(path) == Memory()
    memory = Memory(7, A, A1, 4711)
    save(path, memory)
    assert load(path) == memory
    assert [file.name for file in tmp_path.iterdir()] == ["guard.json"]


def test_a_file_that_it_did_not_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    for text in ("", "[]", '{"highest_term": "7"}', '{"highest_term": 7, "colour": 1}'):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"guard\.json: cannot be read"):
            load(path)


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be written"):
        save(tmp_path / "missing" / "guard.json", Memory())


def test_terms_only_grow() -> None:
    memory = Memory().with_record(RECORD)
    assert (memory.highest_term, memory.primary) == (3, A)
    assert memory.with_record(replace(RECORD, term=2, primary=B)) == memory
    assert memory.with_fence(3) == memory
    assert (memory.with_fence(4).highest_term, memory.with_fence(4).primary) == (4, "")


@pytest.mark.parametrize(
    ("memory", "term", "killed"),
    [
        (Memory(3, A), 2, False),  # late: that promotion is over
        (Memory(3, A), 3, False),  # it is the primary of this term itself
        (Memory(3, A), 4, True),  # a later term than it has seen
        (Memory(4, B), 4, True),
        (Memory(4, ""), 4, True),  # the same fence again
        (Memory(5, A), 4, False),  # rolled back meanwhile
        (Memory(), 1, True),
    ],
)
def test_who_may_be_killed(memory: Memory, term: int, killed: bool) -> None:
    assert (not memory.refusal_of_kill(term, A)) is killed
