"""What nobody should send or do: forged requests, a guard of garbage, second programs, a record without room."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support import guarded
from support.failover_disks import filled, moved_to_small_disk
from support.failover_faults import held_down
from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import Host, wait_until

RECORD_FOLDER = "/var/lib/holdfast/record"
RECORD_ROOM_BYTES = 65536
GUARD_PORT, KEEPER_PORT = 7331, 7330
CALL = """
import json, sys
sys.path.insert(0, "/usr/local/lib/holdfast")
from holdfast import config
from holdfast.failover.https import RefusedError, call
address, port, name, path, document = sys.argv[1:]
try:
    print("ANSWERED", call(address, int(port), "POST", path, json.loads(document), config.load().failover.tls, name, 5))
except RefusedError as error:
    print("REFUSED", error)
"""
GARBAGE = """
import sys, time
sys.path.insert(0, "/usr/local/lib/holdfast")
from holdfast import config
from holdfast.failover.https import serve
known = config.load()
host = next(host for host in known.failover.database_hosts if host.name == known.host)
answer = lambda _: {"host": known.host, "server": 7}
with serve(host.address, host.guard_port, known.failover.tls, answer, {"app1", "db1", "db2"}):
    time.sleep(600)
"""


def asked(host: Host, target: Host, port: int, path: str, document: str) -> str:
    """Return what became of a request that a host sends with its own certificate."""
    return host.run("python3", "-c", CALL, target.address, str(port), target.name, path, document).out


def swap(pair: Pair, peer: Host, asker: str, change: str) -> str:
    """Return a request for a change of the record in the peer's favour, as JSON."""
    record = pair.record()
    request = {
        "change": change,
        "asker": asker,
        "expected_version": record["version"],
        "expected_term": record["term"],
        "primary": pair.uuids[peer.name],
        "instance": record["in_sync"],
    }
    return json.dumps({"host": peer.name, "request": request})


def test_forged_requests_are_refused(pair: Pair, load: Load) -> None:
    """Each host has a certificate, and each certificate is good for what that host may ask only."""
    roles, term, before = pair.roles(), pair.term(), guarded.mysqld_pid(pair.roles().primary)
    app = pair.lab.app1
    kill = f'{{"term": {term + 1}}}'
    assert "REFUSED" in asked(roles.replica, roles.primary, GUARD_PORT, "/kill", kill), "only the keeper's host may"
    assert "REFUSED" in asked(app, roles.primary, GUARD_PORT, "/kill", f'{{"term": {term}}}'), (
        "it is that term's primary"
    )
    for asker, change in (
        ("manager", "promote"),
        ("manager", "roll_back"),
        (pair.uuids[roles.primary.name], "to_none"),
    ):
        said = asked(roles.replica, app, KEEPER_PORT, "/swap", swap(pair, roles.replica, asker, change))
        assert "status 403" in said, said
    assert (pair.term(), guarded.mysqld_pid(roles.primary)) == (term, before)
    assert pair.unwell() == ""


@contextmanager
def garbage_instead_of_the_guard(host: Host) -> Iterator[None]:
    """Have somebody with the host's certificate answer nonsense on its guard's port for the time of the block."""
    with guarded.stopped(host, "mysql-guard"):
        host.run("systemd-run", "--quiet", "--collect", "--unit=holdfast-garbage", "python3", "-c", GARBAGE)
        try:
            yield
        finally:
            host.run("systemctl", "stop", "holdfast-garbage", check=False)


def test_a_guard_that_answers_garbage_counts_as_silent(pair: Pair, load: Load) -> None:
    roles, term = pair.roles(), pair.term()
    with garbage_instead_of_the_guard(roles.replica):
        wait_until(lambda: f"{roles.replica.name}'s guard does not answer" in pair.order("status"), "status says so")
        load.wait_for_ok(roles.primary, time.time())
        with held_down(roles.primary):
            guarded.kill_mysqld(roles.primary)
            wait_until(lambda: "guard does not answer" in pair.told(pair.lab.app1), "the alarm", limit_seconds=60)
            assert pair.term() == term
    wait_until(lambda: pair.open_primary() is not None, "the primary is open again", limit_seconds=60)


@pytest.mark.parametrize("program", ["mysql-keeper", "mysql-failover"])
def test_a_second_one_is_refused(pair: Pair, load: Load, program: str) -> None:
    term = pair.term()
    second = pair.lab.app1.run(program, "serve", check=False)
    assert second.status == 6, second.text
    assert "Another run" in second.text
    assert pair.roles().replica.run(program, "serve", check=False).status in (3, 75)
    assert pair.term() == term


def test_the_records_disk_is_full(pair: Pair, load: Load) -> None:
    """No swap can be written: whoever would go on alone waits, and nobody is promoted. Both goes on with room."""
    roles, term, app = pair.roles(), pair.term(), pair.lab.app1
    with moved_to_small_disk(app, RECORD_FOLDER, RECORD_ROOM_BYTES, ("mysql-keeper",)):
        with filled(app, RECORD_FOLDER), held_down(roles.replica):
            load.wait_for_ok(roles.primary, time.time())
            guarded.kill_mysqld(roles.replica)
            gone = time.time()
            wait_until(lambda: "cannot be written" in pair.told(app), "the alarm", limit_seconds=40)
            assert load.told(roles.primary, since=gone + 0.5) == []
            assert guarded.switches(roles.primary) == (0, 0, 1), "it waits for the replica"
            app.run("rm", "-f", f"{RECORD_FOLDER}/filler", f"{RECORD_FOLDER}/filler.rest")
            wait_until(lambda: pair.in_sync() == "", "in_sync is none", limit_seconds=40)
            load.wait_for_ok(roles.primary, time.time())
        pair.settle()
    assert pair.term() == term
