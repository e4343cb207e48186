"""What both proxies' roles would write, rendered by Ansible from both inventories."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.failover.health import Sample
from holdfast.failover.health_service import Responder, Sampler
from support.repository import ROOT

EXAMPLE = ROOT / "inventories/production/group_vars/all/vault.yml.example"
SITES = {
    "lab": (["-i", "inventories/lab"], "10.203.1"),
    "production": (["-i", "inventories/production", "-e", f"@{EXAMPLE}"], "10.0.0"),
}


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Return the first three numbers of a site's addresses, and what the roles would write on its app host."""
    arguments, network = SITES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments, "tests/contract/render_proxies.yml"]
    argv += ["-e", f"output={folder}", "-e", "ansible_connection=local"]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}"]
    environment = {**os.environ, "HOLDFAST_CACHE": str(folder / "cache"), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment.pop("HOLDFAST_LAB", None)
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    written: dict[str, Any] = json.loads((folder / "app1.json").read_text())
    return network, written


def test_haproxy_asks_only_what_the_health_responder_answers(site: tuple[str, dict[str, Any]]) -> None:
    responder = Responder(Sampler(lambda depth: Sample()), 60, None)
    asked = re.findall(r"http-check send meth GET uri (\S+)", site[1]["haproxy"])
    assert [uri.partition("?")[0] for uri in asked] == ["/primary", "/replica"]
    assert {responder.respond(uri)[0] for uri in asked} == {503}


def test_haproxy_knows_each_server_as_writer_reader_and_last_resort_of_readers(
    site: tuple[str, dict[str, Any]],
) -> None:
    network, written = site
    for name, number in (("db1", 11), ("db2", 12)):
        lines = [line.strip() for line in written["haproxy"].splitlines() if f" {network}.{number}:3306" in line]
        assert lines == [
            f"server {name} {network}.{number}:3306",
            f"server {name} {network}.{number}:3306",
            f"server {name}_as_primary {network}.{number}:3306 no-check track mysql_writer/{name} backup",
        ]
    assert "on-marked-down shutdown-sessions" in written["haproxy"]
    assert "core.now().sec + 60" in written["lua"]


def test_both_serve_the_same_addresses_and_ports(site: tuple[str, dict[str, Any]]) -> None:
    network, written = site
    bound = set(re.findall(r"bind (\S+:603\d)", written["haproxy"]))
    assert bound == {f"{host}:{port}" for host in (f"{network}.21", "127.0.0.1") for port in (6033, 6034)}
    assert set(written["variables"]["mysql-interfaces"].split(";")) == bound
    assert f'interfaces="{written["variables"]["mysql-interfaces"]}"' in written["first_start"]


def test_proxysql_gets_a_value_for_every_variable_and_waits_longer_than_a_failover(
    site: tuple[str, dict[str, Any]],
) -> None:
    variables = site[1]["variables"]
    assert {name for name, value in variables.items() if str(value).strip() == "" or "{{" in str(value)} == set()
    assert {name for name, value in variables.items() if isinstance(value, bool)} == set()
    assert int(variables["mysql-connect_timeout_server_max"]) > 45_000
    assert int(variables["mysql-monitor_slave_lag_when_null"]) > 60


def test_proxysql_has_the_servers_own_accounts(site: tuple[str, dict[str, Any]]) -> None:
    assert [user["name"] for user in site[1]["users"]] == ["shop"]
    assert site[1]["servers"] == {"db1": f"{site[0]}.11", "db2": f"{site[0]}.12"}
    assert site[1]["repository"] == "https://repo.proxysql.com/ProxySQL/proxysql-3.0.x"
    assert [rule["rule_id"] for rule in site[1]["rules"]] == [1, 500, 501, 502, 503, 504, 900]
