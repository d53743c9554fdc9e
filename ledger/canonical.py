"""One value, one byte string: strict DAG-CBOR and the project's rules on top of it.

`cbrrr` already refuses what DAG-CBOR forbids (unsorted or repeated keys, long forms of numbers,
indefinite lengths, undefined, broken UTF-8, trailing bytes). On top of that, here:

    floats        refused, all of them: JavaScript reads 1.0 and writes 1
    integers      0 .. 2^63-1
    links         exactly a `Cid`: 36 bytes, sha2-256, dag-cbor or raw
    text          Unicode NFC, so that what looks equal is equal; only characters that every node knows
    depth         at most 8 containers inside each other
    items         at most 65,536, or one for every 7 bytes, whichever is more
    size          at most what the caller allows, looked at before anything else

What must always hold: `encode(decode(b)) == b` for every `b` that `decode` accepts. It is compared on
every call, so a disagreement between decoder and encoder rejects the bytes rather than split the ledger.

Fuzz contract: `decode` returns a value or raises RemoteError, never anything else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, TypeVar

import cbrrr
import msgspec
from msgspec import inspect

from ledger.alphabet import is_written_in_it
from ledger.cid import Cid
from ledger.errors import RemoteError

INT_MAX = 2**63 - 1
DEPTH_MAX = 8

ITEMS_MAX = 64 * 1024
"""As many as the body of an event could have. Each costs the reader 70 bytes and a microsecond, however short
it is on the wire."""

BYTES_PER_ITEM_MIN = 7
"""Of values with more items than that. The densest: a job's inputs with 7.4, ranges of sync with 7.6."""

UNSCANNED_MAX = 1024
"""Bytes that are decoded without a look at their heads first: at worst they make the decoder reserve
1024 / 3 lists of 1024 items, some 3 MB for a moment."""

READ_AT_ONCE = 256
"""Values of our own in one list: with more, what was decoded is out of the processor's cache by the time it
is shaped, and reading takes twice as long."""

WORDS_MAX = 200  # characters of a library's own message in one of ours

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """Python value -> canonical DAG-CBOR. Structs become maps.

    Only for values of our own making: a value that breaks the rules above is a fault of ours.
    """
    is_flat = _FLATNESS[type(value)]
    if is_flat is not None:
        value = _to_builtins(value, builtin_types=_OURS)
        if not is_flat:
            value = _lists(value)
    return _encoded(value, cid_type=Cid)


def encode_all(structs: Sequence[msgspec.Struct]) -> tuple[bytes, ...]:
    """`encode` of each, in two thirds of the time."""
    values = _to_builtins(structs, builtin_types=_OURS)
    return tuple(
        [
            _encoded(value if _FLATNESS[type(one)] else _lists(value), cid_type=Cid)
            for one, value in zip(structs, values, strict=True)
        ]
    )


class _Flatness(dict[type, bool | None]):
    """Of a struct: whether no field can hold a container. So it is with most effects, of which every event
    has some. None: no struct. Worked out when a type is asked for the first time."""

    def __missing__(self, kind: type) -> bool | None:
        is_flat = self[kind] = self._of(kind) if issubclass(kind, msgspec.Struct) else None
        return is_flat

    @staticmethod
    def _of(kind: type[msgspec.Struct]) -> bool:
        fields = list(inspect.type_info(kind).fields)  # type: ignore[attr-defined]
        types = [field.type for field in fields]
        parts = [part for one in types for part in getattr(one, "types", (one,))]  # of a union: each
        return all(isinstance(part, _FLAT) for part in parts)


def _lists(value: Any) -> Any:
    """Structs hold tuples, because they are frozen; the encoder knows lists only."""
    if type(value) is dict:
        for key, item in value.items():
            if type(item) in _CONTAINERS:
                value[key] = _lists(item)
        return value
    return [_lists(item) if type(item) in _CONTAINERS else item for item in value]


def _plain(value: Any) -> Any:
    """A list of structs, say."""
    value = _to_builtins(value, builtin_types=_OURS)
    return _lists(value) if type(value) in _CONTAINERS else value


