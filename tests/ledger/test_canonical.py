"""One value, one byte string: what the codec refuses, one row a kind of damage."""

from __future__ import annotations

import contextlib
import math
import tracemalloc
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.alphabet import is_written_in_it
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.types import Uint

LINK = bytes(Cid.of(b"x")).hex()

REFUSED = """
    repeated key                    a2 6161 01 6161 02
    keys in the wrong order         a2 6162 01 6161 02
    longer key before shorter       a2 626161 01 6162 02
    integer in 2 bytes for 1        18 01
    integer in 3 bytes for 2        19 00ff
    integer in 5 bytes for 3        1a 0000ffff
    integer in 9 bytes for 5        1b 00000000ffffffff
    long form of a byte length      58 01 00
    long form of a text length      78 01 61
    long form of a list length      98 01 01
    long form of a map length       b8 01 6161 01
    half float                      f9 3c00
    single float                    fa 3f800000
    double float                    fb 3ff0000000000000
    not a number                    fb 7ff8000000000000
    infinity                        fb 7ff0000000000000
    minus zero                      fb 8000000000000000
    indefinite bytes                5f 41 01 ff
    indefinite text                 7f 61 61 ff
    indefinite list                 9f 01 ff
    indefinite map                  bf 6161 01 ff
    a byte after the end            01 00
    cut off                         a2 6161
    nothing
    undefined                       f7
    simple value 0                  e0
    simple value 255                f8 ff
    true in two bytes               f8 15
    integer as key                  a1 01 01
    bytes as key                    a1 4161 01
    null as key                     a1 f6 01
    broken UTF-8                    61 ff
    surrogate in UTF-8              63 eda080
    overlong UTF-8                  62 c080
    text not in NFC                 63 65cc81
    key not in NFC                  a1 63 65cc81 01
    tag 0                           c0 6161
    bignum                          c2 41 01
    minus one                       20
    minus 2^63                      3b 7fffffffffffffff
    2^63                            1b 8000000000000000
    2^64 - 1                        1b ffffffffffffffff
    link without its leading 0      d82a 41 01
    link that is text               d82a 6161
    link to nothing                 d82a 41 00
    link to garbage                 d82a 45 0001020304
    link of 35 bytes                d82a 5824 00 LINK35
    link of 37 bytes                d82a 5826 00 LINK 00
    link of CIDv0                   d82a 5823 00 LINK34
    tag 42 in long form             d9002a 5825 00 LINK
    link length in long form        d82a 590025 00 LINK
    list said to be huge            9b ffffffffffffffff
    bytes said to be huge           5b ffffffffffffff00
    list said to hold 2^28          9a 10000000
    reserved head                   1c
    break alone                     ff
    nine containers                 81 81 81 81 81 81 81 81 81 01
    nine containers, the last empty 81 81 81 81 81 81 81 81 80
    nine maps                       a16161 a16161 a16161 a16161 a16161 a16161 a16161 a16161 a16161 01
"""


def refused_rows() -> list[Any]:
    rows = []
    for line in REFUSED.strip().splitlines():
        name, _, text = line.strip().partition("  ")
        text = text.replace("LINK35", LINK[:-2]).replace("LINK34", LINK[4:]).replace("LINK", LINK)
        rows.append(pytest.param(bytes.fromhex(text), id=name))
    return rows


@pytest.mark.parametrize("data", refused_rows())
def test_bytes_that_are_not_the_one_encoding_are_refused(data: bytes):
    """Each row is something that another decoder lets through, or that would mean two encodings."""
    with pytest.raises(RemoteError) as refused:
        canonical.decode(data, size_max=1000)
    assert refused.value.code == "non_canonical"


characters = st.characters(exclude_categories=("Cs", "Cn")).filter(is_written_in_it)
texts = st.text(characters, max_size=12).map(lambda text: unicodedata.normalize("NFC", text))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(0, canonical.INT_MAX)
    | texts
    | st.binary(max_size=40)
    | st.binary(max_size=5).map(Cid.of)
    | st.binary(max_size=5).map(Cid.of_raw)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(values.filter(lambda value: depth(value) <= canonical.DEPTH_MAX))
