"""Leases: written beside the job, read from names alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup.lease import Lease, folder_of, held, leases_in
from holdfast.backup.store import Store, StoredObject
from holdfast.errors import StorageError

NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
FOLDER = folder_of("backup", "db-1", 42, NOW)


class Sink:
    """Takes what is put, or refuses it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.names: list[str] = []
        self.options: list[dict[str, Any]] = []
        self.failure = failure
        self.written = threading.Condition()

    @property
    def store(self) -> Store:
        return cast("Store", self)

    def put(self, local: Path, name: str, **options: Any) -> None:
        assert b'"job": "backup"' in local.read_bytes()
        with self.written:
            if self.failure:
                raise self.failure
            self.names.append(name)
            self.options.append(options)
            self.written.notify_all()

    def wait_for(self, count: int) -> None:
        with self.written:
            assert self.written.wait_for(lambda: len(self.names) >= count, timeout=5)


def objects(*names: str) -> list[StoredObject]:
    return [StoredObject(name, 1, NOW) for name in names]


def clock() -> Callable[[], datetime]:
    """A clock that is an hour later at each look."""
    hours = iter(range(1000))
    return lambda: NOW + timedelta(hours=next(hours))


def test_a_job_holds_a_lease_renews_it_and_gives_it_back() -> None:
    sink = Sink()
    with held(sink.store, "backup", "db1", now=clock(), renew_after=timedelta(milliseconds=1)):
        sink.wait_for(3)
        (lease,) = leases_in(objects(*sink.names))
        assert lease.holder.startswith("backup-db1-") and lease.begun == NOW
        assert lease.expires is not None and lease.expires > NOW + timedelta(hours=3)
    (lease,) = leases_in(objects(*sink.names))
    assert lease.expires is None and not lease.stands(NOW)
    assert all(options["overwrite"] and options["listed_later"] for options in sink.options)
    assert len(set(sink.names)) == len(sink.names)


def test_a_short_job_costs_two_objects() -> None:
    sink = Sink()
    with held(sink.store, "backup", "db1"):
        sink.wait_for(1)
    assert [name.rpartition("/")[2] == "released.json" for name in sink.names] == [False, True]


def test_a_job_that_fails_gives_its_lease_back_and_fails() -> None:
    sink = Sink()
    with pytest.raises(ValueError, match="the job's own"), held(sink.store, "backup", "db1"):
        raise ValueError("the job's own")
    assert sink.names[-1].endswith("/released.json")


def test_a_lease_that_cannot_be_written_stops_no_job(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    with held(Sink(StorageError("403")).store, "backup", "db1"):
        done.append(1)
    assert done and "no lease: 403" in caplog.text


@pytest.mark.parametrize(
    ("later", "stands"),
    [
        (timedelta(0), True),
        (timedelta(hours=2, minutes=59), True),  # the holder's clock may be an hour behind
        (timedelta(hours=3), False),
        (timedelta(hours=-1), True),
    ],
)
def test_an_expired_lease_stands_no_more(later: timedelta, stands: bool) -> None:
    lease = Lease("backup-db1-42", NOW, NOW + timedelta(hours=2))
    assert lease.stands(NOW + later) == stands


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), []),
        ((f"{FOLDER}/20261122T030000Z.json",), [Lease("backup-db-1-42", NOW, NOW + timedelta(hours=2))]),
        (
            (f"{FOLDER}/20261122T040000Z.json", f"{FOLDER}/20261122T030000Z.json"),
            [Lease("backup-db-1-42", NOW, NOW + timedelta(hours=3))],
        ),
        (
            (f"{FOLDER}/20261122T040000Z.json", f"{FOLDER}/released.json"),
            [Lease("backup-db-1-42", NOW, None)],
        ),
        ((f"{FOLDER}/released.json",), [Lease("backup-db-1-42", NOW, None)]),
        ((f"{FOLDER}/tomorrow.json", "state/leases/x/20261122T030000Z.json", "state/lines/x/y.json"), []),
    ],
)
def test_names_say_it_all(names: tuple[str, ...], expected: list[Lease]) -> None:
    assert leases_in(objects(*names)) == expected
