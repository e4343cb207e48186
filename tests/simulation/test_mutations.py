"""With one rule left out the search must find what the rule is there for; each schedule was found, none was written.

A rule whose test does not fail here is a rule that nothing needs.
"""

from __future__ import annotations

from collections.abc import Callable

from simulation.liveness import Liveness
from simulation.search import Result, search, violation
from simulation.variants import Variant
from simulation.world import ROOT, World

LOST = "lost: acknowledged"


def found(
    variant: Variant,
    wanted: str,
    faults: int,
    counts: list[str],
    *kinds: str,
    judge: Callable[[World], str] = violation,
) -> Result:
    """Search with a rule left out; `kinds` narrows the faults, where all of them would take long."""
    result = search(variant, faults, wanted=wanted, judge=judge, kinds=kinds or ("",))
    name = ", ".join(field for field in variant._fields if getattr(variant, field) is True)
    assert result.broken, f"left out {name}: nothing found in {result.states} states"
    counts.append(f"left out {name}: {result.broken}; {len(result.trace)} steps, {result.states} states")
    print("\n".join([result.broken, *result.trace]))
    return result


def test_two_writers_of_replication_managers_cut(counts: list[str]) -> None:
    """Seen: a cut between app host and primary alone, and both servers were writable for 40 s."""
    result = found(Variant(replication_manager=True, timer=True), "two writers", 1, counts)
    assert any(step.startswith("CUT A-K") for step in result.trace)


def test_rows_lost_to_mysqls_timer(counts: list[str]) -> None:
    """Seen: at 10 s all waiting commits are acknowledged though only this server has them."""
    assert any("MySQL's timer" in step for step in found(Variant(timer=True), LOST, 2, counts).trace)


def test_rows_lost_to_a_thaw(counts: list[str]) -> None:
    """Seen: acknowledged at the thaw, 21.6 s after it was asked; the row is on no other server."""
    result = found(Variant(timer_at_thaw=True), LOST, 2, counts)
    assert any("thaws" in step for step in result.trace)


def test_rows_lost_to_a_clean_shutdown(counts: list[str]) -> None:
    """Seen: SIGTERM gives OK to clients whose commits wait."""
    assert any(step.startswith("STOP") for step in found(Variant(sigterm_acknowledges=True), LOST, 2, counts).trace)


def test_rows_lost_to_a_dropped_relay_log(counts: list[str]) -> None:
    """Seen: a replica's crash drops acknowledged transactions that it had not applied: in_sync names an instance."""
    found(Variant(names_are_hosts=True), LOST, 2, counts, "CRASH", "FREEZE")


def test_rows_lost_to_a_late_answer(counts: list[str]) -> None:
    """An answer is used only by the process that asked, for the request that it waits for."""
    result = found(Variant(late_answers_count=True), LOST, 2, counts, "ANSWER", "FREEZE", "POWER")
    assert any("late answer arrives" in step for step in result.trace)


def test_rows_lost_to_a_late_request(counts: list[str]) -> None:
    """After asking for a replica, OFF needs another swap to none: the request may still arrive."""
    found(Variant(alone_without_swap=True), LOST, 2, counts, "CUT A-B", "CUT A-K", "ANSWER", "POWER")


def test_rows_lost_to_a_keeper_that_compares_no_versions(counts: list[str]) -> None:
    """A late request for a replica arrives after the guard has swapped to none again, and acknowledges alone."""
    found(Variant(no_version=True), LOST, 2, counts, "REQUEST", "FREEZE")


def test_rows_lost_to_a_fence_half_done(counts: list[str]) -> None:
    """A fence that begins before its swap and stops between two statements leaves a primary that needs no ACK."""
    result = found(Variant(fence_before_swap=True, off_stays=True), LOST, 2, counts, "GUARD", "FREEZE", "POWER")
    assert any("SOURCE_OFF" in step for step in result.trace)


def test_rows_lost_to_a_session_that_survives_offline_mode(counts: list[str]) -> None:
    """Seen: a root session that waits survives offline_mode and gets OK at enabled=OFF."""
    found(Variant(kill_spares_root=True, writes=ROOT), LOST, 2, counts)


def test_rows_lost_to_status_on(counts: list[str]) -> None:
    """Seen: enabled OFF to ON gives status ON at once, with the replica two acknowledged transactions behind."""
    found(Variant(trust_status=True), LOST, 2, counts, "CRASH", "POWER", "PERSON")


def test_rows_lost_to_a_guard_with_an_old_view(counts: list[str]) -> None:
    """The candidate's guard, its view older than the promotion, attaches it: its ACKs free the old primary."""
    found(Variant(sessions_live=True), LOST, 2, counts)


def test_rows_lost_to_a_promotion_that_forgets_whom_it_elected(counts: list[str]) -> None:
    """A manager that restarts cannot tell whether the candidate's mysqld is still the one that had everything."""
    found(Variant(elected_forgotten=True), LOST, 2, counts, "CRASH", "FREEZE", "POWER")


def test_rows_lost_to_an_applier_that_was_not_idle(counts: list[str]) -> None:
    """Detaching drops the relay log."""
    found(Variant(no_drain=True), LOST, 2, counts)


def test_rows_lost_to_a_statement_that_outlives_its_guard(counts: list[str]) -> None:
    """Seen: SET hangs while an account statement waits; its guard dies, the next arms, then it comes through."""
    found(Variant(guard_leaves_sessions=True), "in_sync lies", 2, counts, "WRITE", "GUARD")


def test_rows_lost_to_a_reset_that_outlives_its_manager(counts: list[str]) -> None:
    """STOP and RESET REPLICA can hang (error 3857, a hung applier); after a roll back it would drop a new relay log."""
    found(Variant(start_spares_sessions=True), "in_sync lies", 2, counts, "MANAGER", "PERSON")


def test_two_writers_of_a_server_left_off(counts: list[str]) -> None:
    """Seen: Replication Manager opens whatever it holds for the master; read-only with enabled=OFF is no fence."""
    found(Variant(off_without_channel=True, opener=True), "two writers", 1, counts)


def test_two_writers_of_a_candidate_that_stays_online(counts: list[str]) -> None:
    """The promotion dies half way, and Replication Manager opens the candidate with enabled=OFF."""
    found(Variant(candidate_stays_online=True, opener=True), LOST, 2, counts, "MANAGER", "PERSON")


def test_divergence_without_comparison(counts: list[str]) -> None:
    """Seen: crash recovery commits what nobody else has; MySQL lets such a server attach."""
    found(Variant(no_comparison=True), "diverged", 2, counts)


def test_the_replica_that_hangs(counts: list[str]) -> None:
    """Seen: with enabled=ON a replica's applier waits for an ACK of its own: never in sync again."""
    variant = Variant(start_leaves_enabled=True)
    found(variant, "never ends", 1, counts, judge=Liveness(variant))


def test_the_fencer_that_does_not_end(counts: list[str]) -> None:
    """A background fencer that kills the old primary after it became the replica in sync."""
    variant = Variant(fencer_never_ends=True)
    found(variant, "never ends", 2, counts, "POWER", judge=Liveness(variant))


def test_two_writers_of_a_fence_that_believes_switches(counts: list[str]) -> None:
    """An older fence's offline_mode is taken for this one's own: a guard's session in between opens it again."""
    found(Variant(fence_believes_switches=True), LOST, 3, counts, "GUARD", "PERSON")
