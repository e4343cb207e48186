"""What is sent comes back the same, and garbage is refused by its key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.failover.protocol import Server
from holdfast.failover.record import Change, Instance, Record, SwapAnswer, SwapRequest
from holdfast.failover.wire import GuardReport, WireError, from_json, optional_from_json, to_json

B1 = Instance("b", "boot", 100)
RECORD = Record(7, 3, "a", True, B1)
SERVER = Server(B1, True, False, False, 2, "a", True, True, False)
REPORT = GuardReport(
    "db2", "b", 3, SERVER, "a:1-5", "binlog.000002:400", "", "10.0.0.11", True, "b", "9.7.4", False, 0.5, ("slow",)
)


@pytest.mark.parametrize(
    "value",
    [
        B1,
        RECORD,
        Record(2**62 - 1, 1, "a", False, None),
        SERVER,
        REPORT,
        SwapAnswer(None, "there is no record"),
        SwapAnswer(RECORD, ""),
        *(SwapRequest(change, "manager", 7, 3, "b", B1) for change in Change),
        SwapRequest(Change.TO_NONE, "a", 7, 3),
    ],
)
def test_what_is_sent_comes_back_the_same(value: Any) -> None:
    assert from_json(type(value), json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Record, {"term": True}, "Record: term: must be a whole number, not True"),
        (Record, {"term": 3.0}, "Record: term: must be a whole number, not 3.0"),
        (Record, {"in_sync": []}, "Record: in_sync: must be a mapping"),
        (Record, {"in_sync": {"server_uuid": "b", "boot_id": "x"}}, "Record: in_sync.process_start: missing"),
        (Record, {"opened": 1}, "Record: opened: must be true or false, not 1"),
        (Record, {"admin": True}, "Record: admin: unknown key"),
        (Record, {"primary": ...}, "Record: primary: missing"),
        (SwapRequest, {"change": "crown"}, "SwapRequest: change: is 'crown', must be one of to_none"),
        (SwapRequest, {"change": 1}, "SwapRequest: change: is 1, must be one of"),
        (GuardReport, {"notices": "x"}, "GuardReport: notices: must be a list of strings"),
        (GuardReport, {"seconds_since_sql": "soon"}, "GuardReport: seconds_since_sql: must be a number, not 'soon'"),
    ],
)
def test_garbage_is_refused_by_its_key(kind: type[Any], changes: dict[str, Any], message: str) -> None:
    good = {Record: RECORD, SwapRequest: SwapRequest(Change.TO_NONE, "a", 7, 3), GuardReport: REPORT}[kind]
    document = {**to_json(good), **changes}
    with pytest.raises(WireError) as caught:
        from_json(kind, {key: value for key, value in document.items() if value is not ...})
    assert caught.value.what.startswith(message)


@pytest.mark.parametrize("document", [None, [], "record", {}, {"Record": None}])
def test_an_answer_without_the_key_is_no_answer(document: object) -> None:
    with pytest.raises(WireError, match="record: missing"):
        optional_from_json(Record, document, "record")


def test_null_is_no_record() -> None:
    assert optional_from_json(Record, {"record": None}, "record") is None
    assert optional_from_json(Record, {"record": to_json(RECORD)}, "record") == RECORD
