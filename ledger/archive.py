"""Archives: everything final of one network, in one file that anybody can check alone.

A CAR v1 file with the roots [last checkpoint, genesis], and the blocks in exactly this order:

    genesis
    for each height:   checkpoint
                       validators    of the next epoch; only where they are others than the last ones named
                       certificate   that shows its parent, and is named in it; none at height 1
                       delta         the list of event ids in canonical order
        for each event of the delta:   event (its header), signature {h: id, s: 64 bytes}, body
    finality           the certificate that makes the last checkpoint, and so all of them, final

The order leaves no room for a block that nothing asked for, nor for one missing or twice. A body that two
events share appears with each, so an archive is written and read in one pass with little memory.

Before height 1 the only root is genesis. Receipts are not in it: whoever audits makes them again.

Knows which block comes when. Does not judge what blocks say (`ledger.audit`).

What must always hold: two nodes at one height write the same bytes but for the last block, which may hold the
votes of another quorum. (And an author who signs one header twice, in two ways, can make them differ in that
one signature block.)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, Literal, NamedTuple, TypeAlias

from ledger import canonical, car
from ledger import genesis as geneses
from ledger.car import BLOCK_SIZE_MAX, Block
from ledger.checkpoint import DELTA_EVENTS_MAX, parse_checkpoint
from ledger.cid import CID_SIZE, Cid, is_well_formed
from ledger.errors import RemoteError, UsageError
from ledger.event import WIRE_SIZE_MAX
from ledger.finality import Last
from ledger.store import Store
from ledger.validators import genesis_set

Kind = Literal[
    "genesis",
    "checkpoint",
    "validators",
    "certificate",
    "delta",
    "event",
    "signature",
    "body",
    "finality",
]

HEIGHTS_AT_ONCE: Final = 100

BLOCKS_OF_AN_EVENT: Final = 3

_ID_SIZE: Final = 5 + CID_SIZE
"""A link in DAG-CBOR: tag 42, and a byte string of 37 bytes that begins with a zero."""


class Entry(NamedTuple):
    """One block and what it is there for."""

    kind: Kind
    block: Block


class Delta(NamedTuple):
    """The block of a delta, and the ids in it."""

    block: Block
    ids: list[Cid]


class SignedEvent(NamedTuple):
    """The three blocks of an event."""

    event: Block
    signature: Block
    body: Block


class Unread(NamedTuple):
    """The three blocks of an event as they lie in the file, under their names; nobody looked at them."""

    data: bytes


Section: TypeAlias = Entry | Delta | SignedEvent | Unread


def write(store: Store, out: BinaryIO) -> int:
    """Export all that is final in `store` right now; returns the height. The store may go on meanwhile.

    Raises UsageError (`pruned`) when not all of it is here.
    """
    if store.base is not None:
        raise pruned(f"this store begins at height {store.base.height}")
    if not store.is_whole:
        raise pruned("bodies of old events are not here any more")
    last = store.last()
    height = 0 if last is None else last.checkpoint.height
    out.write(car.header([store.net] if last is None else [last.checkpoint.id, store.net]))
    for _, data in _blocks(store, last):
        out.write(car.block(data))
    return height


def pruned(message: str) -> UsageError:
    return UsageError(
        f"{message}, so there is nothing whole to export",
        code="pruned",
        next_step='ask a node with `ledger.mode = "archive"` that began from genesis',
    )


def read(stream: BinaryIO) -> tuple[tuple[Cid, ...], Iterator[Entry]]:
    """Roots and entries of an archive; hashes and the order of kinds are checked, nothing else.

    The iterator raises RemoteError (`bad_archive`).
    """
    sections = Sections(stream)
    return sections.roots, _one_by_one(sections)


class Sections:
    """`read` with the blocks of each event together: an iterator over Entry, Delta, SignedEvent or Unread.

    `roots` are known from the start; `reading` is the kind of the block that is read, or was read last.
    """

    def __init__(self, stream: BinaryIO, *, reads_events: bool = True) -> None:
        """`reads_events`: else the blocks of events come as they are, for others to read, and are not counted
        (`Block.number`). Raises RemoteError (`bad_archive`), as the iterator does."""
        self._reader = car.Reader(stream)
        self._reads_events = reads_events
        self.roots = self._reader.roots
        self.reading: Kind = "genesis"
        self._blocks = iter(self._reader)
        self._sections = self._in_order()

    def __iter__(self) -> Iterator[Section]:
        return self

    def __next__(self) -> Section:
        return next(self._sections)

    def _in_order(self) -> Iterator[Section]:
        genesis = self._next("genesis")
        yield Entry("genesis", genesis)
        named = _first_set(genesis.data)
        self.reading = "checkpoint"
        block = next(self._blocks, None)
        if block is None:
            return
        height = 1
        while not _is_certificate(block):
            yield Entry("checkpoint", _dag_cbor(block))
            vnext = _vnext(block.data)
            if vnext is not None and vnext != named:
                yield Entry("validators", self._next("validators"))
                named = vnext
            if height > 1:
                yield Entry("certificate", self._next("certificate"))
            delta = self._next("delta")
            ids = _parse_delta(delta)
            yield Delta(delta, ids)
            for _ in ids:
                if self._reads_events:
                    yield SignedEvent(self._next("event"), self._next("signature"), self._next("body"))
                else:
                    yield Unread(self._reader.unread(BLOCKS_OF_AN_EVENT))
            height += 1
            self.reading = "checkpoint"
            block = _there(self._blocks, "finality")
        self.reading = "finality"
        yield Entry("finality", block)
        more = next(self._blocks, None)
        if more is not None:
            raise RemoteError(f"the archive goes on behind its end, with {more.where}", code="bad_archive")

    def _next(self, kind: Kind) -> Block:
        self.reading = kind
        return _there(self._blocks, kind)


def lines(stream: BinaryIO) -> Iterator[str]:
    """An archive for people: one line of DAG-JSON for each block, `{"block": kind, "cid": …, "value": …}`.

    Raises RemoteError (`bad_archive`, `non_canonical`) where the archive cannot be read.
    """
    _, entries = read(stream)
    for kind, block in entries:
        value = canonical.decode(block.data, size_max=BLOCK_SIZE_MAX)
        yield dag_json({"block": kind, "cid": block.cid, "value": value})


def dag_json(value: Any) -> str:
    """DAG-JSON (https://ipld.io/specs/codecs/dag-json/spec/): links and bytes under the key "/".

    A map of an author's with the key "/" could pass for one of those, so it is shown as its DAG-CBOR bytes.
    """
    return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _blocks(store: Store, last: Last | None) -> Iterator[tuple[Kind, bytes]]:
    yield "genesis", store.genesis.encode()
    if last is None:
        return
    height = last.checkpoint.height
    named = genesis_set(store.genesis).id
    for first in range(1, height + 1, HEIGHTS_AT_ONCE):
        some = store.checkpoints(first, min(HEIGHTS_AT_ONCE, height + 1 - first))
        for at, (checkpoint, shown) in enumerate(some, first):
            yield "checkpoint", checkpoint
            members = _members(store, checkpoint, named)
            if members is not None:
                yield "validators", members
                named = Cid.of(members)
            if at > 1:
                yield "certificate", shown
            order = store.order(at)
            yield "delta", canonical.encode(order)
            wires = store.wires(order)
            for id in order:
                yield from _event_blocks(id, wires[id])
    yield "finality", last.final.encode()


def _members(store: Store, data: bytes, named: Cid) -> bytes | None:
    """The validators that a checkpoint of ours names, unless they are those named before."""
    checkpoint = parse_checkpoint(data, net=store.net)
    if checkpoint.vnext == named:
        return None
    members = store.validators(checkpoint.epoch + 1)
    assert members is not None, f"the validators of epoch {checkpoint.epoch + 1} are not here"
    assert Cid.of(members) == checkpoint.vnext, f"height {checkpoint.height} names other validators"
    return members


def _event_blocks(id: Cid, wire: bytes) -> Iterator[tuple[Kind, bytes]]:
    parts = canonical.decode(wire, size_max=WIRE_SIZE_MAX)
    if parts["b"] is None:
        raise pruned(f"the body of {id} is not here any more")
    yield "event", parts["h"]
    yield "signature", canonical.encode({"h": id, "s": parts["s"]})
    yield "body", parts["b"]


def _one_by_one(found: Iterator[Section]) -> Iterator[Entry]:
    for entry in found:
        if isinstance(entry, Entry):
            yield entry
        elif isinstance(entry, Delta):
            yield Entry("delta", entry.block)
        else:
            assert isinstance(entry, SignedEvent)
            yield Entry("event", entry.event)
            yield Entry("signature", entry.signature)
            yield Entry("body", entry.body)


def _is_certificate(block: Block) -> bool:
    """Whether this block ends the archive: a checkpoint has no field `t`."""
    try:
        value = canonical.decode(_dag_cbor(block).data, size_max=BLOCK_SIZE_MAX)
    except RemoteError as error:
        raise RemoteError(f"{error}, in {block.where}", code="bad_archive") from error
    return type(value) is dict and value.get("t") == "certificate"


def _first_set(genesis: bytes) -> Cid | None:
    """The set that is named before any checkpoint names one; None when the genesis is none."""
    try:
        return genesis_set(geneses.parse(genesis)).id
    except RemoteError:
        return None


def _vnext(checkpoint: bytes) -> Cid | None:
    """What a checkpoint, or what claims to be one, says of the next epoch's validators."""
    try:
        value = canonical.decode(checkpoint, size_max=BLOCK_SIZE_MAX)
    except RemoteError:
        return None
    vnext = value.get("vnext") if type(value) is dict else None
    return vnext if type(vnext) is Cid else None


def _parse_delta(block: Block) -> list[Cid]:
    """The list of event ids. Raises RemoteError (`bad_archive`)."""
    # Nearly always a list of Cids and nothing else, which needs no decoder: each is as long as the next.
    ends = range(len(block.data), CID_SIZE, -_ID_SIZE)
    ids = [Cid(block.data[end - CID_SIZE : end]) for end in reversed(ends)]
    if len(ids) <= DELTA_EVENTS_MAX and all(map(is_well_formed, ids)) and canonical.encode(ids) == block.data:
        return ids
    return _judged_delta(block)


def _judged_delta(block: Block) -> list[Cid]:
    try:
        ids = canonical.decode(block.data, size_max=BLOCK_SIZE_MAX)
    except RemoteError as error:
        raise RemoteError(f"delta: {error}, in {block.where}", code="bad_archive") from error
    if type(ids) is not list or len(ids) > DELTA_EVENTS_MAX or not all(type(id) is Cid for id in ids):
        raise RemoteError(
            f"not a list of at most {DELTA_EVENTS_MAX} ids, in {block.where}", code="bad_archive"
        )
    return ids


def _there(blocks: Iterator[Block], kind: Kind) -> Block:
    block = next(blocks, None)
    if block is None:
        raise RemoteError(f"the archive ends where a {kind} should be", code="bad_archive")
    return _dag_cbor(block)


def _dag_cbor(block: Block) -> Block:
    if block.cid.is_raw:
        raise RemoteError(f"a raw block in an archive: {block.where}", code="bad_archive")
    return block


def _jsonable(value: Any) -> Any:
    if isinstance(value, Cid):
        return {"/": str(value)}
    if isinstance(value, bytes):
        return {"/": {"bytes": base64.b64encode(value).decode("ascii").rstrip("=")}}
    if isinstance(value, dict):
        if "/" in value:
            return _jsonable(canonical.encode(value))
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return value
