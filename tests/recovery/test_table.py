"""Tables are put back as they were, while the application writes; what was there is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.failover_pair import Pair
from support.hosts import Lab
from support.ledger import ALWAYS
from support.playbooks import on_the_suites_site
from support.runbooks import follow
from support.workload import Workload

RUNBOOK = "dropped_table.md"
ROWS = 300
AROUND = (
    "CREATE TABLE shop.items (id INT AUTO_INCREMENT PRIMARY KEY, invoice BIGINT, KEY (invoice),"
    " CONSTRAINT billed FOREIGN KEY (invoice) REFERENCES invoices (id) ON DELETE CASCADE);"
    "CREATE TABLE shop.refunds (id INT AUTO_INCREMENT PRIMARY KEY, payment BIGINT,"
    " FOREIGN KEY (payment) REFERENCES payments (id));"
    "CREATE TABLE shop.log (id INT AUTO_INCREMENT PRIMARY KEY, invoice BIGINT);"
    "CREATE TRIGGER shop.note AFTER INSERT ON shop.invoices FOR EACH ROW INSERT INTO shop.log (invoice) VALUES (NEW.id)"
)


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Iterator[Workload]:
    """A shop whose application writes through the proxy, with a backup; db1 leads."""
    Pair(lab).have_led_by(lab.db1)
    made = Workload(lab, "shop", ("invoices", "payments"), rate=40, through_proxy=True)
    made.prepare()
    lab.db1.sql(AROUND)
    made.start()
    made.wait_for(ROWS)
    lab.db1.sql("INSERT INTO shop.items (invoice) SELECT id FROM shop.invoices LIMIT 20")
    lab.wait_for_replica()
    lab.db2.run("mysql-backup-full", timeout_seconds=600)
    yield made
    made.stop()


def keys_of(lab: Lab, child: str, parent: str) -> list[list[str]]:
    """Return the tables to which a table's foreign keys lead, on each server."""
    query = (
        "SELECT REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE CONSTRAINT_SCHEMA = 'shop' AND TABLE_NAME = '{child}'"
    )
    return [[row[0] for row in host.sql(query)] for host in lab.servers]


def asides(lab: Lab, table: str) -> list[str]:
    """Return the names under which tables were kept."""
    query = (
        "SELECT TABLE_NAME FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME LIKE '{table}~_aside%' ESCAPE '~'"
    )
    return [row[0] for row in lab.db1.sql(query)]


def nothing_is_left(lab: Lab) -> None:
    """Neither database nor account nor instance of the work remains."""
    assert lab.db1.sql("SHOW DATABASES LIKE 'holdfast_put_back'") == []
    assert lab.db1.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'holdfast_put_back'") == "0"
    assert not lab.db2.exists("/etc/holdfast/secrets/put-back.cnf")
    assert lab.db2.run("ls", "/var/lib/holdfast/restore").out == ""


def test_a_dropped_table_comes_back_by_the_runbook(lab: Lab, shop: Workload, tmp_path: Path) -> None:
    lab.db1.sql("SET SESSION foreign_key_checks=0; DROP TABLE shop.invoices")
    logged = int(lab.db1.value("SELECT COUNT(*) FROM shop.log"))
    going_on = shop.ledger().acknowledged("payments")
    said = follow(lab, RUNBOOK, tmp_path)
    assert "shop.invoices is not there now" in said and "foreign keys checked" in said and "Every server has it" in said
    lab.wait_for_replica()
    for host in lab.servers:
        result = shop.compare(host, "invoices", surely_by=ALWAYS)
        assert result.exact and result.expected > 50, str(result)
        assert host.value("SELECT COUNT(*) FROM shop.items AS i JOIN shop.invoices AS o ON o.id = i.invoice") == "20"
    assert keys_of(lab, "items", "invoices") == [["invoices"], ["invoices"]]
    assert int(lab.db1.value("SELECT COUNT(*) FROM shop.log")) == logged  # the copy fired no trigger
    lab.db1.sql(
        "INSERT INTO shop.invoices SELECT 999999999, version, customer, cents, note, placed_at"
        " FROM shop.invoices LIMIT 1"
    )
    assert int(lab.db1.value("SELECT COUNT(*) FROM shop.log")) == logged + 1
    assert shop.ledger().acknowledged("payments") > going_on
    nothing_is_left(lab)


@pytest.fixture(scope="module")
def spoilt(lab: Lab, shop: Workload) -> tuple[float, str]:
    """Half of the payments are deleted, and the application goes on; the moment just before (epoch, and text)."""
    clock = (
        "SELECT UNIX_TIMESTAMP(SYSDATE(6)),"
        " DATE_FORMAT(CONVERT_TZ(SYSDATE(6), @@time_zone, '+00:00'), '%Y-%m-%d %H:%i:%s.%f UTC')"
    )
    ((epoch, text),) = lab.db1.sql(clock)
    lab.db1.sql("DELETE FROM shop.payments WHERE id % 2 = 0")
    shop.wait_for(shop.acknowledged() + 100)
    return float(epoch), text


def test_rows_that_would_refer_to_nothing_are_refused_and_all_stays_as_it_was(
    lab: Lab, shop: Workload, spoilt: tuple[float, str]
) -> None:
    lab.db1.sql("INSERT INTO shop.refunds (payment) SELECT MAX(id) FROM shop.payments")
    done = on_the_suites_site(
        "recover_table", expect=2, recover_tables="shop.payments", recover_to=spoilt[1], confirm="db1"
    )
    assert "rows would refer to nothing: 1 of shop.refunds to shop.payments" in done.words
    assert asides(lab, "payments") == [] and keys_of(lab, "refunds", "payments") == [["payments"], ["payments"]]
    lab.db1.sql("DELETE FROM shop.refunds")
    nothing_is_left(lab)


def test_a_spoilt_table_comes_back_and_what_was_written_since_is_kept(
    lab: Lab, shop: Workload, spoilt: tuple[float, str]
) -> None:
    errors = len(shop.ledger().errors)
    for host in lab.servers:
        host.run("mysql-backup-binlogs", timeout_seconds=300)
    now = lab.db1.value("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')")
    found = lab.db2.run(
        "mysql-restore", "find", "--delete-from", "shop.payments", "--between", spoilt[1], now, "--json"
    )
    (candidate,) = json.loads(found.out)["candidates"]
    assert candidate["statement"] == "DELETE FROM shop.payments WHERE id % 2 = 0"
    done = on_the_suites_site(
        "recover_table", recover_tables="shop.payments", recover_before_gtid=candidate["gtid"], confirm="db1"
    )
    reached = shop.acknowledged()
    shop.wait_for(reached + 50)
    shop.stop()
    lab.wait_for_replica()
    ledger = shop.ledger()
    assert ledger.errors[errors:] == []  # the application noticed nothing
    (aside,) = asides(lab, "payments")
    there, kept = shop.rows_on(lab.db1, "payments"), shop.rows_on(lab.db1, aside)
    before = {put.row for put in ledger.puts["payments"] if put.acknowledged_at and put.acknowledged_at <= spoilt[0]}
    assert before <= set(there)  # the deleted ones too
    written = {put.row for put in ledger.puts["payments"] if put.acknowledged_at}
    assert written <= set(there) | set(kept)
    since = set(kept) - set(there)
    assert since and re.search(rf"of which {len(since)} are only there", done.words), done.text[-2000:]
    assert shop.rows_on(lab.db2, "payments") == there and shop.rows_on(lab.db2, aside) == kept
    assert keys_of(lab, "refunds", "payments") == [["payments"], ["payments"]]
    nothing_is_left(lab)