_FLATNESS: Final = _Flatness()
_OURS: Final = (bytes, Cid)
_to_builtins: Final = msgspec.to_builtins
_encoded: Final = cbrrr.encode_dag_cbor
_CONTAINERS: Final = frozenset((dict, list, tuple))
_FLAT: Final = (
    inspect.IntType,
    inspect.StrType,
    inspect.BytesType,
    inspect.BoolType,
    inspect.NoneType,
    inspect.LiteralType,
    inspect.CustomType,  # a Cid
)


def decode(data: bytes, *, size_max: int) -> Any:
    """Canonical DAG-CBOR -> Python value (dict, list, str, bytes, Cid, int, bool, None).

    `size_max` is in bytes. Raises RemoteError with code `oversize` or `non_canonical`.
    """
    value = decode_closed(data, size_max=size_max)
    _check(value)
    return value


def decode_closed(data: bytes, *, size_max: int) -> Any:
    """`decode` without the walk over the value, for the hot path.

    Only for a caller whose closed schema refuses, by itself, what the walk refuses: floats, integers out of
    range, containers too deep; and who checks text with `check_text`.
    """
    if len(data) > size_max:
        raise RemoteError(f"{len(data)} bytes where at most {size_max} are allowed", code="oversize")
    if len(data) > UNSCANNED_MAX:
        _check_heads(data)
    try:
        value = cbrrr.decode_dag_cbor(data, cid_ctor=Cid.checked)
    except RemoteError as error:
        raise RemoteError(str(error), code="non_canonical") from error
    except (ValueError, OverflowError) as error:
        raise RemoteError(f"not strict DAG-CBOR: {words_of(error)}", code="non_canonical") from error
    if cbrrr.encode_dag_cbor(value, cid_type=Cid) != data:
        raise RemoteError("not the canonical encoding of its own value", code="non_canonical")
    return value


def decode_judged(data: bytes) -> Any:
    """`decode` of bytes that it accepted before: its answer again, without the judgement.

    Raises RemoteError (`non_canonical`) for some of the bytes that it did not accept.
    """
    try:
        return cbrrr.decode_dag_cbor(data, cid_ctor=Cid)
    except (ValueError, OverflowError) as error:
        raise RemoteError(f"not strict DAG-CBOR: {words_of(error)}", code="non_canonical") from error


def decode_as(kind: type[T], data: bytes, *, size_max: int) -> T:
    """`decode`, then shape the value as `kind` (a msgspec Struct). Raises RemoteError (`bad_schema`, and
    `non_canonical` for bytes that are not the encoding of the struct that came out).

    The last is not idle: a link where a schema wants bytes is shaped into bytes, for a Cid is bytes too.
    """
    value = shape(kind, decode(data, size_max=size_max))
    again = encode(value) if isinstance(value, msgspec.Struct) else encode(_plain(value))
    if again != data:
        raise RemoteError("not the canonical encoding of its own value", code="non_canonical")
    return value


def decode_own(kind: type[T], data: bytes, *, size_max: int) -> T:
    """`decode_as` of bytes that this node wrote, or compared when they came in."""
    if len(data) > size_max:
        raise RemoteError(f"{len(data)} bytes where at most {size_max} are allowed", code="oversize")
    return shape(kind, decode_judged(data))


def decode_all_own(kind: type[T], all_data: Sequence[bytes], *, size_max: int) -> list[T]:
    """`decode_own` of each, read as the items of lists: a third of the time for short ones.

    An error does not say which one it is about.
    """
    found: list[T] = []
    for start in range(0, len(all_data), READ_AT_ONCE):
        some = all_data[start : start + READ_AT_ONCE]
        longest = max(map(len, some))
        if longest > size_max:
            raise RemoteError(f"{longest} bytes where at most {size_max} are allowed", code="oversize")
        values = decode_judged(_list_head(len(some)) + b"".join(some))
        found += shape(list[kind], values)  # type: ignore[valid-type]
    return found


def _list_head(count: int) -> bytes:
    """The head of a list of up to 65,535 items, in its one form (RFC 8949, section 3)."""
    if count < 24:
        return bytes((_LIST << 5 | count,))
    return bytes((_LIST << 5 | 24, count)) if count < 256 else bytes((_LIST << 5 | 25, *divmod(count, 256)))


