"""The quick way to read a header gives the answer of the long way, or none."""

from __future__ import annotations

from typing import Any

import cbrrr
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import HEADER_SIZE_MAX, Header, _unusual_header
from ledger.header_grammar import usual_fields

NUMBERS = st.one_of(
    st.integers(0, 2**63 - 1),
    st.sampled_from([0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**63 - 1]),
)
CIDS = st.builds(
    lambda data, raw: Cid.of_raw(data) if raw else Cid.of(data), st.binary(max_size=8), st.booleans()
)
KEYS = st.binary(min_size=32, max_size=32)
KINDS = st.one_of(
    st.sampled_from(["transfer", "av", "a", "kav", "job.submit", "x" * 23, "x" * 24, "é", "a\x01b"]),
    st.text(min_size=1, max_size=30).filter(lambda text: _is_legal(text)),
)


def _is_legal(text: str) -> bool:
    try:
        canonical.check_text(text)
    except RemoteError:
        return False
    return True


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a header that the schema allows."""
    fields: dict[str, Any] = {
        "v": 1,
        "net": draw(CIDS),
        "by": draw(KEYS),
        "lane": draw(st.integers(0, 2)),
        "seq": draw(NUMBERS),
        "lc": max(1, draw(NUMBERS)),
        "ts": draw(NUMBERS),
        "k": draw(KINDS),
        "kv": draw(st.integers(1, 2**31)),
        "body": draw(CIDS),
        "bl": draw(st.integers(0, 64 * 1024)),
    }
    for name, values in (("prev", CIDS), ("acct", KEYS), ("exp", NUMBERS)):
        if draw(st.booleans()):
            fields[name] = draw(values)
    if draw(st.booleans()):
        fields["par"] = draw(st.lists(CIDS, min_size=1, max_size=8))
    return fields


def encoded(fields: dict[str, Any]) -> bytes:
    return cbrrr.encode_dag_cbor(fields, cid_type=Cid)


def long_way(data: bytes) -> Header | None:
    try:
        return _unusual_header(data)
    except RemoteError:
        return None


@given(headers())
@settings(max_examples=400)
def test_what_is_usual_is_read_quickly_and_alike(fields: dict[str, Any]):
    data = encoded(fields)
    quick, kind = usual_fields(data), fields["k"]
    if len(data) <= HEADER_SIZE_MAX:
        assert long_way(data) is not None
    if quick is None:
        assert len(kind) > 23 or not all(" " <= character <= "~" for character in kind)
    else:
        assert Header(*quick) == long_way(data)


@given(headers(), st.data())
@settings(max_examples=600)
def test_damaged_bytes_are_never_read_when_the_long_way_refuses_them(
    fields: dict[str, Any], data: st.DataObject
):
    """One byte changed, inserted or left out: the same answer as the long way, or none."""
    whole = bytearray(encoded(fields))
    at = data.draw(st.integers(0, len(whole) - 1))
    match data.draw(st.sampled_from(["change", "insert", "remove"])):
        case "change":
            whole[at] = data.draw(st.integers(0, 255))
        case "insert":
            whole.insert(at, data.draw(st.integers(0, 255)))
        case _:
            del whole[at]
    quick = usual_fields(bytes(whole))
    assert quick is None or Header(*quick) == long_way(bytes(whole))


WRONG: list[dict[str, Any]] = [
    {"v": 2},
    {"v": 0},
    {"lane": 3},
    {"lc": 0},
    {"kv": 0},
    {"kv": 2**31 + 1},
    {"bl": 64 * 1024 + 1},
    {"seq": 2**63},
    {"by": bytes(31)},
    {"by": bytes(33)},
    {"acct": None},
    {"exp": None},
    {"par": []},
    {"par": [Cid.of(b"%d" % n) for n in range(9)]},
    {"net": bytes(36)},
    {"body": bytes(36)},
    {"more": 1},
    {"k": ""},
    {"ts": -1},
    {"ts": 1.5},
]


@given(headers(), st.sampled_from(WRONG))
def test_what_the_schema_refuses_is_never_read(fields: dict[str, Any], wrong: dict[str, Any]):
    assert usual_fields(encoded(fields | wrong)) is None


@given(st.binary(max_size=400))
def test_rubbish_is_not_read(data: bytes):
    assert usual_fields(data) is None


def test_a_number_in_a_longer_form_is_not_read():
    """Each number one step longer than it must be."""
    fields: dict[str, Any] = {
        "v": 1,
        "net": Cid.of(b""),
        "by": bytes(32),
        "lane": 0,
        "seq": 0,
        "lc": 5,
        "ts": 6,
        "k": "k",
        "kv": 1,
        "body": Cid.of(b""),
        "bl": 7,
    }
    data = encoded(fields)
    assert usual_fields(data) is not None
    for name, value in (("lc", 5), ("ts", 6), ("bl", 7), ("kv", 1), ("seq", 0), ("lane", 0)):
        key = bytes((0x60 + len(name),)) + name.encode()
        for longer in (b"\x18", b"\x19\x00", b"\x1a" + bytes(3), b"\x1b" + bytes(7)):
            assert usual_fields(data.replace(key + bytes((value,)), key + longer + bytes((value,)))) is None
