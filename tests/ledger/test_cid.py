"""Identifiers: one spelling in bytes, one spelling in text."""

from __future__ import annotations

import contextlib
import hashlib

import cbrrr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import CID_SIZE, Cid
from ledger.errors import RemoteError

HELLO = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"  # `ipfs add --raw-leaves` of "hello"


def test_a_raw_block_has_the_name_that_ipfs_gives_it():
    """sha2-256 of "hello" as CIDv1 raw, in base32: a name that other software made."""
    assert str(Cid.of_raw(b"hello")) == HELLO
    assert Cid.parse(HELLO) == Cid.of_raw(b"hello")


def test_the_name_of_a_block_is_its_hash_and_its_codec():
    """The same bytes as DAG-CBOR and as raw have different names with one digest."""
    block, raw = Cid.of(b"x"), Cid.of_raw(b"x")
    assert block.digest == raw.digest == hashlib.sha256(b"x").digest()
    assert (block.is_raw, raw.is_raw) == (False, True)
    assert block != raw
    assert str(block).startswith("bafyrei")
    assert str(raw).startswith("bafkrei")


@given(st.binary(max_size=40), st.booleans())
def test_text_and_bytes_lead_back_to_the_same_cid(data: bytes, raw: bool):
    """`parse(str(c))` and `checked(bytes(c))` are c."""
    cid = Cid.of_raw(data) if raw else Cid.of(data)
    assert len(cid) == CID_SIZE
    assert Cid.parse(str(cid)) == cid
    assert Cid.checked(bytes(cid)) == cid
    assert repr(cid) == f"Cid({cid})"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("empty", ""),
        ("upper case", HELLO.upper()),
        ("first letter upper case", "B" + HELLO[1:]),
        ("another multibase", "z" + HELLO[1:]),
        ("one letter short", HELLO[:-1]),
        ("one letter more", HELLO + "a"),
        ("a digit that base32 has not", HELLO[:-1] + "1"),
        ("an unused bit set at the end", HELLO[:-1] + "r"),
        ("a letter that is no ASCII", HELLO[:-1] + "é"),
        ("a letter that becomes two in upper case", HELLO[:-1] + "ß"),
        ("padding", HELLO[:-1] + "="),
        ("a CIDv0", "QmWATWQ7fVPP2EFGu71UkfnqhYXDYH566qy47CnJDgvs8u"),
    ],
)
def test_any_other_spelling_is_refused(damage: str, text: str):
    """One thing has one name."""
    with pytest.raises(RemoteError) as refused:
        Cid.parse(text)
    assert refused.value.code == "bad_cid", damage


@pytest.mark.parametrize(
    ("damage", "prefix", "length"),
    [
        ("version 0", "0071 1220", 36),
        ("dag-json", "0129 1220", 36),
        ("sha2-512", "0171 1320", 36),
        ("identity hash", "0155 0020", 36),
        ("a digest length that is not 32", "0171 121f", 36),
        ("a byte short", "0171 1220", 35),
        ("a byte more", "0155 1220", 37),
        ("nothing", "", 0),
    ],
)
def test_other_versions_codecs_and_hashes_do_not_exist(damage: str, prefix: str, length: int):
    """36 bytes with one of two prefixes, or it is no Cid."""
    with pytest.raises(RemoteError) as refused:
        Cid.checked(bytes.fromhex(prefix).ljust(length, b"\x00"))
    assert refused.value.code == "bad_cid", damage


@given(
    st.text(max_size=70)
    | st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=58, max_size=58).map("b".__add__)
)
def test_any_text_is_a_cid_or_refused(text: str):
    """A value, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert str(Cid.parse(text)) == text


@given(st.binary(max_size=40))
def test_any_bytes_are_a_cid_or_refused(data: bytes):
    """A value, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert bytes(Cid.checked(data)) == data


def test_the_codec_tells_a_link_from_bytes_that_look_like_one():
    """36 plain bytes stay plain bytes: only a `Cid` becomes a link."""
    cid = Cid.of(b"x")
    assert cbrrr.encode_dag_cbor(cid, cid_type=Cid) != cbrrr.encode_dag_cbor(bytes(cid), cid_type=Cid)
