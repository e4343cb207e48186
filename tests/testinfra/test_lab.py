"""What the lab itself must get right for anything proved on it to mean something."""

from __future__ import annotations

import os
from typing import Any

LAB = os.environ.get("HOLDFAST_LAB", "1")
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ("db1", "db2")]


def test_systemd_of_one_host_does_not_see_the_services_of_another(host: Any) -> None:
    """In a shared cgroup tree a reload failed now and then, and a kill of mysql.service could reach every host's."""
    pids = host.check_output("cat /sys/fs/cgroup/system.slice/mysql.service/cgroup.procs").split()
    assert pids == [host.check_output("systemctl show --property MainPID --value mysql")]
