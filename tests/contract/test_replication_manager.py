"""What the role writes for Replication Manager is what Replication Manager, systemd and sudo take."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from holdfast.failover.repman import fence_call
from support.repository import ROOT, read_yaml

EXAMPLE = ROOT / "inventories/production/group_vars/all/vault.yml.example"
SITES = {"lab": ["-i", "inventories/lab"], "production": ["-i", "inventories/production", "-e", f"@{EXAMPLE}"]}
CONFIG, CLUSTER = "etc/replication-manager/config.toml.j2", "etc/replication-manager/cluster.d/cluster.toml.j2"
# the file's own words, which are no flags
WORDS = {"include", "title"}
TYPES: dict[str, type] = {"bool": bool, "int": int, "string": str}
PRODUCTION = {
    # the seed's timing, as it was measured: 39.1 s from a killed primary to the pre-script
    "monitoring-ticker": 5,
    "failover-falsepositive-ping-counter": 6,
    "failover-falsepositive-heartbeat": True,
    "failover-falsepositive-heartbeat-timeout": 10,
    "db-servers-connect-timeout": 1,
    # defaults that are unsafe for the pair
    "failover-mode": "automatic",
    "failover-limit": 3,
    "failover-time-limit": 3600,
    "failover-restart-unsafe": False,
    "failover-superreadonly-state": True,
    "failover-event-scheduler": False,
    "failover-falsepositive-external": False,
    "db-servers-read-timeout": 2,
    "replication-use-ssl": True,
    "replication-source-name": "",
    "autorejoin": False,
    "autorejoin-backup-binlog": False,
    "autoseed": False,
    "force-slave-heartbeat": False,
    "force-slave-readonly": False,
    "backup-binlogs": False,
    "monitoring-capture": False,
    "monitoring-schema-change": False,
    "proxysql": False,
    "switchover-decrease-max-conn": False,
}
PROGRAM = {
    "monitoring-save-config": False,
    "monitoring-scheduler": False,
    "http-bind-address": "127.0.0.1",
    "api-bind": "127.0.0.1",
    "arbitration-external": False,
}


def flags() -> dict[str, type]:
    """Return every flag of Replication Manager with its type."""
    rows = (ROOT / "tests/contract/data/replication_manager_flags.tsv").read_text().splitlines()[1:]
    return {name: TYPES.get(kind, int) for name, kind in (row.split("\t")[:2] for row in rows)}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Render every template of the role for both sites, for real."""
    texts = {}
    for site, arguments in SITES.items():
        folder = tmp_path_factory.mktemp(site)
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments]
        argv += ["tests/contract/render_replication_manager.yml", "-e", f"output={folder}"]
        argv += ["-e", "ansible_connection=local", "-e", f"ansible_python_interpreter={sys.executable}"]
        environment = {
            **os.environ,
            "HOLDFAST_CACHE": str(folder / "cache"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        }
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        texts[site] = json.loads((folder / "app1.json").read_text())
    return texts


def settings(texts: dict[str, str], name: str) -> dict[str, Any]:
    """Return the one section of a file."""
    document = tomllib.loads(texts[name])
    assert len(document) == 1
    section: dict[str, Any] = next(iter(document.values()))
    return section


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", [CONFIG, CLUSTER])
def test_every_key_is_a_flag_of_replication_manager_with_a_value_of_its_type(
    rendered: dict[str, dict[str, str]], site: str, name: str
) -> None:
    known = flags()
    found = {key: value for key, value in settings(rendered[site], name).items() if key not in WORDS}
    assert set(found) - set(known) == set()
    assert {key: value for key, value in found.items() if type(value) is not known[key]} == {}


def test_the_sections_are_the_ones_that_are_read(rendered: dict[str, dict[str, str]]) -> None:
    assert list(tomllib.loads(rendered["production"][CONFIG])) == ["Default"]
    assert list(tomllib.loads(rendered["production"][CLUSTER])) == ["production"]
    assert settings(rendered["production"], CONFIG)["include"] == "/etc/replication-manager/cluster.d"


@pytest.mark.parametrize(("key", "value"), PRODUCTION.items())
def test_production_has_the_seeds_timing_and_no_unsafe_default(
    rendered: dict[str, dict[str, str]], key: str, value: object
) -> None:
    assert settings(rendered["production"], CLUSTER)[key] == value


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("key", "value"), PROGRAM.items())
def test_nothing_listens_beyond_loopback_and_nothing_shadows_the_files(
    rendered: dict[str, dict[str, str]], site: str, key: str, value: object
) -> None:
    assert settings(rendered[site], CONFIG)[key] == value


def test_the_lab_is_fast_and_otherwise_as_production(rendered: dict[str, dict[str, str]]) -> None:
    lab, production = (settings(rendered[site], CLUSTER) for site in ("lab", "production"))
    different = {key for key in lab if lab[key] != production[key]}
    assert different == {
        "title",
        "db-servers-hosts",
        "db-servers-credential",
        "db-servers-read-timeout",
        "monitoring-ticker",
        "failover-falsepositive-ping-counter",
        "failover-falsepositive-heartbeat",
        "failover-limit",
        "failover-time-limit",
    }
    assert set(lab) == set(production)