def shape(kind: type[T], value: Any) -> T:
    """Decoded value -> Struct, strictly: unknown fields, wrong types and wrong ranges are refused."""
    try:
        if isinstance(kind, type):
            return msgspec.convert(value, kind, strict=True)
        only: T = msgspec.convert((value,), _boxed(kind), strict=True).only
    except (msgspec.ValidationError, ValueError) as error:
        name = getattr(kind, "__name__", "value")  # a union of structs has no name
        words = words_of(error) if isinstance(kind, type) else words_of(error).replace("$[0]", "$")
        raise RemoteError(f"not a valid {name}: {words}", code="bad_schema") from error
    return only


@cache
def _boxed(kind: Any) -> type[msgspec.Struct]:
    """A struct of one field. msgspec remembers what it has to look at for a struct, and works it out anew at
    each call for anything else: for a union of many structs, 14 microseconds."""
    return msgspec.defstruct("Boxed", [("only", kind)], array_like=True, frozen=True)


def words_of(error: Exception) -> str:
    """What a library says about bytes from outside. It quotes them (a key of a megabyte, a terminal's
    commands), and its words go into logs and reports: so they are cut, and what cannot be printed is spelled
    out."""
    text = str(error)[:WORDS_MAX]
    return text if text.isprintable() else ascii(text)[1 : 1 + WORDS_MAX]


def _check_heads(data: bytes) -> None:
    """Refuse too many containers inside each other, and too many items, before anything is decoded.

    The decoder reserves memory for as many items as a list says it has. A list can claim all bytes behind it,
    and so can the list inside it: 64 KiB of heads ask for gigabytes. And a megabyte of empty lists, which are
    one byte each, becomes 72. Only this is judged here; what is wrong in another way is left for the decoder
    to refuse.
    """
    items_left = [1]  # of each container that is open
    at, end = 0, len(data)
    room = max(ITEMS_MAX, end // BYTES_PER_ITEM_MIN)
    while items_left and at < end:
        if items_left[-1] == 0:
            items_left.pop()
            continue
        items_left[-1] -= 1
        room -= 1
        if room < 0:
            raise RemoteError(f"too many items in {end} bytes", code="non_canonical")
        major, count = data[at] >> 5, data[at] & 0x1F
        at += 1
        if count > 23:
            width = 1 << (count & 3)
            count = int.from_bytes(data[at : at + width], "big")
            at += width
        if major in (_BYTES, _TEXT):
            at += count
        elif major in (_LIST, _MAP):
            items_left.append(count * (1 + (major == _MAP)))
            if len(items_left) > DEPTH_MAX + 1:
                raise RemoteError(f"more than {DEPTH_MAX} containers inside each other", code="non_canonical")
        elif major == _TAG:
            items_left[-1] += 1


_BYTES, _TEXT, _LIST, _MAP, _TAG = 2, 3, 4, 5, 6  # major types (RFC 8949, 3.1)


def _check(value: Any) -> None:
    """Walk without recursion and refuse what the rules in the module's opening refuse."""
    level = [value]
    depth = 0  # containers around the items of `level`
    while level:
        containers = 0
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is int:
                if not 0 <= item <= INT_MAX:
                    raise RemoteError(f"integer {item} outside 0..2^63-1", code="non_canonical")
            elif kind is str:
                if not item.isascii():
                    check_text(item)
            elif kind is dict:
                containers += 1
                for key in item:
                    if not key.isascii():
                        check_text(key)
                below.extend(item.values())
            elif kind is list:
                containers += 1
                below.extend(item)
            elif kind is float:
                raise RemoteError("floats are not allowed", code="non_canonical")
        depth += containers > 0
        if depth > DEPTH_MAX:
            raise RemoteError(f"more than {DEPTH_MAX} containers inside each other", code="non_canonical")
        level = below


def check_text(text: str) -> None:
    """Raises RemoteError (`non_canonical`) for text that is not in Unicode NFC, or not of our alphabet."""
    if not is_written_in_it(text):
        raise RemoteError(f"text with characters newer than Unicode 14: {text[:40]!r}", code="non_canonical")
    if not unicodedata.is_normalized("NFC", text):
        raise RemoteError(f"text is not in Unicode NFC: {text[:40]!r}", code="non_canonical")
