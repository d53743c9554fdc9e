"""A witness: it cosigns a log's checkpoint only if the log grew from the one that it cosigned before.

After c2sp.org/tlog-witness, `add-checkpoint`. Whoever splits its history, to tell two people two things,
needs the witnesses' help for it, and does not get it.

A witness that took the word of any one of several keys would be at the mercy of each: one note about a tree
that only its signer knows, and it could never cosign the true one again. So it believes of each log either
one key, or a genesis: that the network's validators made the tree final, which the note must prove.

    404   the origin is not one that this witness follows
    403   not signed by the key that it trusts for this origin, or not proven to be final
    400   not a request, or an old size above the new one
    409   the old size is not that of its last cosignature; the answer is that size
    422   the newer tree does not continue the older one
    200   cosigned

Knows notes, proofs of finality and consistency, and its own memory. Does not know what the log is about, nor
HTTP.

What must always hold: for each origin, the size it cosigned never falls, and of two trees that it cosigned
one continues the other. By a genesis, who may make a tree final follows from what was cosigned before:
validators that have handed over since cannot go back behind it. Looking at the last size and writing the new
one is one transaction; the answer comes after it is on the disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import sqlalchemy as sa

from ledger import merkle, notes
from ledger.database import reading, writing
from ledger.errors import RemoteError
from ledger.genesis import Genesis
from ledger.notes import Line, Note, TreeHead, VerifierKey
from ledger.proofs import EPOCHS_OF_GENESIS, Known, Trust, parse_certified
from ledger.signing import SigningKey
from ledger.tables import BLOB, INTEGER, TEXT
from ledger.validators import parse_set

PROOF_LINES_MAX: Final = 63
REQUEST_SIZE_MAX: Final = notes.NOTE_SIZE_MAX + 64 * 64
"""Bytes of a request: the note, and the lines before it."""

TEXT_TYPE: Final = "text/plain; charset=utf-8"
SIZE_TYPE: Final = "text/x.tlog.size"

_OLD: Final = re.compile("old (0|[1-9][0-9]{0,18})")

TABLES: Final = sa.MetaData()
COSIGNED: Final = sa.Table(
    "cosigned",
    TABLES,
    sa.Column("origin", TEXT, primary_key=True),
    sa.Column("size", INTEGER, nullable=False),
    sa.Column("root", BLOB, nullable=False),
    sa.Column("note", BLOB, nullable=False),
)
KNOWN: Final = sa.Table(
    "known",  # of those that it follows by their genesis: who made final what it last cosigned
    TABLES,
    sa.Column("origin", TEXT, primary_key=True),
    sa.Column("epoch", INTEGER, nullable=False),
    sa.Column("members", BLOB, nullable=False),
)

Believed: TypeAlias = VerifierKey | Genesis
"""Of a log: one key whose word is taken, or a genesis whose validators must have made the tree final."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status with its body."""

    status: int
    body: bytes
    media_type: str = TEXT_TYPE


@dataclass(frozen=True, slots=True)
class Request:
    """A log's wish: this note, which continues the tree of `old` leaves."""

    old: int
    proof: tuple[bytes, ...]
    note: Note


class Refused(Exception):  # an answer, not an error
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = Answer(status, f"{why}\n".encode())


class Overtaken(Refused):
    """It was given what continues another tree than that of its last cosignature; the answer is that size."""

    def __init__(self, size: int) -> None:
        super().__init__(409, f"{size} leaves are cosigned")
        self.answer = Answer(409, f"{size}\n".encode(), SIZE_TYPE)


