"""Rules that can be left out, and MySQL's and a site's settings: what a variant of the world is."""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """The default is the design. Each True below `rules` leaves one rule out."""

    writes: int = 0b0001  # transactions that clients may have on their way, as bits of the world's kinds
    hold: bool = False  # the policy when the fence is not provable
    robot: bool = False  # Hetzner Robot is there and works
    switchovers: bool = False  # a person may order switchovers at any time; else each is a fault
    opener: bool = False  # Replication Manager sets read_only=OFF on a server without a channel whenever it likes
    # rules left out
    timer: bool = False  # rpl_semi_sync_source_timeout in reach
    timer_at_thaw: bool = False  # in reach, and only a freeze is as long
    sigterm_acknowledges: bool = False  # no ExecStop: SIGTERM gives OK to waiting clients
    names_are_hosts: bool = False  # in_sync names a host, not a running instance
    late_answers_count: bool = False  # a guard uses an answer to a request that it gave up
    no_version: bool = False  # the keeper does not compare versions
    alone_without_swap: bool = False  # after a request without an answer the guard goes back to OFF by itself
    sessions_live: bool = False  # nobody kills the others' sessions, nobody insists on one older than its view
    off_stays: bool = False  # lifting offline_mode leaves enabled as the fence left it
    fence_before_swap: bool = False  # the fence begins before the record is swapped
    kill_spares_root: bool = False  # offline_mode without killing the sessions that it spares
    guard_leaves_sessions: bool = False  # a guard that starts leaves an earlier guard's statement in the server
    start_leaves_enabled: bool = False  # START REPLICA without enabled=OFF
    trust_status: bool = False  # re-arm by "status ON", without marker and comparison
    elected_forgotten: bool = False  # the promotion's swap sets in_sync none at once: the design's first wording
    no_comparison: bool = False  # rejoin without comparing GTID sets
    fencer_never_ends: bool = False  # the background fencer kills an old primary that has become a replica
    start_spares_sessions: bool = False  # LIFT and START while a dead manager's RESET is still there
    off_without_channel: bool = False  # lifting and detaching leave enabled=OFF on a server that is not primary
    candidate_stays_online: bool = False  # the promotion does not set the candidate's offline_mode first
    no_drain: bool = False  # detach without waiting for the applier
    replication_manager: bool = False  # Replication Manager alone: no record, no fence, no question to the replica
    fence_believes_switches: bool = False  # a fence takes switches that an older fence left for its own work
