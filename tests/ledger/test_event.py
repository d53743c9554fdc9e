"""The event: what its bytes must be before anybody asks what they mean."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical, event
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import BODY_SIZE_MAX, HEADER_SIZE_MAX, LANE_LEDGER, WIRE_SIZE_MAX, Event
from ledger.signing import Domain, SigningKey
from tests.ledger import samples
from tests.ledger.samples import Draw

NET = Cid.of(b"our network")
ALICE = SigningKey(b"a" * 32)
FIRST, SECOND = sorted((Cid.of(b"1"), Cid.of(b"2")))


def transfer(**changes: Any) -> Event:
    """The second event of Alice's ledger lane, which saw the tip of another lane."""
    parts: dict[str, Any] = {
        "net": NET, "lane": LANE_LEDGER, "seq": 1, "prev": FIRST, "parents": (SECOND,), "lc": 2, "ts": 1000,
        "kind": "account.transfer", "body": {"to": bytes(32), "amount": 25},
    }  # fmt: skip
    return event.make(ALICE, **{**parts, **changes})


def signed(header: dict[str, Any], body: bytes | None) -> bytes:
    """A wire form with any header at all, and a genuine signature."""
    data = canonical.encode(header)
    return canonical.encode({"h": data, "s": ALICE.sign(Domain.EVENT, data), "b": body})


def with_header(**changes: Any) -> bytes:
    good = transfer()
    header = {**canonical.decode(good.header_bytes, size_max=HEADER_SIZE_MAX), **changes}
    return signed({key: value for key, value in header.items() if value is not ...}, good.body)


def code_of(wire: bytes, net: Cid = NET) -> str:
    with pytest.raises(RemoteError) as refused:
        event.parse(wire, net=net)
    return refused.value.code


@pytest.mark.parametrize("number", range(20))
def test_what_was_made_parses_to_the_same_event(number: int):
    """Every field, the exact bytes, the id."""
    made = samples.an_event(Draw("made", number), net=NET)
    parsed = event.parse(made.wire, net=NET)
    assert parsed == made
    assert parsed.id == Cid.of(parsed.header_bytes)
    assert parsed.wire == made.wire


def test_the_id_covers_the_header_and_the_body_but_not_the_signature():
    """Two valid signatures of one header are one event; another body is another event."""
    good = transfer()
    assert transfer(body={"to": bytes(32), "amount": 26}).id != good.id
    assert transfer(ts=1001).id != good.id
    other = canonical.encode({"h": good.header_bytes, "s": bytes(64), "b": good.body})
    assert event.parse(other, net=NET, verify_signature=False).id == good.id


def test_an_event_says_whose_it_is_and_what_it_needs():
    """The account is the signer unless it acts for another; prev comes before the other parents."""
    assert transfer().account == ALICE.public
    assert transfer(acct=b"b" * 32).account == b"b" * 32
    assert transfer().lane == (ALICE.public, LANE_LEDGER)
    assert transfer().parents == (FIRST, SECOND)
    assert transfer(seq=0, prev=None).parents == (SECOND,)
    assert "account.transfer" in repr(transfer())


def test_parents_are_sorted_and_named_once():
    """Whatever order the caller saw them in."""
    assert transfer(seq=0, prev=None, parents=(SECOND, FIRST, SECOND)).header.par == (FIRST, SECOND)


def test_a_pruned_body_leaves_a_valid_event():
    """Bodies can go, headers never."""
    good = transfer()
    pruned = event.parse(canonical.encode({"h": good.header_bytes, "s": good.signature, "b": None}), net=NET)
    assert pruned.id == good.id
    assert pruned.body is None


