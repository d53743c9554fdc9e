"""Readers of events, of what is made of events, and of the codec below them."""

from __future__ import annotations

from random import Random
from typing import Any

from domain.rules.codes import Refused
from domain.rules.execute import payload_of
from ledger import blob, canonical, event, forks, genesis
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.header_grammar import usual_fields
from ledger.merkle_map import Proof, verify_proof
from ledger.signing import Domain, verify_raw
from tests.fuzz.cast import NET, closed, opened, signer
from tests.fuzz.target import CANONICAL, SCHEMA, Target

EVENT = SCHEMA | {"wrong_network", "bad_body", "bad_signature"}


def read_value(data: bytes) -> bytes:
    return canonical.encode(canonical.decode(data, size_max=64 * 1024))


def read_cid(data: bytes) -> bytes:
    return str(Cid.parse(data.decode("utf-8", "surrogateescape"))).encode()


def read_header(data: bytes) -> bytes:
    """By the quick way and by the long one, which must agree."""
    usual = usual_fields(data)
    if usual is not None:
        try:
            same = canonical.decode_as(event.Header, data, size_max=event.HEADER_SIZE_MAX)
        except RemoteError as error:
            raise RuntimeError(f"the grammar takes what the codec does not: {error}") from error
        assert event.Header(*usual) == same, "the grammar understands something else"
    return canonical.encode(event.parse_header(data, net=NET))


def read_unsigned(data: bytes) -> bytes:
    return _encoded(event.parse(data, net=NET, verify_signature=False))


def read_signed(data: bytes) -> bytes:
    return _encoded(event.parse(data, net=NET))


def _encoded(read: event.Event) -> bytes:
    header = canonical.encode(read.header)
    body = None if read.body is None else read_value(read.body)
    assert read.id == Cid.of(header)
    return canonical.encode({"h": header, "s": read.signature, "b": body})


def read_payload(data: bytes) -> bytes | None:
    """A body under each kind there is; what kinds take is one statement of that kind."""
    value = canonical.decode(data, size_max=event.BODY_SIZE_MAX[event.LANE_LEDGER])
    if type(value) is not list or len(value) != 2 or type(value[0]) is not str or type(value[1]) is not bytes:
        raise RemoteError("no kind and body", code="bad_schema")
    kind, body = value
    canonical.decode(body, size_max=event.BODY_SIZE_MAX[event.LANE_LEDGER])
    header = event.Header(1, NET, bytes(32), 0, 0, 1, 0, kind, 1, Cid.of(body), len(body))
    try:
        payload_of(event.Event(NET, header, b"", b"", body, b""))
    except Refused as refused:
        if any(ord(letter) < 32 for letter in str(refused)):  # it goes into a receipt, and on terminals
            raise RuntimeError("a receipt with control characters") from refused
        raise RemoteError("refused", code=refused.code) from refused
    return None  # a field that has a default may be written or left out: both mean the same, by the rules


def read_fork_proof(data: bytes) -> bytes:
    return forks.parse(data, net=NET).encode()


def read_genesis(data: bytes) -> bytes:
    return genesis.parse(data).encode()


def read_manifest(data: bytes) -> bytes:
    return blob.parse_manifest(data).encode()


def read_map_proof(data: bytes) -> bytes:
    proof = canonical.decode_as(Proof, data, size_max=16 * 1024)
    for value in (None, b"value"):
        assert not verify_proof(b"\x01" * 32, "table", b"key", value, proof), "no map has this root"
    return canonical.encode(proof)


def read_signature(data: bytes) -> None:
    """32 bytes of key, 64 of signature, the message: a yes or a no, never more."""
    assert verify_raw(data[:32], data[96:], data[32:96]) in (True, False)


def mend_body(data: bytes, rng: Random) -> bytes:
    """The header names the body again."""
    outer = opened(data)
    inner = opened(outer.get("h")) if type(outer) is dict and type(outer.get("h")) is bytes else None
    if type(inner) is not dict:
        return data
    if type(outer.get("b")) is bytes:
        inner["body"], inner["bl"] = Cid.of(outer["b"]), len(outer["b"])
    outer["h"] = closed(inner)
    return closed(outer)


def mend_event(data: bytes, rng: Random) -> bytes:
    """And its author signs it again."""
    data = mend_body(data, rng)
    outer = opened(data)
    if type(outer) is not dict or type(outer.get("h")) is not bytes:
        return data
    by = (opened(outer["h"]) or {}).get("by") if type(opened(outer["h"])) is dict else None
    outer["s"] = signer(by, rng).sign(Domain.EVENT, outer["h"])
    return closed(outer)


def mend_fork_proof(data: bytes, rng: Random) -> bytes:
    """Smaller id first, both signed again."""
    proof: Any = opened(data)
    if type(proof) is not dict or not all(type(proof.get(name)) is bytes for name in ("h1", "h2")):
        return data
    one, other = sorted((proof["h1"], proof["h2"]), key=Cid.of)
    key = signer((opened(one) or {}).get("by") if type(opened(one)) is dict else None, rng)
    signed = {"h1": one, "h2": other}
    signed |= {"s1": key.sign(Domain.EVENT, one), "s2": key.sign(Domain.EVENT, other)}
    return closed(proof | signed)


TARGETS = (
    Target("codec", read_value, CANONICAL, share=4),
    Target("cid-text", read_cid, frozenset({"bad_cid"}), is_raw=True, size_max=256, share=0.5),
    Target("header", read_header, EVENT, share=3),
    Target("event", read_unsigned, EVENT, mend=mend_body, share=2.5),
    Target("event-signed", read_signed, EVENT, mend=mend_event, share=0.2),
    Target("payload", read_payload, SCHEMA | {"unknown_kind", "bad_payload"}),
    Target("fork-proof", read_fork_proof, EVENT | {"bad_proof"}, mend=mend_fork_proof, share=0.4),
    Target("genesis", read_genesis, SCHEMA),
    Target("manifest", read_manifest, SCHEMA),
    Target("map-proof", read_map_proof, SCHEMA, share=0.5),
    Target("signature", read_signature, frozenset(), is_raw=True, size_max=256, share=0.005),
)