class Witness:
    def __init__(self, engine: sa.Engine, name: str, key: SigningKey, logs: Mapping[str, Believed]) -> None:
        """`logs`: for each origin that it follows, what it believes. Makes its tables."""
        self.key = notes.witness_key(name, key.public)
        self.logs = logs
        self._engine = engine
        self._secret = key
        with writing(engine) as connection:
            TABLES.create_all(connection)

    def add_checkpoint(self, body: bytes, now: int) -> Answer:
        """The whole of a request to the answer; `now` in unix seconds. Blocking. Raises StoreFull, …"""
        try:
            request = parse_request(body)
            head = request.note.head()
        except RemoteError as error:
            return Answer(400, f"{error}\n".encode())
        try:
            signed, known = self._trusted(request, head)
            if request.old > head.size:
                raise Refused(400, f"old size {request.old} above the new one, {head.size}")
            return self._cosigned(request, head, signed, known, now)
        except Refused as refused:
            return refused.answer

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The last cosigned note of the log whose origin has this SHA-256 in hex; None when there is none."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(COSIGNED.c.origin, COSIGNED.c.note)).all()
        return next((row.note for row in rows if origin_hash_of(row.origin) == origin_hash), None)

    def _trusted(self, request: Request, head: TreeHead) -> tuple[Note, Known | None]:
        """The note with only the lines that mean something here; and who made it final, by a genesis."""
        note, believed = request.note, self.logs.get(head.origin)
        if believed is None:
            raise Refused(404, "this witness does not follow that log")
        try:
            if isinstance(believed, VerifierKey):
                signed = _only(note, [believed])
                if not signed:
                    raise Refused(403, "not signed by the key that is trusted for this log")
                return Note(note.text, signed), None
            with reading(self._engine) as connection:  # what is to be proven depends on what we have seen
                size, _ = _seen(connection, head.origin)
            if request.old != size:
                raise Overtaken(size)
            line, known = self._final(believed, head, note)
            keys = [notes.validator_key(believed.net, public) for public in known.validators.stakes]
            return Note(note.text, (*_only(note, keys), line)), known
        except RemoteError as error:
            raise Refused(403, str(error)) from error

    def _final(self, genesis: Genesis, head: TreeHead, note: Note) -> tuple[Line, Known]:
        """The proof that this tree is final. Raises RemoteError for one that is none."""
        line = notes.finality_of(note)
        if line is None:
            raise Refused(403, "not proven to be final")
        trust = Trust(genesis, self._known(head.origin))
        checkpoint, known = trust.follow(parse_certified(line.data))
        if (checkpoint.n, checkpoint.eroot) != (head.size, head.root):
            raise Refused(403, f"what is proven to be final is another tree, of {checkpoint.n} leaves")
        return line, known

    def _known(self, origin: str) -> Known | None:
        """None: those of genesis."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(KNOWN).where(KNOWN.c.origin == origin)).first()
        return None if row is None else Known(parse_set(row.members), row.epoch, row.epoch)

    def _cosigned(
        self, request: Request, head: TreeHead, signed: Note, known: Known | None, now: int
    ) -> Answer:
        with writing(self._engine) as connection:
            size, root = _seen(connection, head.origin)
            if request.old != size:
                raise Overtaken(size)
            if not _continues(size, root, head, request.proof):
                raise Refused(422, f"the tree of {head.size} leaves does not continue that of {size}")
            line = notes.cosign(request.note, self.key.name, self._secret, now)
            row = {
                "size": head.size,
                "root": head.root,
                "note": Note(signed.text, (*signed.lines, line)).encode(),
            }
            connection.execute(COSIGNED.delete().where(COSIGNED.c.origin == head.origin))
            connection.execute(COSIGNED.insert(), row | {"origin": head.origin})
            if known is not None and known.since >= EPOCHS_OF_GENESIS:
                connection.execute(KNOWN.delete().where(KNOWN.c.origin == head.origin))
                who = {"epoch": known.since, "members": known.validators.encode()}
                connection.execute(KNOWN.insert(), {"origin": head.origin, **who})
        return Answer(200, str(line).encode())

    def __repr__(self) -> str:
        return f"<Witness {self.key.name} logs={len(self.logs)}>"


def _seen(connection: sa.Connection, origin: str) -> tuple[int, bytes]:
    """Size and root of what was last cosigned of a log."""
    row = connection.execute(sa.select(COSIGNED).where(COSIGNED.c.origin == origin)).first()
    return (0, merkle.EMPTY_ROOT) if row is None else (row.size, row.root)


def _only(note: Note, keys: Collection[VerifierKey]) -> tuple[Line, ...]:
    """Its lines by these keys. Raises RemoteError like `notes.signers`."""
    ids = {(key.name, key.id) for key in notes.signers(note, keys)}
    return tuple(line for line in note.lines if (line.name, line.id) in ids)


def origin_hash_of(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _continues(size: int, root: bytes, head: TreeHead, proof: tuple[bytes, ...]) -> bool:
    """Whether the tree of `head` has that of `size` leaves as its beginning."""
    if head.size == 0 and head.root != merkle.EMPTY_ROOT:
        return False
    if size == 0:
        return not proof
    return merkle.verify_consistency(size, head.size, root, head.root, proof)


def parse_request(body: bytes) -> Request:
    """Raises RemoteError (`bad_request`, `bad_note`)."""
    before, empty, note = body.partition(b"\n\n")
    if len(body) > REQUEST_SIZE_MAX or not empty:
        raise RemoteError("not an old size, a proof, an empty line and a note", code="bad_request")
    old, *lines = before.decode("ascii", "replace").split("\n")
    match = _OLD.fullmatch(old)
    if match is None:
        raise RemoteError(f"not an old size: {old[:40]!r}", code="bad_request")
    if len(lines) > PROOF_LINES_MAX:
        raise RemoteError(f"{len(lines)} proof lines, at most {PROOF_LINES_MAX}", code="bad_request")
    proof = tuple(map(notes.unbase64, lines))
    if any(len(hash) != merkle.HASH_SIZE for hash in proof):
        raise RemoteError("a proof line that is not a hash", code="bad_request")
    return Request(int(match[1]), proof, notes.parse(note))


def request(old: int, proof: Collection[bytes], note: Note) -> bytes:
    """What a log sends."""
    lines = "".join(f"{notes.in_base64(hash)}\n" for hash in proof)
    return f"old {old}\n{lines}\n".encode() + note.encode()
