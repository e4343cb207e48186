"""Servers as they show themselves, for tests of what is decided about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.cluster import ReplicaChannel, ServerState
from support.backups import SERVER, gtids

REPLICA = ServerState(
    server_uuid=SERVER,
    version="9.7.4",
    series="9.7",
    read_only=True,
    super_read_only=True,
    gtid_executed=gtids("A:1-10"),
    binlog_file="binlog.000007",
    binlog_position=1,
    channels=(ReplicaChannel(True, True, 0, "", "db2"),),
    connected_replicas=0,
    data_directory=Path("/nonexistent"),
)
PRIMARY = replace(REPLICA, read_only=False, super_read_only=False, channels=(), connected_replicas=1)
