"""Checkpoints as others read them: C2SP signed notes, which outside witnesses can cosign.

    fog/bafyrei…                     origin: the network
    4711                             leaves in the event tree
    base64 of 32 bytes               its root

    — fog/bafyrei… base64            a validator's word (Ed25519, type 0x01)
    — fog/bafyrei… base64            the network's: that the tree is final (type 0xff, see `finality_line`)
    — example.org/witness base64     a witness's, with its time (cosignature/v1, type 0x04)

After c2sp.org/signed-note, c2sp.org/tlog-checkpoint and c2sp.org/tlog-cosignature. There are no extension
lines: the tree itself commits to states and receipts. Validators' key names are the origin; their ids differ.

What is signed begins with `fog/` or `cosignature/v1`, and so is never a vote, an event or anything else that
the same key signs (`ledger.signing`). ML-DSA-44 cosignatures are ignored like every unknown kind.

Knows text, keys and signatures. Does not know whether a tree grew from another (`ledger.witness`).

Fuzz contract: every parser here gives a value or raises RemoteError (`bad_note`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.merkle import HASH_SIZE
from ledger.signing import Domain, SigningKey, verify_raw
from ledger.types import INT63_MAX
from ledger.validators import ValidatorSet

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04

FINALITY: Final = b"\xfffog/finality/v1"
"""The type of signature that is no single key's, with the name that the specification asks for."""

NOTE_SIZE_MAX: Final = 1024 * 1024
"""Bytes: 16 post-quantum signatures of others, a hundred of ours, and 600 KiB that say that it is final: 450
steps of four validators, 30 of a hundred."""

SIGNATURES_MAX: Final = 160
NAME_SIZE_MAX: Final = 255

_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whose signatures count: name, type and 32-byte public key. Text: `name+id+base64(type || key)`."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """4 bytes: which key of this name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Of the two types that we know. Raises RemoteError (`bad_key`)."""
        name, _, rest = text.partition("+")
        id, _, encoded = rest.partition("+")
        try:
            data = unbase64(encoded)
        except RemoteError as error:
            raise RemoteError(f"not a verifier key: {text[:100]!r}", code="bad_key") from error
        if not _is_name(name) or len(data) != 33 or data[0] not in (ED25519, COSIGNATURE):
            raise RemoteError(f"not an Ed25519 verifier key: {text[:100]!r}", code="bad_key")
        key = cls(name, data[0], data[1:])
        if key.id.hex() != id:
            raise RemoteError(f"its id should be {key.id.hex()}: {text[:100]!r}", code="bad_key")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{in_base64(bytes((self.kind,)) + self.public)}"


@dataclass(frozen=True, slots=True)
class Line:
    """One signature as it stands in a note: `data` is what follows the key's id."""

    name: str
    id: bytes
    data: bytes

    def __str__(self) -> str:
        return f"— {self.name} {in_base64(self.id + self.data)}\n"


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a note about a log says: the root over the first `size` leaves."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{in_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends in a newline; the lines stand below an empty one."""

    text: str
    lines: tuple[Line, ...]

    def encode(self) -> bytes:
        return f"{self.text}\n{''.join(map(str, self.lines))}".encode()

    def head(self) -> TreeHead:
        """The checkpoint in the text; extension lines of other logs are passed over. Raises RemoteError."""
        lines = self.text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]):
            raise _bad("a checkpoint has three lines or more, none of them empty")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size) or int(size) > INT63_MAX:
            raise _bad(f"{size[:40]!r} is not the size of a tree")
        hash = unbase64(root)
        if len(hash) != HASH_SIZE:
            raise _bad(f"a root of {len(hash)} bytes")
        return TreeHead(origin, int(size), hash)

    def __repr__(self) -> str:
        return f"<Note {self.text.partition(chr(10))[0]!r} signatures={len(self.lines)}>"


def origin_of(net: Cid) -> str:
    return f"fog/{net}"


def validator_key(net: Cid, public: bytes) -> VerifierKey:
    """The key with which a validator signs the notes of its network."""
    return VerifierKey(origin_of(net), ED25519, public)


def witness_key(name: str, public: bytes) -> VerifierKey:
    return VerifierKey(name, COSIGNATURE, public)


def parse(data: bytes) -> Note:
    """Bytes -> Note, whatever its text is about. Raises RemoteError."""
    if len(data) > NOTE_SIZE_MAX:
        raise _bad(f"{len(data)} bytes, at most {NOTE_SIZE_MAX} are a note")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise _bad("not UTF-8") from error
    if any(character < " " and character != "\n" for character in whole):
        raise _bad("control characters")
    text, empty, signatures = whole.rpartition("\n\n")
    if not empty or not signatures.endswith("\n"):
        raise _bad("no signatures below an empty line")
    found = signatures[:-1].split("\n")
    if len(found) > SIGNATURES_MAX:
        raise _bad(f"{len(found)} signatures, at most {SIGNATURES_MAX}")
    return Note(text + "\n", tuple(map(_line, found)))