def test_a_value_survives_and_a_second_encoding_is_the_same(value: Any):
    """`decode(encode(v)) == v`, with links still links, and key order of no consequence."""
    data = canonical.encode(value)
    again = canonical.decode(data, size_max=len(data))
    assert again == value
    assert canonical.encode(again) == data
    if isinstance(value, dict):
        assert canonical.encode(dict(reversed(value.items()))) == data


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_are_a_value_or_refused(data: bytes):
    """A value that encodes to the same bytes, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert canonical.encode(canonical.decode(data, size_max=60)) == data


@given(values, st.data())
@settings(max_examples=300)
def test_damaged_encodings_are_another_value_or_refused(value: Any, data: st.DataObject):
    """Bytes changed, cut out or put in at one place of a valid encoding."""
    good = canonical.encode(value)
    at = data.draw(st.integers(0, len(good)))
    until = data.draw(st.integers(at, min(len(good), at + 3)))
    damaged = good[:at] + data.draw(st.binary(max_size=3)) + good[until:]
    with contextlib.suppress(RemoteError):
        assert canonical.encode(canonical.decode(damaged, size_max=4096)) == damaged


@pytest.mark.parametrize("levels", [10, 1000, 100_000])
def test_depth_is_refused_and_does_not_eat_the_stack(levels: int):
    """A hundred thousand lists inside each other are one refusal, not a crash."""
    with pytest.raises(RemoteError, match="containers"):
        canonical.decode(b"\x81" * levels + b"\x01", size_max=200_000)


@given(values.filter(lambda value: depth(value) < canonical.DEPTH_MAX), st.booleans())
def test_the_look_at_depth_refuses_no_long_value_that_is_fine(value: Any, first: bool):
    """Long inputs are scanned before they are decoded; the scan must read each head as the decoder does."""
    long = bytes(canonical.UNSCANNED_MAX)
    whole = [long, value] if first else [value, long]
    data = canonical.encode(whole)
    assert canonical.decode(data, size_max=len(data)) == whole


def test_lists_that_claim_to_be_huge_do_not_cost_memory():
    """64 KiB of heads inside each other, each claiming all the bytes behind it: a refusal in no time."""
    heads = b"".join(b"\x99" + (65_000 - 3 * n).to_bytes(2, "big") for n in range(21_000))
    tracemalloc.start()
    with pytest.raises(RemoteError):
        canonical.decode(heads, size_max=len(heads))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_eight_containers_are_allowed():
    """The limit itself is inside."""
    assert canonical.decode(b"\x81" * 8 + b"\x01", size_max=9)


def test_size_is_looked_at_first():
    """Garbage over the limit is `oversize`, without being read."""
    with pytest.raises(RemoteError) as refused:
        canonical.decode(b"\xff" * 11, size_max=10)
    assert refused.value.code == "oversize"


@pytest.mark.parametrize("edge", [0, 23, 24, 255, 256, 2**32 - 1, 2**32, 2**53 + 1, canonical.INT_MAX])
def test_integers_keep_their_value_up_to_63_bits(edge: int):
    """Also past 2^53, where a float would lose it."""
    assert canonical.decode(canonical.encode(edge), size_max=9) == edge


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: Uint
    tags: tuple[str, ...] = ()
    link: Cid | None = None


def test_a_struct_is_a_map_and_comes_back():
    """Tuples travel as lists, links as links."""
    point = Point(7, ("a", "b"), Cid.of(b""))
    data = canonical.encode(point)
    assert data == canonical.encode({"x": 7, "tags": ["a", "b"], "link": Cid.of(b"")})
    assert canonical.decode_as(Point, data, size_max=200) == point


@pytest.mark.parametrize(
    ("damage", "value"),
    [
        ("a field more", {"x": 1, "y": 2}),
        ("a field missing", {}),
        ("text for a number", {"x": "1"}),
        ("a number for text", {"x": 1, "tags": [1]}),
        ("true for a number", {"x": True}),
        ("bytes for a link", {"x": 1, "link": bytes(Cid.of(b""))}),
        ("a list for a map", [1]),
        ("null for a map", None),
    ],
)
def test_a_value_of_another_shape_is_refused(damage: str, value: Any):
    """Closed schemas, strict types: `bad_schema`."""
    with pytest.raises(RemoteError) as refused:
        canonical.decode_as(Point, canonical.encode(value), size_max=200)
    assert refused.value.code == "bad_schema", damage


def test_no_float_is_special():
    """Not even the ones that equal integers."""
    for number in (0.0, 1.0, -0.0, 1e300, math.pi):
        with pytest.raises(RemoteError):
            canonical.decode(canonical.encode([number]), size_max=20)


class Pear(msgspec.Struct, frozen=True, tag_field="t", tag="pear"):
    weight: Uint
    link: Cid | None = None


class Fig(msgspec.Struct, frozen=True, tag_field="t", tag="fig"):
    name: str


fruits = st.builds(Pear, st.integers(0, 2**63 - 1), st.sampled_from([None, Cid.of(b"x")])) | st.builds(
    Fig, st.text(max_size=30)
)


@given(st.lists(fruits, max_size=20), st.integers(1, 20))
def test_many_of_our_own_are_read_at_once_as_each_alone(some: list[Pear | Fig], times: int) -> None:
    """Up to 400 of them, so that the head of their list has several forms."""
    own = [canonical.encode(fruit) for fruit in some] * times
    assert canonical.decode_all_own(Pear | Fig, own, size_max=200) == some * times  # type: ignore[arg-type]
    for data, fruit in zip(own, some, strict=False):
        assert canonical.decode_own(Pear | Fig, data, size_max=200) == fruit  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 257, 511, 512, 70_000])
def test_a_list_of_any_length_is_read_at_once(count: int) -> None:
    assert canonical.decode_all_own(int, [b"\x07"] * count, size_max=1) == [7] * count


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\xa1\x61x\x01", "bad_schema"),
        (b"\xa1", "non_canonical"),
        (b"", "non_canonical"),
        (canonical.encode(Fig("x" * 200)), "oversize"),
    ],
)
def test_one_that_cannot_be_read_among_many_refuses_them_all(bad: bytes, code: str) -> None:
    good = canonical.encode(Pear(1))
    with pytest.raises(RemoteError) as refused:
        canonical.decode_all_own(Pear | Fig, [good, bad, good], size_max=200)  # type: ignore[arg-type]
    assert refused.value.code == code


def test_what_is_wrong_with_one_of_several_kinds_is_said_where_it_is() -> None:
    """A union is read inside a struct of ours, of which nobody hears."""
    with pytest.raises(RemoteError, match=r"Expected `int` >= 0 - at `\$\.weight`"):
        canonical.shape(Pear | Fig, {"t": "pear", "weight": -1})  # type: ignore[arg-type]
