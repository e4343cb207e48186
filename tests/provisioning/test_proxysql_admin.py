"""The role's tasks, run with community.proxysql's modules against a fake admin interface (support/fake_proxysql.py)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.test_proxysql import KNOWN, VALUES, plugin
from support.fake_proxysql import FakeProxySQL
from support.repository import ROOT

OLD, NEW = "OldAdmin1234567890", "NewAdmin1234567890"


class Site:
    """A fake and the file with its admin account."""

    def __init__(self, fake: FakeProxySQL, folder: Path) -> None:
        self.fake, self.folder, self.account = fake, folder, folder / "admin.cnf"
        self.account.write_text(f"[client]\nuser=admin\npassword={OLD}\n")

    def run(self, **variables: Any) -> int:
        """Run the tasks; how many changed something."""
        settings = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "proxysql_admin_port": self.fake.port,
            "proxysql_admin_password": NEW,
            "__proxysql_admin_file": str(self.account),
            "__proxysql_program": {"stat": {"exists": False}},
            **variables,
        }
        argv = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            "inventories/lab",
            "-e",
            json.dumps(settings),
        ]
        # the account's file belongs to root
        argv = [
            *(() if os.geteuid() == 0 else ("unshare", "--map-root-user")),
            *argv,
            "tests/provisioning/write_proxysql.yml",
        ]
        environment = {**os.environ, "HOLDFAST_CACHE": str(self.folder), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        assert NEW not in done.stdout
        return int(re.findall(r"^app1\s.*changed=(\d+)", done.stdout, re.MULTILINE)[0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A ProxySQL as its first start left it."""
    start = dict.fromkeys(KNOWN, "0") | {"admin-admin_credentials": f"admin:{OLD}"}
    with FakeProxySQL(start) as fake:
        yield Site(fake, tmp_path_factory.mktemp("proxysql"))


def test_what_is_written_arrives_and_a_second_run_writes_nothing(site: Site) -> None:
    fresh = ["FROM[[:space:]]+baskets"]
    assert site.run(proxysql_fresh_queries=fresh) > 0
    found: dict[str, str] = dict(site.fake.rows("SELECT * FROM global_variables"))
    assert {found[name] for name in KNOWN - set(VALUES)} == {"0"}
    assert found["mysql-default_authentication_plugin"] == "caching_sha2_password"
    assert found["mysql-connect_timeout_server_max"] == "60000"
    assert found["mysql-interfaces"].startswith("10.203.")
    assert site.fake.rows("SELECT hostgroup_id, comment, use_ssl, max_replication_lag FROM mysql_servers") == [
        (20, "db1", 1, 60),
        (20, "db2", 1, 60),
    ]
    groups = "SELECT writer_hostgroup, reader_hostgroup, check_type FROM mysql_replication_hostgroups"
    assert site.fake.rows(groups) == [(10, 20, "read_only")]
    users = "SELECT username, default_hostgroup, use_ssl, transaction_persistent, fast_forward, active FROM mysql_users"
    assert site.fake.rows(users) == [("shop", 10, 1, 1, 0, 1)]
    rules = plugin.rules(fresh, reader_port=6034, writer_hostgroup=10, reader_hostgroup=20, split=True)
    columns = ("rule_id", "proxy_port", "match_pattern", "match_digest", "destination_hostgroup", "comment")
    assert site.fake.rows(f"SELECT {', '.join(columns)} FROM mysql_query_rules WHERE active = 1 AND apply = 1") == [
        tuple(rule.get(column) for column in columns) for rule in rules
    ]
    assert NEW in site.account.read_text(), "the admin interface takes no other password any more"
    assert site.account.stat().st_mode & 0o777 == 0o600
    for what in ("ADMIN VARIABLES", "MYSQL VARIABLES", "MYSQL SERVERS", "MYSQL USERS", "MYSQL QUERY RULES"):
        assert f"SAVE {what} TO DISK" in site.fake.commands
        assert f"LOAD {what} TO RUNTIME" in site.fake.commands
    site.fake.commands.clear()
    assert site.run(proxysql_fresh_queries=fresh) == 0
    assert site.fake.commands == []


def test_what_left_the_inventory_leaves_proxysql_and_new_addresses_wait_for_the_restart(site: Site) -> None:
    account = {"name": "other", "password": "Other1234567890", "privileges": {}, "require_tls": False}
    site.fake.commands.clear()
    site.run(
        proxysql_listen_addresses=["127.0.0.1"],
        proxysql_users=[account],
        proxysql_servers={"db2": "10.203.1.12"},
        proxysql_read_write_split=False,
    )
    assert site.fake.rows("SELECT username, use_ssl FROM mysql_users") == [("other", 0)]
    assert site.fake.rows("SELECT hostname FROM mysql_servers") == [("10.203.1.12",)]
    assert site.fake.rows("SELECT rule_id FROM mysql_query_rules WHERE rule_id IN (100, 900)") == []
    assert "SAVE MYSQL VARIABLES TO DISK" in site.fake.commands
    assert "LOAD MYSQL VARIABLES TO RUNTIME" not in site.fake.commands, "that would put the old addresses back"
