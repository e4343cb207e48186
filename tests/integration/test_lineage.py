"""When an incremental has no sound parent the job takes a full instead, and says why."""

from __future__ import annotations

import pytest

from support.hosts import Host, Lab, wait_until
from support.site import Site
from support.workload import Workload


def wait_for_replication(replica: Host) -> None:
    """Wait until both threads run."""
    running = (
        "SELECT COUNT(*) FROM performance_schema.replication_connection_status c JOIN"
        " performance_schema.replication_applier_status a USING (channel_name)"
        " WHERE c.service_state='ON' AND a.service_state='ON'"
    )
    wait_until(lambda: replica.value(running) == "1", f"{replica.name} replicates")


def swap_roles(lab: Lab, new: Host, old: Host) -> None:
    """Make the replica the primary, by hand as an operator would: nothing is lost, both stay as the role set them."""
    lab.wait_for_replica()
    credentials = new.sql("SELECT User_name, User_password, Port FROM mysql.slave_master_info")
    assert credentials, "the replica keeps no account of its source"
    user, password, port = credentials[0]
    old.sql("SET GLOBAL super_read_only=ON")
    assert new.value(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{old.executed()}', 30)") == "0"
    new.sql("STOP REPLICA; RESET REPLICA ALL")
    old.sql(
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{new.address}', SOURCE_PORT={port}, SOURCE_USER='{user}',"
        f" SOURCE_PASSWORD='{password}', SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_CONNECT_RETRY=2; START REPLICA"
    )
    new.sql("SET GLOBAL super_read_only=OFF; SET GLOBAL read_only=OFF")
    wait_for_replication(old)


def set_semi_sync(primary: Host, replica: Host) -> None:
    """Source on the primary, replica on the other: on a replica a source's wait would never end."""
    replica.sql("SET GLOBAL rpl_semi_sync_source_enabled=OFF; SET GLOBAL rpl_semi_sync_replica_enabled=ON")
    primary.sql("SET GLOBAL rpl_semi_sync_source_enabled=ON")


def said(site: Site, host: Host) -> str:
    """Return what the last job told people."""
    return site.messages(host)


def incremental(site: Site, host: Host) -> dict[str, object]:
    """Run the incremental job; return the manifest of what it took."""
    host.run("rm", "-f", f"{site.folder}/messages")
    before = {manifest["id"] for manifest in site.manifests()}
    site.run(host, "mysql-backup-incremental")
    (new,) = [manifest for manifest in site.manifests() if manifest["id"] not in before]
    return new


@pytest.fixture(scope="module")
def chain(site: Site, shop: Workload, lab: Lab) -> None:
    """A full and an incremental by db2."""
    shop.write_for(50)
    lab.wait_for_replica()
    site.run(lab.db2, "mysql-backup-full")
    shop.write_for(50)
    lab.wait_for_replica()
    assert incremental(site, lab.db2)["type"] == "incremental"


@pytest.mark.usefixtures("chain")
class TestPromotion:
    """Each in turn; the pair is as before when all are over."""

    def test_a_role_swap(self, site: Site, lab: Lab) -> None:
        swap_roles(lab, new=lab.db2, old=lab.db1)
        set_semi_sync(lab.db2, lab.db1)
        try:
            site.run(lab.db2, "mysql-backup-incremental", expect=75)
            newest = incremental(site, lab.db1)
            assert (newest["type"], newest["host"]) == ("full", "db1")
            assert "full instead of incremental" in said(site, lab.db1), "it does not say why"
        finally:
            swap_roles(lab, new=lab.db1, old=lab.db2)
            set_semi_sync(lab.db1, lab.db2)

    def test_back_again_the_old_chain_goes_on(self, site: Site, lab: Lab) -> None:
        """db2 never lost its data: its own chain of its own lineage is sound."""
        newest = incremental(site, lab.db2)
        assert (newest["type"], newest["host"]) == ("incremental", "db2")

    def test_a_re_clone(self, site: Site, lab: Lab) -> None:
        reclone(lab)
        newest = incremental(site, lab.db2)
        assert newest["type"] == "full"
        assert "full instead of incremental" in said(site, lab.db2), "it does not say why"
        assert incremental(site, lab.db2)["type"] == "incremental"

    def test_binlogs_and_gtids_reset(self, site: Site, lab: Lab) -> None:
        site.run(lab.db2, "mysql-backup-binlogs")
        lineages = {name.split("/")[1] for name in site.objects("^binlogs/")}
        lab.db2.sql("STOP REPLICA")
        gtids = lab.db2.executed()
        lab.db2.sql(f"RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged='{gtids}'; START REPLICA")
        wait_for_replication(lab.db2)
        site.run(lab.db2, "mysql-backup-binlogs")
        assert {name.split("/")[1] for name in site.objects("^binlogs/")} > lineages, "no new lineage of binlogs"
        assert incremental(site, lab.db2)["type"] == "full"
        assert "full instead of incremental" in said(site, lab.db2)


def reclone(lab: Lab) -> None:
    """Seed db2 anew from db1 with MySQL's CLONE, with an account made for it; replication goes on afterwards."""
    donor = f"{lab.db1.address}:3306"
    lab.db1.sql(
        "DROP USER IF EXISTS reclone@'10.203.%';"
        "CREATE USER reclone@'10.203.%' IDENTIFIED BY 'Reclone-1-test' REQUIRE SSL;"
        "GRANT BACKUP_ADMIN ON *.* TO reclone@'10.203.%'"
    )
    lab.wait_for_replica()
    credentials = lab.db2.sql("SELECT User_name, User_password, Port FROM mysql.slave_master_info")
    user, password, port = credentials[0]
    started = lab.db2.value("SELECT variable_value FROM performance_schema.global_status WHERE variable_name='Uptime'")
    lab.db2.sql("STOP REPLICA; SET GLOBAL super_read_only=OFF")
    lab.db2.run(
        "mysql", "--no-defaults", "-uroot",
        stdin=f"SET GLOBAL clone_valid_donor_list='{donor}';"
        f"CLONE INSTANCE FROM reclone@'{lab.db1.address}':3306 IDENTIFIED BY 'Reclone-1-test' REQUIRE SSL",
        check=False,
    )  # fmt: skip

    def restarted() -> bool:
        uptime = "SELECT variable_value FROM performance_schema.global_status WHERE variable_name='Uptime'"
        done = lab.db2.run("mysql", "--no-defaults", "-uroot", "-NB", stdin=uptime, check=False)
        return done.status == 0 and int(done.out) < int(started)

    wait_until(restarted, "db2 restarts after CLONE", limit_seconds=60)
    assert lab.db2.value("SELECT state FROM performance_schema.clone_status") == "Completed"
    lab.db2.sql(
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{lab.db1.address}', SOURCE_PORT={port}, SOURCE_USER='{user}',"
        f" SOURCE_PASSWORD='{password}', SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_CONNECT_RETRY=2; START REPLICA"
    )
    wait_for_replication(lab.db2)
    lab.db1.sql("DROP USER reclone@'10.203.%'")
    lab.wait_for_replica()
