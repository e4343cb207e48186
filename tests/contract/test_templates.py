"""The templates join Ansible and the programs: rendered by Ansible, read by the programs' own code."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import config
from holdfast.config_failover import TimingConfig
from holdfast.config_watch import LimitsConfig
from holdfast.errors import ConfigurationError
from holdfast.failover import protocol
from holdfast.recovery.place import work_directory
from support.repository import ROOT, read_yaml

EXAMPLE = ROOT / "inventories/production/group_vars/all/vault.yml.example"
SITES = {
    "lab": ["-i", "inventories/lab"],
    "production": ["-i", "inventories/production", "-e", f"@{EXAMPLE}"],
    "suite": ["-i", "inventories/lab", "-e", "@molecule/failover/vars/settings.yml"],
    "plain": [
        "-i",
        "inventories/lab",
        "-e",
        '{"mysql_guard_enabled": false, "mysql_backup_encryption_enabled": false,'
        ' "holdfast_programs_store_encrypted": false,'
        ' "holdfast_programs_notification_command": ["mail", "-s", "it\'s Holdfast", "a@example.org"],'
        ' "holdfast_programs_telegram_enabled": true, "holdfast_programs_telegram_chat_id": "-100123"}',
    ],
}
JOB = re.compile(r"mysql-[a-z-]+(?= )")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Render every template for every site, for real; an undefined variable fails it."""
    folders = {}
    for site, arguments in SITES.items():
        folder = tmp_path_factory.mktemp(site)
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments, "tests/contract/render.yml"]
        argv += ["-e", f"output={folder}", "-e", "ansible_connection=local"]
        argv += ["-e", f"ansible_python_interpreter={sys.executable}"]
        environment = {
            **os.environ,
            "HOLDFAST_CACHE": str(folder / "cache"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        }
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        for host in ("db1", "db2", "app1"):
            for name, text in json.loads((folder / f"{host}.json").read_text()).items():
                path = folder / host / name.removesuffix(".j2")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        folders[site] = folder
    return folders


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("host", ["db1", "db2"])
def test_the_programs_take_the_configuration(rendered: dict[str, Path], site: str, host: str) -> None:
    loaded = config.load(rendered[site] / host / "etc/holdfast/config.yml")
    assert loaded.host == host
    assert loaded.backup.engine == ("xtrabackup" if site == "production" else "clone")
    assert (loaded.notifications.telegram is not None) == (site in ("production", "plain"))
    assert loaded.store.encrypted == (site != "plain")


@pytest.mark.parametrize("host", ["db1", "db2", "app1"])
def test_a_site_with_guards_knows_who_is_who(rendered: dict[str, Path], host: str) -> None:
    failover = config.load(rendered["lab"] / host / "etc/holdfast/config.yml").failover
    assert [each.name for each in failover.database_hosts] == ["db1", "db2"]
    assert failover.keeper.host == "app1" and failover.keeper.address in failover.app_addresses
    assert failover.keeper.address not in {each.address for each in failover.database_hosts}
    assert failover.tls.key_file.parent == Path("/etc/holdfast/tls" if host == "app1" else "/etc/mysql/tls")


@pytest.mark.parametrize("host", ["db1", "app1"])
def test_without_guards_a_program_that_needs_them_says_so(rendered: dict[str, Path], host: str) -> None:
    loaded = config.load(rendered["plain"] / host / "etc/holdfast/config.yml")
    with pytest.raises(ConfigurationError, match="failover: is null") as caught:
        _ = loaded.failover
    assert "mysql_guard_enabled" in caught.value.remedy


def test_a_program_that_needs_a_server_says_so_on_an_app_host(rendered: dict[str, Path]) -> None:
    loaded = config.load(rendered["lab"] / "app1/etc/holdfast/config.yml")
    for section in ("mysql", "backup", "recovery"):
        with pytest.raises(ConfigurationError, match=f"{section}: is null"):
            getattr(loaded, section)


@pytest.mark.parametrize("site", SITES)
def test_the_managers_host_alone_cleans_up(rendered: dict[str, Path], site: str) -> None:
    folder = rendered[site] / "app1/etc"
    cleaner = config.load(folder / "holdfast/config.yml")
    assert cleaner.retention.point_in_time_days == 30
    assert cleaner.store.rclone_config_file == Path("/etc/holdfast/secrets/rclone-watch.conf")
    assert config.load(rendered[site] / "db1/etc/holdfast/config.yml").retention_or_none is None
    lines = (folder / "cron.d/holdfast-cleanup").read_text().splitlines()
    jobs = {" ".join(line.split()[:5]): line for line in lines if line[:1].isdigit()}
    assert "mysql-backup-cleanup 2>&1" in jobs["0 4 * * *"]
    assert "--retry-due" in jobs["50 * * * *"]


@pytest.mark.parametrize("site", SITES)
def test_every_host_watches_and_one_judges_the_store(rendered: dict[str, Path], site: str) -> None:
    for host in ("db1", "db2", "app1"):
        watch = config.load(rendered[site] / host / "etc/holdfast/config.yml").watch
        assert watch.hosts == ("app1", "db1", "db2")
        assert watch.limits == LimitsConfig(25, 193, 3, 14, 26, 13, 50, 80, 60, 21, 80, 90, 600, 48, 15)
        assert {peer.partition("=")[0] for peer in watch.clock_peers} == {"db1", "db2"} - {host}
        assert all(peer.endswith(":7333") for peer in watch.clock_peers)
        guarded = site != "plain"
        assert ("mysql-guard.service" in watch.services) == (guarded and host != "app1")
        assert ("mysql-keeper.service" in watch.services) == (guarded and host == "app1")
        proxy = "proxysql" if site == "production" else "haproxy"
        assert (f"{proxy}.service" in watch.services) == (host == "app1")
        assert ("mysql.service" in watch.services) == (host != "app1")
        assert ("holdfast-binlog-stream.service" in watch.services) == (host != "app1")
        assert watch.binlog_stream
    lines = (rendered[site] / "app1/etc/cron.d/holdfast-watch").read_text().splitlines()
    assert [line.split()[5:7] for line in lines if line[:1].isdigit()] == [["root", "mysql-backup-watch"]]


def test_production_hides_no_deleted_object_and_the_cleaner_has_a_key_of_its_own(rendered: dict[str, Path]) -> None:
    cleaner, writer = configparser.ConfigParser(interpolation=None), configparser.ConfigParser(interpolation=None)
    cleaner.read(rendered["production"] / "app1/etc/holdfast/secrets/rclone-watch.conf")
    writer.read(rendered["production"] / "db1/etc/holdfast/secrets/rclone.conf")
    assert cleaner["store"]["hard_delete"] == "true"
    assert cleaner["offsite"]["remote"] == writer["offsite"]["remote"]
    assert cleaner["offsite"]["password"] == writer["offsite"]["password"]


def test_the_times_are_those_of_the_protocol(rendered: dict[str, Path]) -> None:
    timing = read_yaml("roles/holdfast_programs/vars/main.yml")["__holdfast_programs_timing"]
    assert set(timing) == set(TimingConfig.__dataclass_fields__)
    constants = {name: getattr(protocol, name.upper()) for name in timing if hasattr(protocol, name.upper())}
    assert len(constants) == 8
    assert {name: timing[name] for name in constants} == constants
    suite = config.load(rendered["suite"] / "db1/etc/holdfast/config.yml").failover.timing
    assert suite.silence_seconds < timing["silence_seconds"]
    assert suite.grey_failure_seconds == timing["grey_failure_seconds"], "what is not named keeps its value"


@pytest.mark.parametrize("site", SITES)
def test_rclone_has_the_remote_that_the_configuration_names(rendered: dict[str, Path], site: str) -> None:
    folder = rendered[site] / "db1/etc/holdfast"
    remotes = configparser.ConfigParser(interpolation=None)
    remotes.read(folder / "secrets/rclone.conf")
    remote = config.load(folder / "config.yml").store.remote.partition(":")[0]
    assert remotes[remote]["type"] == ("alias" if site == "plain" else "crypt")
    assert remotes[remote]["remote"].startswith("store:")
    assert remotes["store"]["type"] == ("b2" if site == "production" else "s3")
    if site != "plain":
        assert remotes[remote]["filename_encryption"] == "off"
        assert "CHANGE_ME" not in remotes[remote]["password"]


def test_the_same_values_render_the_same_files(rendered: dict[str, Path]) -> None:
    db1, db2 = ((rendered["lab"] / host / "etc/holdfast/secrets/rclone.conf").read_text() for host in ("db1", "db2"))
    assert db1 == db2


@pytest.mark.parametrize("site", SITES)
def test_cron_runs_what_the_design_says(rendered: dict[str, Path], site: str) -> None:
    lines = (rendered[site] / "db1/etc/cron.d/holdfast-backup").read_text().splitlines()
    jobs = {" ".join(line.split()[:5]): line for line in lines if line[:1].isdigit()}
    assert "mysql-backup-full 2>&1" in jobs["0 2 * * 0"]
    assert "mysql-backup-incremental 2>&1" in jobs["0 2 * * 1,2,3,4,5,6"]
    assert "mysql-backup-binlogs" in jobs["5 * * * *"]
    assert jobs["35 * * * *"].count("--retry-due") == 1
    assert "mysql-backup-watch 2>&1" in jobs["20 * * * *"]
    assert 'MAILTO=""' in lines


def test_every_program_in_cron_exists_is_executable_and_answers_help(rendered: dict[str, Path]) -> None:
    links = read_yaml("roles/holdfast_programs/vars/main.yml")["__holdfast_programs_links"]
    text = (rendered["lab"] / "db1/etc/cron.d/holdfast-backup").read_text()
    named = {name for line in text.splitlines() if line[:1].isdigit() for name in JOB.findall(line)}
    assert named <= set(links)
    for program in links.values():
        path = ROOT / "scripts" / program
        assert os.access(path, os.X_OK), f"{program} is not executable"
        done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and "usage:" in done.stdout, done.stderr


def test_every_program_of_scripts_is_linked_or_a_stage_of_one() -> None:
    links = read_yaml("roles/holdfast_programs/vars/main.yml")["__holdfast_programs_links"]
    programs = {path.name for path in (ROOT / "scripts").glob("*.py")}
    assert programs - set(links.values()) == {"mysql_clone_stream.py"}


def test_apparmor_lets_the_side_server_work_where_a_restore_in_place_does() -> None:
    template = ROOT / "roles/mysql_server/templates/etc/apparmor.d/local/usr.sbin.mysqld.j2"
    work = work_directory(Path("/var/lib/mysql"), is_mount=False)
    assert f"\n{work}/ r,\n{work}/** rwk,\n" in template.read_text()
