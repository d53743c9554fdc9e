"""Heads: one digest when two sides hold the same, exact ranges when they do not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.heads import Head, Lane, Range, conflicting, digest, lacking

A, B = b"a" * 32, b"b" * 32


def tip(text: str) -> Cid:
    return Cid.of(text.encode())


lanes = st.tuples(st.sampled_from([A, B, b"c" * 32]), st.integers(0, 2))
all_heads = st.dictionaries(lanes, st.tuples(st.integers(0, 5), st.sampled_from([tip("x"), tip("y")])))


@given(all_heads, st.randoms(use_true_random=False))
def test_the_digest_does_not_know_the_order_of_learning(heads: dict[Lane, Head], random: object) -> None:
    """Any order of insertion gives the same 32 bytes."""
    items = list(heads.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert digest(dict(items)) == digest(heads)
    assert len(digest(heads)) == 32


@given(all_heads, all_heads)
def test_equal_digests_mean_equal_heads(one: dict[Lane, Head], other: dict[Lane, Head]) -> None:
    """A lane, a seq or an id more or less shows."""
    assert (digest(one) == digest(other)) == (one == other)


def test_the_digest_is_frozen() -> None:
    """Nodes of different versions must agree on it: it is on the wire."""
    heads = {(A, 0): (7, tip("x")), (B, 2): (0, tip("y"))}
    assert digest(heads).hex() == "6561af0982fb2462d4d7cf11e6018c3a50b1001d555ac5abb56eeccc43b1ba95"
    assert digest({}).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_we_lack_is_what_they_have_further() -> None:
    """Whole lanes that are new, the rest of those that are longer; nothing of what we have."""
    ours = {(A, 0): (3, tip("x")), (A, 1): (9, tip("x"))}
    theirs = {(B, 0): (1, tip("y")), (A, 0): (5, tip("z")), (A, 1): (4, tip("w"))}
    assert lacking(ours, theirs) == [Range(A, 0, 4, 5), Range(B, 0, 0, 1)]
    assert lacking(theirs, ours) == [Range(A, 1, 5, 9)]


@given(all_heads, all_heads)
def test_after_fetching_what_is_lacking_nothing_is(ours: dict[Lane, Head], theirs: dict[Lane, Head]) -> None:
    """One round of ranges brings every lane at least as far as theirs."""
    after = dict(ours)
    for by, lane, first, last in lacking(ours, theirs):
        assert first == (ours[by, lane][0] + 1 if (by, lane) in ours else 0)
        after[by, lane] = (last, theirs[by, lane][1])
    assert lacking(after, theirs) == []


def test_a_fork_at_the_head_is_a_conflict_that_ranges_do_not_show() -> None:
    """Same lane, same seq, another event: to be fetched by id."""
    ours = {(A, 0): (3, tip("x")), (B, 0): (1, tip("x"))}
    theirs = {(A, 0): (3, tip("y")), (B, 0): (1, tip("x"))}
    assert lacking(ours, theirs) == []
    assert conflicting(ours, theirs) == [(A, 0)]
