"""When an incremental has no sound parent the job takes a full instead, and says why."""

from __future__ import annotations

import pytest

from support import guarded
from support.failover_pair import Pair
from support.hosts import Host, Lab
from support.playbooks import rerun
from support.site import Site
from support.workload import Workload


def swap_roles(pair: Pair) -> None:
    """Make the replica the primary, by the site's manager; it ends when the old one replicates and is in sync."""
    pair.switch_over()
    pair.settle()


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
def pair(lab: Lab) -> Pair:
    """The pair, with its guards."""
    return Pair(lab)


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

    def test_a_role_swap(self, site: Site, lab: Lab, pair: Pair) -> None:
        swap_roles(pair)
        try:
            site.run(lab.db2, "mysql-backup-incremental", expect=75)
            newest = incremental(site, lab.db1)
            assert (newest["type"], newest["host"]) == ("full", "db1")
            assert "full instead of incremental" in said(site, lab.db1), "it does not say why"
            site.run(lab.db2, "mysql-binlog-stream", "--once", expect=75)
            site.run(lab.db1, "mysql-binlog-stream", "--once")
            assert site.json("state/stream/db1.json")["host"] == "db1", "the stream follows the role"
        finally:
            swap_roles(pair)

    def test_back_again_the_old_chain_goes_on(self, site: Site, lab: Lab) -> None:
        """db2 never lost its data: its own chain of its own lineage is sound."""
        newest = incremental(site, lab.db2)
        assert (newest["type"], newest["host"]) == ("incremental", "db2")

    def test_a_re_clone(self, site: Site, lab: Lab) -> None:
        rerun("rebuild_replica", variables={"rebuild_host": "db2", "confirm": "db2"})
        newest = incremental(site, lab.db2)
        assert newest["type"] == "full"
        assert "full instead of incremental" in said(site, lab.db2), "it does not say why"
        assert incremental(site, lab.db2)["type"] == "incremental"

    def test_binlogs_and_gtids_reset(self, site: Site, lab: Lab, pair: Pair) -> None:
        site.run(lab.db2, "mysql-backup-binlogs")
        lineages = {name.split("/")[1] for name in site.objects("^binlogs/")}
        with guarded.by_hand(lab):
            lab.db2.sql("STOP REPLICA")
            gtids = lab.db2.executed()
            lab.db2.sql(f"RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged='{gtids}'; START REPLICA")
        pair.settle()
        site.run(lab.db2, "mysql-backup-binlogs")
        assert {name.split("/")[1] for name in site.objects("^binlogs/")} > lineages, "no new lineage of binlogs"
        assert incremental(site, lab.db2)["type"] == "full"
        assert "full instead of incremental" in said(site, lab.db2)
