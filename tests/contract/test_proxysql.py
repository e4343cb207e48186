"""What the role writes into ProxySQL exists there: names and limits are those of its source (5cc418b)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from support.repository import ROOT, read_yaml

ROLE = ROOT / "roles/proxysql"
# lib/MySQL_Thread.cpp, mysql_thread_variables_names; lib/ProxySQL_Admin.cpp, admin_variables_names
VARIABLES = {
    "admin": "admin_credentials mysql_ifaces restapi_enabled restapi_port stats_credentials web_enabled",
    "mysql": "connect_retries_on_failure connect_timeout_server connect_timeout_server_max"
    " default_authentication_plugin have_ssl interfaces max_connections monitor_connect_timeout monitor_enabled"
    " monitor_password"
    " monitor_ping_interval monitor_ping_max_failures monitor_ping_timeout monitor_read_only_interval"
    " monitor_read_only_max_timeout_count monitor_read_only_timeout monitor_replication_lag_interval"
    " monitor_replication_lag_timeout monitor_slave_lag_when_null monitor_username monitor_writer_is_also_reader"
    " query_retries_on_failure server_version shun_recovery_time_sec ssl_p2s_ca stacksize threads",
}
KNOWN = {f"{module}-{name}" for module, names in VARIABLES.items() for name in names.split()}
# lib/MySQL_Thread.cpp, the setters: whatever lies outside is refused, and ProxySQL keeps the old value
RANGES = {
    "mysql-connect_timeout_server": (10, 120000),
    "mysql-connect_timeout_server_max": (10, 3600000),
    "mysql-connect_retries_on_failure": (0, 1000),
    "mysql-query_retries_on_failure": (0, 1000),
    "mysql-shun_recovery_time_sec": (0, 31536000),
    "mysql-monitor_connect_timeout": (100, 600000),
    "mysql-monitor_ping_interval": (100, 604800000),
    "mysql-monitor_ping_timeout": (100, 600000),
    "mysql-monitor_ping_max_failures": (1, 1000000),
    "mysql-monitor_read_only_interval": (100, 604800000),
    "mysql-monitor_read_only_timeout": (100, 600000),
    "mysql-monitor_read_only_max_timeout_count": (1, 999999),
    "mysql-monitor_replication_lag_interval": (100, 604800000),
    "mysql-monitor_replication_lag_timeout": (100, 600000),
}


def load(path: Path) -> ModuleType:
    """Return a filter plugin as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


plugin = load(ROLE / "filter_plugins/proxysql.py")
VALUES: dict[str, Any] = read_yaml("roles/proxysql/vars/main.yml")["__proxysql_base_variables"]


def test_every_variable_exists_in_proxysql() -> None:
    assert set(VALUES) - KNOWN == set()
    assert set(read_yaml("roles/proxysql/vars/main.yml")["__proxysql_at_start"]) - KNOWN == set()


