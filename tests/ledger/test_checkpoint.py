"""Checkpoints: the shape of a link of the chain."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import checkpoint
from ledger.checkpoint import CHECKPOINT_SIZE_MAX, TIPS_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError
from tests.ledger import samples
from tests.ledger.samples import Draw

NET = Cid.of(b"our network")
TARGET = Cid.of(b"a checkpoint")


@pytest.mark.parametrize("number", range(20))
def test_a_checkpoint_survives_its_encoding(number: int):
    """Parsed, it is equal and has the same id."""
    made = samples.checkpoint(Draw("checkpoint", number), net=NET)
    assert checkpoint.parse_checkpoint(made.encode(), net=NET) == made
    assert made.id == Cid.of(made.encode())


def test_a_checkpoint_with_all_its_tips_fits():
    """64 tips and the largest numbers stay within half of the limit."""
    tips = tuple(sorted(Cid.of(bytes([n])) for n in range(TIPS_MAX)))
    full = msgspec.structs.replace(
        samples.checkpoint(Draw("full"), net=NET), tips=tips, n=2**63 - 1, T=2**63 - 1
    )
    assert len(full.encode()) <= CHECKPOINT_SIZE_MAX // 2
    assert checkpoint.parse_checkpoint(full.encode(), net=NET) == full


TIPS = tuple(sorted((Cid.of(b"1"), Cid.of(b"2"))))


@pytest.mark.parametrize(
    ("damage", "changes"),
    [
        ("another version", {"v": 1}),
        ("height 0", {"height": 0, "parent": None, "cert": None}),
        ("slot 0", {"slot": 0}),
        ("a parent that nothing shows", {"height": 2, "parent": TARGET, "cert": None}),
        ("height 1 with a parent", {"height": 1, "parent": TARGET, "cert": TARGET}),
        ("height 2 without a parent", {"height": 2, "parent": None, "cert": None}),
        ("tips not sorted", {"tips": TIPS[::-1]}),
        ("a tip twice", {"tips": TIPS[:1] * 2}),
        ("65 tips", {"tips": tuple(sorted(Cid.of(bytes([n])) for n in range(65)))}),
        ("a root of 31 bytes", {"sroot": bytes(31)}),
        ("a root of 33 bytes", {"eroot": bytes(33)}),
    ],
)
def test_a_checkpoint_out_of_shape_is_refused(damage: str, changes: dict[str, Any]):
    """Each breaks one rule of the docstring."""
    bad = msgspec.structs.replace(samples.checkpoint(Draw("shape"), net=NET), **changes)
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_checkpoint(bad.encode(), net=NET)
    assert refused.value.code == "bad_schema", damage


def test_a_checkpoint_of_another_network_is_refused():
    """As events are."""
    other = samples.checkpoint(Draw("other"))
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_checkpoint(other.encode(), net=NET)
    assert refused.value.code == "wrong_network"


def test_bytes_over_the_limit_are_refused_unread():
    """`oversize`, before anything is decoded."""
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_checkpoint(bytes(CHECKPOINT_SIZE_MAX + 1), net=NET)
    assert refused.value.code == "oversize"


@given(st.integers(0, 5), st.data())
@settings(max_examples=150)
def test_damaged_bytes_are_another_checkpoint_or_refused(number: int, data: st.DataObject):
    good = samples.checkpoint(Draw("checkpoint", number), net=NET).encode()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = (
        good[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda b: b != good[at]))]) + good[at + 1 :]
    )
    with contextlib.suppress(RemoteError):
        assert checkpoint.parse_checkpoint(damaged, net=NET).encode() == damaged