@pytest.mark.parametrize(
    ("damage", "changes"),
    [
        ("a field that does not exist", {"x": 1}),
        ("a field missing", {"ts": ...}),
        ("another envelope version", {"v": 2}),
        ("lane 3", {"lane": 3}),
        ("lc 0", {"lc": 0}),
        ("a key of 31 bytes", {"by": bytes(31)}),
        ("nine parents", {"par": sorted(Cid.of(bytes([n])) for n in range(9))}),
        ("parents not sorted", {"par": [SECOND, FIRST], "seq": 0, "prev": ...}),
        ("a parent twice", {"par": [SECOND, SECOND]}),
        ("prev among the parents", {"par": [FIRST, SECOND]}),
        ("seq 0 with a prev", {"seq": 0}),
        ("seq 1 without a prev", {"prev": ...}),
        ("acting for itself", {"acct": ALICE.public}),
        ("no kind", {"k": ""}),
        ("a kind of 256 letters", {"k": "k" * 256}),
        ("schema version 0", {"kv": 0}),
        ("a body longer than any may be", {"bl": 64 * 1024 + 1}),
        ("bytes for a link", {"body": bytes(36)}),
        ("text for a number", {"ts": "1000"}),
        ("true for a number", {"seq": True}),
        ("a link for a key", {"by": FIRST}),
    ],
)
def test_a_header_out_of_shape_is_refused(damage: str, changes: dict[str, Any]):
    """Although its signature is genuine: `bad_schema`."""
    assert code_of(with_header(**changes)) == "bad_schema", damage


@pytest.mark.parametrize(
    "changes", [{"par": []}, {"acct": None}, {"exp": None}, {"seq": 0, "prev": None}], ids=str
)
def test_an_empty_field_is_left_out_and_not_written_down(changes: dict[str, Any]):
    """A null or an empty list would be a second encoding of the same header, so two ids for one content."""
    assert code_of(with_header(**changes)) == "non_canonical"
    without = transfer(parents=(), seq=0, prev=None)
    header = canonical.decode(without.header_bytes, size_max=HEADER_SIZE_MAX)
    assert not {"par", "acct", "exp", "prev"} & header.keys()


@pytest.mark.parametrize("field", ["v", "lane", "seq", "lc", "ts", "kv", "bl", "exp"])
@pytest.mark.parametrize("number", [1.0, 0.0, -1, 2**63, 2**64 - 1, -(2**63)])
def test_a_number_is_an_integer_of_63_bits(field: str, number: float):
    """The quick decoder does not walk over the header's values: its schema must refuse these by itself."""
    assert code_of(with_header(**{field: number})) == "bad_schema"


def test_an_event_of_another_network_is_refused():
    """The genesis id is signed with the event: no replay."""
    assert code_of(transfer().wire, net=Cid.of(b"another network")) == "wrong_network"


def test_a_body_that_the_header_does_not_name_is_refused():
    """Changed, longer or shorter."""
    good = transfer()
    assert good.body is not None
    for body in (b"\xa0", good.body[:-1], good.body + b"\x00", good.body[:-1] + bytes([good.body[-1] ^ 1])):
        wire = canonical.encode({"h": good.header_bytes, "s": good.signature, "b": body})
        assert code_of(wire) == "bad_body"


def test_a_body_that_is_not_canonical_is_refused():
    """The header names it rightly, but it is not DAG-CBOR as we know it."""
    assert code_of(transfer(body=b"\x18\x01").wire) == "non_canonical"


def test_a_forged_signature_is_refused():
    """By another key, over another domain, or with a bit changed."""
    good = transfer()
    for signature in (
        SigningKey(b"m" * 32).sign(Domain.EVENT, good.header_bytes),
        ALICE.sign(Domain.VOTE, good.header_bytes),
        bytes([good.signature[0] ^ 1]) + good.signature[1:],
    ):
        wire = canonical.encode({"h": good.header_bytes, "s": signature, "b": good.body})
        assert code_of(wire) == "bad_signature"
        assert event.parse(wire, net=NET, verify_signature=False).id == good.id