def test_every_setting_of_the_first_start_exists_in_proxysql() -> None:
    text = (ROLE / "templates/etc/proxysql.cnf.j2").read_text()
    found = set()
    for section in re.finditer(r"^(admin|mysql)_variables=\n\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        found |= {f"{section[1]}-{name}" for name in re.findall(r"^\t(\w+)=", section[2], re.MULTILINE)}
    assert {"admin-admin_credentials", "mysql-default_authentication_plugin"} <= found
    assert found - KNOWN == set()


@pytest.mark.parametrize(("name", "limits"), RANGES.items())
def test_a_fixed_number_is_one_that_proxysql_takes(name: str, limits: tuple[int, int]) -> None:
    if "{{" not in VALUES[name]:
        assert limits[0] <= int(VALUES[name]) <= limits[1]


def test_no_value_is_a_default_password() -> None:
    for name in ("admin-admin_credentials", "admin-stats_credentials"):
        user, _, password = VALUES[name].partition(":")
        assert password.startswith("{{") and password != user


def routed(query: str, *, fresh: tuple[str, ...] = (), port: int = 6033, split: bool = True) -> int:
    """Return the hostgroup to which the rules send a query; the writer's is 10, the readers' 20."""
    rules = plugin.rules(fresh, reader_port=6034, writer_hostgroup=10, reader_hostgroup=20, split=split)
    assert [rule["rule_id"] for rule in rules] == sorted({rule["rule_id"] for rule in rules})
    for rule in rules:
        if rule.get("proxy_port", port) != port:
            continue
        # the digest: comments are gone, and so is what follows 2048 bytes
        digest = re.sub(r"/\*.*?\*/", "", query).strip()[:2048]
        seen = digest if "match_digest" in rule else query
        expression = rule.get("match_digest") or rule.get("match_pattern") or ""
        assert "\\" not in expression and "'" not in expression
        if re.search(expression.replace("[:space:]", r"\s"), seen, re.IGNORECASE):
            return int(rule["destination_hostgroup"])
    return 10


@pytest.mark.parametrize(
    ("query", "hostgroup"),
    [
        ("SELECT * FROM orders WHERE id = 1", 20),
        ("/* page */ select 1", 20),
        ("SELECT\n  id\nFROM orders", 20),
        ("SELECT*FROM orders", 20),
        ("SELECTED", 10),
        ("INSERT INTO orders VALUES (1)", 10),
        ("WITH t AS (SELECT 1) UPDATE orders SET id = 2", 10),
        ("SELECT id FROM orders FOR UPDATE", 10),
        ("select id from orders for  update nowait", 10),
        ("SELECT id FROM orders\nFOR\nUPDATE SKIP LOCKED", 10),
        ("SELECT id FROM orders FOR SHARE", 10),
        ("SELECT id FROM orders FOR SHARE OF orders SKIP LOCKED", 10),
        ("SELECT id FROM orders LOCK IN SHARE MODE", 10),
        (f"SELECT id FROM orders WHERE note IN ({', '.join(['%s'] * 1500)}) FOR UPDATE", 10),
        ("SELECT GET_LOCK('a', 1)", 10),
        ("SELECT release_lock ('a')", 10),
        ("SELECT LAST_INSERT_ID()", 10),
        ("SELECT id INTO @x FROM orders", 10),
        ("SELECT id INTO OUTFILE '/tmp/x' FROM orders", 10),
    ],
    ids=lambda value: str(value)[:40],
)
def test_where_a_query_goes(query: str, hostgroup: int) -> None:
    assert routed(query) == hostgroup
    assert routed(query, port=6034) == 20
    if hostgroup == 20:
        assert routed(query, split=False) == 10


def test_queries_that_the_site_names_read_from_the_primary() -> None:
    fresh = ("FROM[[:space:]]+baskets", "/[*] fresh [*]/")
    assert routed("SELECT * FROM Baskets WHERE id = 1", fresh=fresh) == 10
    assert routed("/* fresh */ SELECT 1", fresh=fresh) == 10
    assert routed("SELECT * FROM orders", fresh=fresh) == 20


def test_only_what_differs_is_written() -> None:
    running = {"mysql-have_ssl": "true", "mysql-ssl_p2s_ca": None, "mysql-max_connections": "10000"}
    assert plugin.differences({"mysql-have_ssl": "true", "mysql-max_connections": 10000}, running) == []
    assert plugin.differences({"mysql-ssl_p2s_ca": "/etc/x", "mysql-max_connections": 1}, running) == [
        "mysql-max_connections",
        "mysql-ssl_p2s_ca",
    ]
    with pytest.raises(KeyError, match="mysql-have_tls"):
        plugin.differences({"mysql-have_tls": "true"}, running)


def test_every_parameter_that_the_role_gives_to_a_module_is_one_of_its(tmp_path: Path) -> None:
    collection = next(Path(yaml.__file__).parents[1].glob("ansible_collections/community/proxysql/plugins/modules"))
    for path in (ROLE / "tasks/variables.yml", ROLE / "tasks/contents.yml"):
        for task in yaml.safe_load(path.read_text()):
            for name, arguments in task.items():
                if name.startswith("community.proxysql."):
                    source = (collection / f"{name.rpartition('.')[2]}.py").read_text()
                    common = {"login_host", "login_port", "config_file"}
                    missing = {key for key in arguments if not re.search(rf"\b{key}=dict\(", source)} - common
                    assert missing == set(), f"{name} has no {missing}"
