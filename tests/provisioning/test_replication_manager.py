"""Role replication_manager on the lab: without its package all but the package and the service; with it, it runs."""

from __future__ import annotations

import json
import stat

import pytest

from support.hosts import Host, Lab, wait_until
from support.playbooks import Rerun, rerun

PROGRAM = "/usr/bin/replication-manager-osc"
CHOSEN = {"failover_manager": "replication_manager", "replication_manager_guard_enabled": True}
OWNED = {
    "/etc/replication-manager": ("root", "repman", 0o750),
    "/etc/replication-manager/config.toml": ("root", "repman", 0o640),
    "/etc/replication-manager/cluster.d/lab.toml": ("root", "repman", 0o640),
    "/var/lib/replication-manager": ("repman", "repman", 0o750),
    "/var/lib/holdfast/repman": ("repman", "repman", 0o755),
    "/var/lib/holdfast/repman/spool": ("repman", "repman", 0o700),
    "/etc/holdfast/secrets/replication-manager-api": ("root", "root", 0o600),
    "/etc/sudoers.d/holdfast-replication-manager": ("root", "root", 0o440),
    "/etc/systemd/system/mysql-fence@.service": ("root", "root", 0o644),
    "/etc/systemd/system/mysql-repman-alert.path": ("root", "root", 0o644),
    "/etc/systemd/system/mysql-repman-alert.service": ("root", "root", 0o644),
    "/etc/systemd/system/mysql-repman-watch.service": ("root", "root", 0o644),
    "/etc/systemd/system/mysql-repman-watch.timer": ("root", "root", 0o644),
    "/etc/systemd/system/replication-manager.service.d/holdfast.conf": ("root", "root", 0o644),
}
UNIT = "mysql-fence@10.0.0.1:10.0.0.2:3306:3306:failover:1.service"


@pytest.fixture(scope="module")
def app(lab: Lab) -> Host:
    """The manager's host, with the role applied; the lab's own manager is back afterwards."""
    first = rerun("replication_manager", variables=CHOSEN)
    lab.app1.write("/root/first-run.json", json.dumps({"words": first.words}))
    return lab.app1


@pytest.fixture(scope="module")
def first(app: Host) -> str:
    """What the first run printed."""
    words: str = json.loads(app.read("/root/first-run.json"))["words"]
    return words


def has_package(host: Host) -> bool:
    return host.exists(PROGRAM)


def as_repman(host: Host, *command: str) -> int:
    return host.run("setpriv", "--reuid", "repman", "--regid", "repman", "--init-groups", *command, check=False).status


def test_a_missing_package_is_named_and_nothing_else_is_missing(app: Host, first: str) -> None:
    assert ("MISSING: replication-manager-osc 3.1.18-1 is in no folder" in first) == (not has_package(app))


@pytest.mark.parametrize("path", OWNED)
def test_each_path_belongs_to_whom_it_should(app: Host, path: str) -> None:
    owner, group, mode = OWNED[path]
    assert app.run("stat", "--format", "%U %G %a", path).out.split() == [owner, group, f"{mode:o}"]
    assert stat.S_IMODE(mode) == mode


def test_repman_can_neither_log_in_nor_read_a_secret_of_the_host(app: Host) -> None:
    assert "/usr/sbin/nologin" in app.run("getent", "passwd", "repman").out
    for path in ("/etc/holdfast/config.yml", "/etc/holdfast/secrets/replication-manager-api", "/root/.ssh"):
        assert as_repman(app, "test", "-r", path) != 0, path
    assert as_repman(app, "test", "-r", "/etc/replication-manager/config.toml") == 0
    assert not app.exists("/home/repman/.ssh") and not app.exists("/var/lib/replication-manager/.ssh")


def test_repman_may_start_a_fence_and_nothing_else(app: Host) -> None:
    listed = as_repman(app, "sudo", "-n", "-l", "/usr/bin/systemctl", "start", "--no-block", UNIT)
    assert listed == 0
    for command in (("stop", UNIT), ("start", "--no-block", UNIT, "mysql-keeper.service"), ("restart", "ssh")):
        assert as_repman(app, "sudo", "-n", "-l", "/usr/bin/systemctl", *command) != 0, command
    assert as_repman(app, "sudo", "-n", "-l", "/usr/bin/bash") != 0


def test_systemd_takes_the_units(app: Host) -> None:
    app.run("systemctl", "daemon-reload")
    for unit in (UNIT, "mysql-repman-alert.path", "mysql-repman-alert.service", "mysql-repman-watch.timer"):
        shown = app.run("systemctl", "show", "--property=LoadState,LoadError", unit).out
        assert "LoadState=loaded" in shown, shown


def test_a_message_reaches_people_through_the_unit_that_sends_it(app: Host) -> None:
    app.run("systemctl", "start", "mysql-repman-alert.path")
    assert as_repman(app, "mysql-repman-tell", "lab", "10.0.0.1:3306", "Suspect", "Failed") == 0
    spool = "/var/lib/holdfast/repman/spool"
    wait_until(lambda: app.run("sh", "-c", f"ls {spool}").out == "", "the message was sent", limit_seconds=20)
    if not has_package(app):
        app.run("systemctl", "stop", "mysql-repman-alert.path")


def test_the_second_run_changes_nothing_and_what_it_saved_itself_is_removed(app: Host) -> None:
    again = rerun("replication_manager", variables=CHOSEN)
    assert set(again.changed.values()) == {0}
    saved = "/var/lib/replication-manager/lab/overwrite.toml"
    app.shell(f"install -d -o repman -g repman /var/lib/replication-manager/lab; touch {saved}")
    third = rerun("replication_manager", variables=CHOSEN)
    assert third.changed["app1"] > 0 and not app.exists(saved)


@pytest.mark.needs("replication-manager-osc")
def test_it_runs_as_repman_on_loopback_and_finds_the_pair(app: Host) -> None:
    if not has_package(app):
        pytest.skip("needs the package replication-manager-osc in HOLDFAST_PACKAGES")
    pid = app.run("systemctl", "show", "--property=MainPID", "--value", "replication-manager").out.strip()
    assert app.run("ps", "-o", "user=", "-p", pid).out.strip() == "repman"
    listening = app.run("ss", "-Hltnp").out
    ours = [line.split()[3] for line in listening.splitlines() if "replication-man" in line]
    assert ours and all(address.startswith("127.0.0.1:") for address in ours), ours
    wait_until(lambda: "Slave" in status(app).text, "it finds the replica", limit_seconds=60)


def status(app: Host) -> Rerun:
    done = app.run("mysql-repman", "status", check=False)
    return Rerun(done.status, done.text)


def test_another_manager_stops_it(app: Host) -> None:
    rerun("replication_manager", variables={"failover_manager": "mysql_failover"})
    for unit in ("mysql-repman-watch.timer", "mysql-repman-alert.path"):
        assert app.run("systemctl", "is-active", unit, check=False).out.strip() == "inactive"