def parse_lines(data: bytes) -> tuple[Line, ...]:
    """Signature lines alone, as a witness answers. Raises RemoteError."""
    return parse(b"\n\n" + data).lines


def sign(head: TreeHead, key: SigningKey) -> Line:
    """A validator's word on a checkpoint of its own network, which must be final."""
    prefix = Domain.NOTE.value.decode()
    assert head.origin.startswith(prefix), f"{head.origin} is no network of ours"
    message = head.text().removeprefix(prefix).encode()
    known = VerifierKey(head.origin, ED25519, key.public)
    return Line(known.name, known.id, key.sign(Domain.NOTE, message))


def cosign(note: Note, name: str, key: SigningKey, time: int) -> Line:
    """A witness's word, at `time` in unix seconds (above 0), on everything above the signatures."""
    assert time > 0, "a cosignature without its time"
    known = witness_key(name, key.public)
    signature = key.sign(Domain.COSIGNATURE, f"time {time}\n{note.text}".encode())
    return Line(known.name, known.id, time.to_bytes(8, "big") + signature)


def finality_line(origin: str, proof: bytes) -> Line:
    """The network's own signature: `proof` (a `ledger.proofs.Certified`) that this tree is final.

    Nobody has the key of it. Readers that do not know its type pass over it.
    """
    return Line(origin, _finality_id(origin), proof)


def finality_of(note: Note) -> Line | None:
    """The line, unverified; None when the note has none. Raises RemoteError like `Note.head`."""
    origin = note.head().origin
    wanted = (origin, _finality_id(origin))
    return next((line for line in note.lines if (line.name, line.id) == wanted), None)


def _finality_id(origin: str) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + FINALITY).digest()[:4]


def signers(note: Note, known: Iterable[VerifierKey]) -> dict[VerifierKey, int]:
    """Those of the known keys that signed, with the time of a cosignature (unix seconds; else 0).

    Lines of unknown keys are passed over. Raises RemoteError when a known key's line is not by that key: such
    a note is worth nothing at all.
    """
    keys = {(key.name, key.id): key for key in known}
    found: dict[VerifierKey, int] = {}
    for line in note.lines:
        key = keys.get((line.name, line.id))
        if key is not None:
            found[key] = max(_verified(note, line, key), found.get(key, 0))
    return found


def merged(of_one: Iterable[Note]) -> Note:
    """The lines of notes with one text, each once: what several validators say of one tree.

    Raises RemoteError (`different_notes`) when they do not say the same.
    """
    first, *rest = of_one
    if any(note.text != first.text for note in rest):
        raise RemoteError("notes of different checkpoints", code="different_notes")
    return Note(first.text, tuple(dict.fromkeys(line for note in (first, *rest) for line in note.lines)))


def stake_behind(note: Note, net: Cid, validators: ValidatorSet) -> int:
    """The stake of the validators who signed a note of this network. Raises RemoteError like `signers`."""
    if note.head().origin != origin_of(net):
        raise RemoteError(f"a note of {note.head().origin[:100]}, not of {net}", code="wrong_network")
    known = {validator_key(net, public): public for public in validators.stakes}
    return validators.weight(known[key] for key in signers(note, known))


def is_witnessed(note: Note, witnesses: Iterable[VerifierKey], needed: int) -> bool:
    """Whether at least `needed` of these witnesses cosigned. Raises RemoteError like `signers`."""
    return len(signers(note, witnesses)) >= needed


def _verified(note: Note, line: Line, key: VerifierKey) -> int:
    time, message, signature = 0, note.text.encode(), line.data
    if key.kind == COSIGNATURE:
        time, signature = int.from_bytes(line.data[:8], "big"), line.data[8:]
        message = Domain.COSIGNATURE.value + f"time {time}\n".encode() + message
        if not 0 < time <= INT63_MAX:
            raise _bad(f"a cosignature of {key.name} at no time")
    if not verify_raw(key.public, message, signature):
        raise _bad(f"not signed by {key.name}, as it says")
    return time


def _line(text: str) -> Line:
    dash, _, rest = text.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—" or not _is_name(name):
        raise _bad(f"not a signature line: {text[:100]!r}")
    data = unbase64(encoded)
    if len(data) < 5:
        raise _bad(f"a signature of {len(data)} bytes")
    return Line(name, data[:4], data[4:])


def _is_name(text: str) -> bool:
    if not 0 < len(text) <= NAME_SIZE_MAX:
        return False
    return not any(character.isspace() or character == "+" for character in text)


def in_base64(data: bytes) -> str:
    """RFC 4648, section 4."""
    return base64.b64encode(data).decode()


def unbase64(text: str) -> bytes:
    """One spelling only. Raises RemoteError (`bad_note`)."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"not base64: {text[:100]!r}") from error
    if in_base64(data) != text:
        raise _bad(f"not the usual base64: {text[:100]!r}")
    return data


def _bad(what: str) -> RemoteError:
    return RemoteError(what, code="bad_note")