@pytest.mark.parametrize("site", SITES)
def test_no_credential_is_replication_managers_own(rendered: dict[str, dict[str, str]], site: str) -> None:
    for name, key in ((CONFIG, "api-credentials"), (CLUSTER, "db-servers-credential")):
        user, _, password = settings(rendered[site], name)[key].partition(":")
        assert user.startswith("holdfast") and password and "repman" not in password and "mariadb" not in password
    assert settings(rendered[site], CLUSTER)["replication-credential"].endswith(":none")


def test_the_account_can_open_close_kill_and_repoint_nothing() -> None:
    (account,) = read_yaml("roles/mysql_server/vars/accounts.yml")["__mysql_server_replication_manager_accounts"]
    assert account["privileges"] == {
        "*.*": "PROCESS,REPLICATION CLIENT",
        "mysql.user": "SELECT",
        "performance_schema.*": "SELECT",
    }


def test_every_script_that_it_calls_is_linked(rendered: dict[str, dict[str, str]]) -> None:
    links = read_yaml("roles/holdfast_programs/vars/main.yml")["__holdfast_programs_links"]
    found = settings(rendered["production"], CLUSTER)
    scripts = [value for key, value in found.items() if key.endswith("-script")]
    assert len(scripts) == 5
    assert {Path(script).name for script in scripts} - set(links) == {"mysql-repman-tell", "mysql-repman-tell-closed"}
    assert {str(Path(script).parent) for script in scripts} == {"/usr/local/bin"}


def test_sudo_lets_it_start_a_fence_and_restart_itself_and_nothing_else(rendered: dict[str, dict[str, str]]) -> None:
    text = rendered["production"]["etc/sudoers.d/holdfast-replication-manager.j2"]
    rules = re.findall(r"^repman ALL=\(root\) NOPASSWD: /usr/bin/systemctl (\S.*)$", text, re.MULTILINE)
    assert len(rules) == 2 and text.count("NOPASSWD") == 2
    call = fence_call(["db1.example-x.org", "10.0.0.12", "3306", "3306", "", "", "switchover"])

    def allowed(arguments: str) -> bool:
        return any(re.search(rule, arguments) for rule in rules)

    assert allowed(f"start --no-block mysql-fence@{call.instance('1764000000000-77')}.service")
    assert allowed("restart --no-block replication-manager.service")
    for other in (
        "start --no-block mysql-fence@a.service other.service",
        "start --no-block mysql-fence@a;reboot.service",
        "start --no-block x-mysql-fence@a.service",
        "stop mysql-fence@a.service",
        "restart --no-block replication-manager.service mysql.service",
        "restart --no-block replication-managerXservice",
        "edit replication-manager.service",
    ):
        assert not allowed(other), other


def unit(texts: dict[str, str], name: str) -> configparser.ConfigParser:
    """Return a unit's sections; of a key that stands twice the last value."""
    parsed = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(texts[f"etc/systemd/system/{name}.j2"])
    return parsed


def test_the_fence_gets_replication_managers_seven_arguments(
    rendered: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    line = unit(rendered["production"], "mysql-fence@.service")["Service"]["ExecStart"].replace("$$", "$")
    script = re.fullmatch(r"/bin/sh -c '([^']*)' mysql-fence %i", line)
    assert script
    told = "exec printf '[%s]' " + script[1].partition("exec /usr/local/bin/mysql-fence ")[2]
    arguments = ["db-1", "10.0.0.12", "3306", "3307", "", "", "failover"]
    instance = fence_call(arguments).instance("12-34")
    shown = f"IFS=:; set -- $1; {told}"
    done = subprocess.run(["/bin/sh", "-c", shown, "mysql-fence", instance], capture_output=True, text=True, check=True)
    assert done.stdout == "[db-1][10.0.0.12][3306][3307][][][failover]"
    assert script[1].startswith("IFS=:; set -- $1; exec ")


def test_the_fence_outlives_replication_manager_and_begins_again_when_killed(
    rendered: dict[str, dict[str, str]],
) -> None:
    service = unit(rendered["production"], "mysql-fence@.service")["Service"]
    assert (service["Type"], service["RemainAfterExit"], service["Restart"]) == ("oneshot", "yes", "on-abnormal")
    assert "PartOf" not in unit(rendered["production"], "mysql-fence@.service")["Unit"]


def test_the_pre_script_never_dies_before_replication_manager(rendered: dict[str, dict[str, str]]) -> None:
    service = unit(rendered["production"], "replication-manager.service.d/holdfast.conf")["Service"]
    assert (service["KillMode"], service["OOMPolicy"], service["User"]) == ("mixed", "kill", "repman")


def test_only_the_units_that_send_are_given_secrets(rendered: dict[str, dict[str, str]]) -> None:
    for name, text in rendered["production"].items():
        secret = "/etc/holdfast/secrets/" in text
        assert secret == (
            name.rpartition("/")[2] in ("mysql-repman-alert.service.j2", "mysql-repman-watch.service.j2")
        ), name