@pytest.mark.parametrize(
    "outer",
    [
        [],
        {},
        None,
        {"h": b"", "s": bytes(64)},
        {"h": b"", "s": bytes(64), "b": None, "x": 1},
        {"h": "", "s": bytes(64), "b": None},
        {"h": b"", "s": bytes(63), "b": None},
        {"h": FIRST, "s": bytes(64), "b": None},
        {"h": transfer().header_bytes, "s": transfer().signature, "b": "text"},
        {"h": transfer().header_bytes, "s": transfer().signature, "b": FIRST},
    ],
    ids=str,
)
def test_an_envelope_out_of_shape_is_refused(outer: Any):
    """A map of exactly h, s and b, of bytes, bytes and bytes or null."""
    assert code_of(canonical.encode(outer)) == "bad_schema"


@pytest.mark.parametrize("lane", sorted(BODY_SIZE_MAX))
def test_a_body_at_the_limit_of_its_lane_is_accepted(lane: int):
    """To the byte; and the whole of it is within the limit of the wire."""
    body = canonical.encode(bytes(BODY_SIZE_MAX[lane] - 3))  # 3: the head of a byte string this long
    assert len(body) == BODY_SIZE_MAX[lane]
    made = transfer(lane=lane, body=body)
    assert len(made.wire) <= WIRE_SIZE_MAX
    assert event.parse(made.wire, net=NET).body == body


def test_a_body_over_the_limit_of_its_lane_is_refused():
    """A bulk-sized body on the ledger lane, which a peer can sign but we would not make."""
    body = canonical.encode(bytes(20_000))
    header = canonical.decode(transfer().header_bytes, size_max=HEADER_SIZE_MAX)
    wire = signed({**header, "body": Cid.of(body), "bl": len(body)}, body)
    assert code_of(wire) == "oversize"
    with pytest.raises(AssertionError, match="limit"):
        transfer(body=body)


def test_a_header_over_its_limit_is_refused():
    """All that a header may hold, and a kind that is too long for it together."""
    parents = tuple(sorted(Cid.of(bytes([n])) for n in range(8)))
    full = transfer(parents=parents, acct=bytes(32), exp=2**60, kind="k" * 255)
    assert len(full.header_bytes) <= HEADER_SIZE_MAX, "the largest header by schema fits the limit"
    assert code_of(canonical.encode({"h": bytes(1025), "s": bytes(64), "b": None})) == "oversize"


def test_bytes_over_the_wire_limit_are_refused_unread():
    """The limit is looked at before anything else."""
    assert code_of(bytes(WIRE_SIZE_MAX + 1)) == "oversize"


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_an_event_or_refused(data: bytes):
    """A value, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert event.parse(data, net=NET).wire == data


@given(st.integers(0, 10), st.data())
@settings(max_examples=200)
def test_a_damaged_event_is_refused(number: int, data: st.DataObject):
    """Bytes changed, cut out or put in anywhere: nothing but the original passes."""
    good = samples.an_event(Draw("damaged", number), net=NET).wire
    at = data.draw(st.integers(0, len(good)))
    until = data.draw(st.integers(at, min(len(good), at + 3)))
    damaged = good[:at] + data.draw(st.binary(max_size=3)) + good[until:]
    if damaged != good:
        with pytest.raises(RemoteError):
            event.parse(damaged, net=NET)


plain = (
    st.none()
    | st.booleans()
    | st.integers(0, 2**63 - 1)
    | st.text("kéß", max_size=3)
    | st.binary(max_size=36)
)


@given(st.sampled_from(event.Header.__struct_fields__), plain | st.just(FIRST) | st.lists(plain, max_size=9))
@settings(max_examples=200)
def test_a_field_of_any_type_is_a_header_or_refused(field: str, value: Any):
    """Whatever a signer puts into a field: a value, or RemoteError."""
    with contextlib.suppress(RemoteError):
        parsed = event.parse(with_header(**{field: value}), net=NET)
        assert getattr(parsed.header, field) == (tuple(value) if isinstance(value, list) else value)


def test_an_event_cannot_be_changed():
    """Neither the event nor its header."""
    good = transfer()
    with pytest.raises(AttributeError):
        good.header.seq = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        good.wire = b""  # type: ignore[misc]
