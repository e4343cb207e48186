"""The scripts, driven as Replication Manager drives them, on a host whose systemd and sudo are stand-ins too."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.replication_manager import RefusedError, Server, StandIn
from support.repository import ROOT, read_yaml

PRE_SCRIPT = (sys.executable, str(ROOT / "scripts/mysql_repman_fence.py"))
NEEDED = {
    "SET GLOBAL": "SYSTEM_VARIABLES_ADMIN",
    "STOP REPLICA": "REPLICATION_SLAVE_ADMIN",
    "RESET REPLICA": "RELOAD",
    "CHANGE REPLICATION": "REPLICATION_SLAVE_ADMIN",
    "FLUSH TABLES": "RELOAD",
}
SYSTEMCTL = """#!/bin/sh
# state of the one unit: the file `state`; each order is a line of `orders`
cd "$(dirname "$0")"
case $1 in
  start) printf '%s\\n' "$*" >> orders; printf 'ActiveState=activating\\nSubState=start\\nResult=success\\n' > state;;
  restart) printf '%s\\n' "$*" >> orders;;
  show) cat state;;
esac
"""
SUDO = '#!/bin/sh\nshift\nexec "$@"\n'
DEAD = "ActiveState=inactive\nSubState=dead\nResult=success\n"
PROMOTED = "ActiveState=active\nSubState=exited\nResult=success\n"
REFUSED = "ActiveState=failed\nSubState=failed\nResult=exit-code\n"


class Site:
    """A host with systemd and sudo as above, two servers, and Replication Manager's stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("systemctl", SYSTEMCTL), ("sudo", SUDO)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        (folder / "state").write_text(DEAD)
        (folder / "orders").touch()
        account = read_yaml("roles/mysql_server/vars/accounts.yml")["__mysql_server_replication_manager_accounts"][0]
        self.rights = set(account["privileges"]["*.*"].split(","))
        environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
        old, new = (Server(host, self._do) for host in ("10.0.0.11", "10.0.0.12"))
        self.manager = StandIn(old, new, PRE_SCRIPT, environment=environment)
        self.thread: threading.Thread | None = None

    def _do(self, statement: str) -> None:
        needed = next(right for verb, right in NEEDED.items() if statement.startswith(verb))
        if needed not in self.rights:
            raise RefusedError(f"needs {needed}")

    def begin(self, kind: str) -> None:
        self.thread = threading.Thread(target=self.manager.change_master, args=(kind,), daemon=True)
        self.thread.start()

    def ended(self, limit_seconds: float = 15) -> bool:
        if self.thread is not None:
            self.thread.join(timeout=limit_seconds)
        return self.thread is None or not self.thread.is_alive()

    def unit_is(self, state: str) -> None:
        (self.folder / "new").write_text(state)
        (self.folder / "new").rename(self.folder / "state")

    @property
    def orders(self) -> list[str]:
        return (self.folder / "orders").read_text().splitlines()

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 15
        while len(self.orders) < count:
            assert time.monotonic() < deadline, f"{self.orders} {self.manager.log}"
            time.sleep(0.05)

    @property
    def changed(self) -> list[str]:
        return [line for line in self.manager.log if ": SET" in line or ": STOP" in line or ": RESET" in line]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    if made.manager.script is not None and made.manager.script.poll() is None:
        made.manager.script.kill()
    made.ended(10)


@pytest.mark.parametrize("kind", ["failover", "switchover"])
def test_the_fence_gets_the_call_before_anything_is_drained_and_the_promotion_goes_on_after_it(
    site: Site, kind: str
) -> None:
    site.begin(kind)
    site.wait_for(1)
    assert site.orders[0].startswith(f"start --no-block mysql-fence@10.0.0.11:10.0.0.12:3306:3306:{kind}:")
    assert site.changed == [], "it has changed something before the fence ended"
    site.unit_is(PROMOTED)
    assert site.ended()
    assert "script exited 0" in site.manager.log[1]
    assert len(site.orders) == 1


def test_a_refusal_restarts_replication_manager_and_never_lets_it_go_on(site: Site) -> None:
    site.begin("failover")
    site.wait_for(1)
    site.unit_is(REFUSED)
    site.wait_for(2)
    assert site.orders[1] == "restart --no-block replication-manager.service"
    assert not site.ended(1) and site.changed == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_signal_that_can_be_caught_lets_it_go_on(site: Site, number: signal.Signals) -> None:
    site.begin("failover")
    site.wait_for(1)
    assert site.manager.script is not None
    site.manager.script.send_signal(number)
    assert not site.ended(1) and site.changed == []


def test_a_killed_pre_script_lets_it_go_on_and_it_can_open_nothing(site: Site) -> None:
    site.begin("failover")
    site.wait_for(1)
    assert site.manager.script is not None
    site.manager.script.kill()
    assert site.ended()
    site.manager.tick()
    assert len(site.changed) == 6
    assert all("REFUSED" in line for line in site.changed), site.changed


def test_an_old_primary_that_came_back_meanwhile_changes_nothing_for_it(site: Site) -> None:
    site.begin("switchover")
    site.wait_for(1)
    site.unit_is(PROMOTED)
    assert site.ended()
    assert site.manager.master.host == "10.0.0.12"
    assert all("REFUSED" in line for line in site.changed), site.changed


def test_an_alert_is_left_at_once_for_a_unit_that_sends_it(site: Site, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    text = (ROOT / "roles/replication_manager/templates/usr/local/bin/mysql-repman-tell.j2").read_text()
    program = tmp_path / "mysql-repman-tell"
    program.write_text(
        text.replace("{{ ansible_managed | comment }}\n", "").replace(
            "{{ __replication_manager_messages }}", str(tmp_path)
        )
    )
    program.chmod(0o755)
    closed = program.with_name("mysql-repman-tell-closed")
    closed.symlink_to(program)
    site.manager.alert_script = (str(program),)
    site.manager.alert("10.0.0.11:3306", "Suspect", "Failed")
    site.manager.alert_script = (str(closed),)
    site.manager.alert("", "", "")
    assert [line[:15] for line in site.manager.log[-2:]] == ["script exited 0"] * 2
    left = sorted(path.read_text() for path in spool.iterdir())
    assert left == [
        "mysql-repman-tell\nshop\n10.0.0.11:3306\nSuspect\nFailed\n",
        "mysql-repman-tell-closed\nshop\n\n\n\n",
    ]
    assert {path.suffix for path in spool.iterdir()} == {".told"}
