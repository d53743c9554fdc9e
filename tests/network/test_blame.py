"""Faults add up within a while, bans end, memory is bounded."""

from __future__ import annotations

from network.blame import PEERS_MAX, Blame


def test_so_many_faults_ban_a_peer_for_so_long():
    blame = Blame(3, ban_s=60)
    assert [blame.hold("p", now) for now in (0, 1, 2)] == [False, False, True]
    assert blame.is_banned("p", 61)
    assert not blame.is_banned("p", 62)
    assert not blame.is_banned("q", 3)


def test_a_fatal_fault_bans_at_once():
    blame = Blame(3, ban_s=60)
    assert blame.hold("p", 0, fatal=True)
    assert blame.is_banned("p", 59)


def test_faults_far_apart_do_not_add_up():
    blame = Blame(2, ban_s=60)
    assert [blame.hold("p", now) for now in (0, 61, 122)] == [False, False, False]
    assert blame.hold("p", 123)


def test_after_a_ban_the_count_begins_anew():
    blame = Blame(2, ban_s=60)
    assert [blame.hold("p", now) for now in (0, 1, 100, 101)] == [False, True, False, True]


def test_memory_is_bounded_whoever_comes():
    blame = Blame(2, ban_s=60)
    for number in range(PEERS_MAX + 100):
        blame.hold(f"once {number}", 0)
        blame.hold(f"banned {number}", 0, fatal=True)
    assert repr(blame) == f"<Blame {PEERS_MAX} counted, {PEERS_MAX} banned>"
    assert not blame.is_banned("banned 0", 1)
