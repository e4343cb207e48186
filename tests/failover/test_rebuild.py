"""A replica is erased and cloned anew by playbook: what is refused, and that the site goes on meanwhile."""

from __future__ import annotations

import time

import pytest

from support import guarded
from support.failover_load import Load, longest_pause
from support.failover_pair import Pair
from support.playbooks import on_the_suites_site

STALL_SECONDS = 6.0  # two cores under load; without the guard's word to the record it would be no_progress_seconds more


@pytest.mark.parametrize("what", ["the primary", "a host without its name said twice", "a host of another kind"])
def test_it_is_refused_before_anything_is_changed(pair: Pair, load: Load, what: str) -> None:
    roles = pair.roles()
    before = guarded.mysqld_pid(roles.replica)
    host, confirm, words = {
        "the primary": (roles.primary.name, roles.primary.name, f"{roles.primary.name} takes writes"),
        "a host without its name said twice": (roles.replica.name, roles.primary.name, "Not confirmed"),
        "a host of another kind": ("app1", "app1", "app1 is none of the servers"),
    }[what]
    done = on_the_suites_site("rebuild_replica", expect=2, rebuild_host=host, confirm=confirm)
    assert words in done.words and "Nothing was changed" in done.words
    assert set(done.changed.values()) == {0}
    assert guarded.mysqld_pid(roles.replica) == before


def test_nobody_is_asked_and_nothing_done_without_a_terminal(pair: Pair) -> None:
    done = on_the_suites_site("rebuild_replica", expect=2, rebuild_host=pair.roles().replica.name)
    assert "ALL DATA" in done.words and "Not confirmed" in done.words
    assert set(done.changed.values()) == {0}


def test_a_server_that_is_just_restarting_is_waited_for(pair: Pair) -> None:
    """Its guard ends a mysqld that came back as primary: the socket is there, and nobody answers for some seconds."""
    replica = pair.roles().replica
    replica.shell(
        "systemctl stop mysql; install -d -o mysql -g mysql /run/mysqld;"
        "systemd-run --on-active=12 systemctl start mysql;"
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/mysqld/mysqld.sock\")'"
    )
    done = on_the_suites_site("rebuild_replica", expect=2, rebuild_host=replica.name)
    assert "ALL DATA" in done.words and "Not confirmed" in done.words


def test_a_replica_in_health_is_rebuilt_while_the_application_writes(pair: Pair, load: Load) -> None:
    roles, term, began = pair.roles(), pair.term(), time.time()
    replica = roles.replica.name
    done = on_the_suites_site("rebuild_replica", rebuild_host=replica, confirm=replica)
    assert f"clone of {roles.primary.name}: completed" in done.words
    assert f"{replica} replicates from {roles.primary.address} and is in sync" in done.words
    assert longest_pause(load.shop_moments(), began) < STALL_SECONDS
    assert pair.term() == term
    assert pair.in_sync() == replica
