"""Many signatures at once are judged like one after the other, whichever thread is quicker."""

from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import event as events
from ledger import signing, verifying, zip215
from ledger.event import Event
from ledger.verifying import TURN, WORTH_A_THREAD, count_signed
from tests.ledger.world import Author, make_genesis, pay

MANY = 3 * WORTH_A_THREAD
AUTHOR = Author(make_genesis(alice=1_000), "alice")
GOOD = [AUTHOR.says(pay("bob", 1)) for _ in range(MANY)]


def forged(event: Event) -> Event:
    return msgspec.structs.replace(event, signature=event.signature[:32] + bytes(32))


@given(st.integers(0, MANY), st.sets(st.integers(0, MANY - 1), max_size=6))
@settings(max_examples=40, deadline=None)
def test_it_counts_up_to_the_first_bad_signature(length: int, bad: set[int]):
    """For batches of any length, below and above what is worth a thread."""
    batch = [forged(event) if n in bad else event for n, event in enumerate(GOOD[:length])]
    assert count_signed(batch) == min((n for n in bad if n < length), default=length)


def test_one_call_judges_one_bad_signature_the_slow_way(monkeypatch: pytest.MonkeyPatch):
    """3 ms for each of a thousand bad ones would keep a node busy at no cost to the sender."""
    asked: list[bytes] = []

    def count(public: bytes, message: bytes, signature: bytes) -> bool:
        asked.append(signature)
        return False

    monkeypatch.setattr(zip215, "verify", count)
    assert count_signed([*GOOD[:5], *map(forged, GOOD[5:])]) == 5
    assert len(asked) == 1


def test_what_only_the_whole_rule_accepts_is_accepted_in_a_batch(monkeypatch: pytest.MonkeyPatch):
    """libsodium's no is not final: here it refuses a good signature in every second turn."""
    odd = {event.signature for event in GOOD[:: 2 * TURN]}
    quick = signing.is_surely_good
    monkeypatch.setattr(
        events, "is_surely_good", lambda public, signed: signed[:64] not in odd and quick(public, signed)
    )
    assert count_signed(GOOD) == MANY
    last = MANY - 1
    assert count_signed([*GOOD[:last], forged(GOOD[last])]) == last


def test_a_slow_thread_does_not_hide_what_it_finds(monkeypatch: pytest.MonkeyPatch):
    """The bad one is in the first turn, and its thread is held up until the other has found a later one."""
    later = threading.Event()
    quick = events.is_surely_signed

    def judge(event: Event) -> bool:
        if event is batch[1]:
            assert later.wait(5), "the other thread found nothing"
        good = quick(event)
        if event is batch[TURN]:
            later.set()
        return good

    batch = [forged(event) if n in (1, TURN) else event for n, event in enumerate(GOOD)]
    monkeypatch.setattr(verifying, "is_surely_signed", judge)
    assert count_signed(batch) == 1


def test_a_fault_in_the_second_thread_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    """Nothing counts as signed because somebody did not get round to looking."""
    here = threading.current_thread()
    quick = events.is_surely_signed
    other_came = threading.Event()

    def judge(event: Event) -> bool:
        if threading.current_thread() is not here:
            other_came.set()
            raise MemoryError("no room")
        assert other_came.wait(5), "there is no second thread"
        return quick(event)

    monkeypatch.setattr(verifying, "is_surely_signed", judge)
    with pytest.raises(MemoryError):
        count_signed(GOOD)
