"""What runs on one of the two follows the roles: scheduled events, and the nightly backup."""

from __future__ import annotations

from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import wait_until
from support.site import Site

EVENT = (
    "CREATE TABLE IF NOT EXISTS failover.ticks (server VARCHAR(36), at DATETIME(6));"
    "DROP EVENT IF EXISTS failover.tick; CREATE EVENT failover.tick ON SCHEDULE EVERY 1 SECOND DO"
    " INSERT INTO failover.ticks VALUES (@@server_uuid, NOW(6))"
)


def test_a_scheduled_event_runs_on_exactly_one_server(pair: Pair, load: Load) -> None:
    roles = pair.roles()
    roles.primary.sql(EVENT)
    try:
        for _ in range(2):
            now = pair.roles()
            since = now.primary.value("SELECT NOW(6)")
            count = f"SELECT COUNT(*), COUNT(DISTINCT server) FROM failover.ticks WHERE at > '{since}'"
            wait_until(lambda p=now.primary, c=count: int(p.sql(c)[0][0]) >= 2, "the event runs")  # type: ignore[misc]
            assert now.primary.sql(count)[0][1] == "1"
            assert (
                now.primary.value(f"SELECT server FROM failover.ticks WHERE at > '{since}'")
                == pair.uuids[now.primary.name]
            )
            if now.primary is roles.primary:
                pair.switch_over()
                pair.settle()
    finally:
        pair.roles().primary.sql("DROP EVENT IF EXISTS failover.tick; DROP TABLE IF EXISTS failover.ticks")


def test_the_backup_of_the_night_after_a_role_swap_is_a_full(pair: Pair, load: Load) -> None:
    """LSNs belong to one instance: an incremental against the other server's full would restore garbage."""
    site = Site(pair.lab, "t-roles")
    site.install()
    try:
        site.run(pair.roles().replica, "mysql-backup-full")
        site.run(pair.roles().replica, "mysql-backup-incremental")
        pair.switch_over()
        pair.settle()
        site.run(pair.roles().replica, "mysql-backup-incremental")
        kinds = [(manifest["type"], manifest["host"]) for manifest in site.manifests()]
        assert [kind for kind, _ in kinds] == ["full", "incremental", "full"]
        assert kinds[2][1] == pair.roles().replica.name != kinds[0][1]
    finally:
        site.remove()
