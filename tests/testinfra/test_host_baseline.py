"""What must be true on every host after host_baseline: time, private network, and who is let in."""

from __future__ import annotations

import os
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
ADDRESSES = {"db1": f"10.203.{LAB}.11", "db2": f"10.203.{LAB}.12", "app1": f"10.203.{LAB}.21"}
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ADDRESSES]


def is_database(host: Any) -> bool:
    """Tell whether the host is of group mysql."""
    return str(host.check_output("hostname")).startswith("db")


def peers(host: Any) -> list[str]:
    """Return the private addresses of the other hosts."""
    name = host.check_output("hostname")
    return [address for other, address in ADDRESSES.items() if other != name]


def is_open(host: Any, address: str, port: int) -> bool:
    """Tell whether a TCP connection from a host succeeds within two seconds."""
    return bool(host.run(f"timeout 2 bash -c '</dev/tcp/{address}/{port}'").rc == 0)


def test_the_hosts_time_is_the_sites(host: Any) -> None:
    assert host.file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Europe/Berlin"
    assert host.check_output("date -d 2026-07-01T12:00:00Z +%H:%M") == "14:00"


def test_a_full_size_packet_reaches_every_peer(host: Any) -> None:
    for address in peers(host):
        assert host.run(f"ping -M do -s 1472 -c 1 -W 2 {address}").rc == 0


def test_a_packet_that_is_too_large_is_refused_by_the_same_proof(host: Any) -> None:
    assert host.run(f"ping -M do -s 1473 -c 1 -W 2 {peers(host)[0]}").rc != 0


def test_the_firewall_drops_what_nobody_named_and_starts_at_boot(host: Any) -> None:
    rules = host.check_output("nft list table inet holdfast")
    assert "policy drop" in rules
    assert host.service("holdfast-firewall").is_enabled
    assert host.service("holdfast-firewall").is_running


def test_loading_the_rules_again_leaves_one_copy_and_the_tables_of_others(host: Any) -> None:
    host.check_output("nft add table inet somebody_else")
    try:
        before = host.check_output("nft list table inet holdfast")
        host.check_output("systemctl reload holdfast-firewall")
        assert host.check_output("nft list table inet holdfast") == before
        assert "somebody_else" in host.check_output("nft list tables")
    finally:
        host.check_output("nft delete table inet somebody_else")


@pytest.mark.parametrize("network", ["203", "204"])
def test_ssh_is_open_to_everybody(host: Any, network: str) -> None:
    for address in peers(host):
        assert is_open(host, address.replace(".203.", f".{network}."), 22)


def test_mysql_is_open_on_the_private_network_alone(host: Any) -> None:
    rules = host.check_output("nft list table inet holdfast")
    named = [line for line in rules.splitlines() if "3306" in line]
    if is_database(host):
        assert len(named) == 1
        assert 'iifname "private0"' in named[0] and f"10.203.{LAB}.0/24" in named[0]
    else:
        assert named == []


def test_a_port_that_nobody_named_is_closed(host: Any) -> None:
    listener = f"timeout 20 python3 -m http.server 8765 --bind {ADDRESSES[host.check_output('hostname')]}"
    host.run(f"{listener} >/dev/null 2>&1 & for i in $(seq 50); do ss -ltn | grep -q :8765 && break; sleep 0.1; done")
    other = "db2" if host.check_output("hostname") == "db1" else "db1"
    neighbour = type(host).get_host(f"podman://holdfast{LAB}-{other}")
    assert is_open(host, ADDRESSES[host.check_output("hostname")], 8765), "it listens"
    assert not is_open(neighbour, ADDRESSES[host.check_output("hostname")], 8765)


def test_roots_cron_jobs_may_open_enough_files(host: Any) -> None:
    assert "root soft nofile 16384" in host.file("/etc/security/limits.d/60-holdfast.conf").content_string
