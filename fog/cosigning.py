"""Notes of this node: its word on the last final checkpoint, and the words of witnesses beside it.

A validator signs the note of what is final, whenever it is asked: final checkpoints never contradict each
other, and so neither do the notes. Every `interval` it takes the newest one to the witnesses in the settings;
the newest note that enough of them cosigned is kept in a file, for whoever asks.

What must always hold: only what is final is signed; a cosignature that is kept was verified; a witness that
is down, slow or lying costs its own cosignature and nothing else; nor does a disk without room for the note
end the node: the older note stays until there is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from fog.post import check_url, post
from fog.replica_thread import ReplicaThread
from ledger import canonical, notes, proving
from ledger.errors import FogError, RemoteError, UsageError
from ledger.notes import Line, Note, TreeHead, VerifierKey
from ledger.proofs import CERTIFIED_SIZE_MAX
from ledger.signing import SigningKey
from ledger.store import Store
from ledger.witness import request

ANSWER_SIZE_MAX: Final = 16 * 1024
DEADLINE_S: Final = 10
"""For one witness and one checkpoint, a second try included."""

log = logging.getLogger(__name__)


@dataclass
class Outside:
    """A witness as this node knows it. `size`: of the last checkpoint that it cosigned."""

    key: VerifierKey
    url: str
    size: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"cosigned": 0, "failed": 0})


def outside(words: Sequence[str]) -> list[Outside]:
    """Settings `KEY URL`: a verifier key, a space, where it listens. Raises UsageError (`bad_witness`)."""
    found = []
    for word in words:
        key, _, url = word.partition(" ")
        try:
            known = VerifierKey.parse(key)
            check_url(url)
        except FogError as error:
            raise _bad_witness(word) from error
        if known.kind != notes.COSIGNATURE:
            raise _bad_witness(word)
        found.append(Outside(known, url.rstrip("/")))
    return found


def _bad_witness(word: str) -> UsageError:
    return UsageError(
        f"finality.witnesses: {word[:300]!r} is not the key and URL of a witness",
        code="bad_witness",
        next_step="`fog witness` prints the whole line when it starts",
    )


class Overtaken(RemoteError):
    """Another validator's newer note was there first: nobody's fault, and the next note is as good."""

    code = "overtaken"


class Notes:
    def __init__(
        self, ledger: ReplicaThread, key: SigningKey, file: Path, witnesses: Sequence[Outside], needed: int
    ):
        """`needed`: how many of the witnesses make a note worth keeping, in `file`."""
        self._ledger = ledger
        self._key = key
        self._file = file
        self._witnesses = witnesses
        self._needed = needed
        self._unkept = 0
        self._is_owed = False  # the newest note could not be written

    async def signed(self) -> Note | None:
        """Of the last final checkpoint; None before the first, and when this node is no validator."""
        return await self._ledger.call(self._signed)

    def _signed(self) -> Note | None:
        """In the replica's thread."""
        replica = self._ledger.replica
        last = replica.last
        if last is None or self._key.public not in replica.validators:
            return None
        head = TreeHead(notes.origin_of(replica.net), last[0].n, last[0].eroot)
        return Note(head.text(), (notes.sign(head, self._key),))

    def cosigned(self) -> bytes | None:
        """The newest note that enough witnesses cosigned; None when there is none."""
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return None

    @property
    def counts(self) -> dict[str, int]:
        asked = {
            f"witness.{name}": sum(one.counts[name] for one in self._witnesses)
            for name in ("cosigned", "failed")
        }
        return asked | {"witness.unkept": self._unkept}

    async def run(self, interval_ms: int) -> None:
        """Take each newest note to the witnesses, not more often than that. Until cancelled.

        One that could not be written is taken there again, though nothing newer is final.
        """
        seen = -1
        while self._witnesses:
            seen = await self._ledger.advanced.after(-1 if self._is_owed else seen)
            begun = trio.current_time()
            note = await self.signed()
            if note is not None:
                await self.cosign(note)
            await trio.sleep_until(begun + interval_ms / 1000)

    async def cosign(self, note: Note) -> Note:
        """Ask all witnesses at once; keep the note if enough of them cosigned it."""
        lines: dict[int, Line] = {}

        async def ask(at: int, one: Outside) -> None:
            try:
                with trio.fail_after(DEADLINE_S):
                    lines[at] = await self._cosignature(one, note)
                one.counts["cosigned"] += 1
            except Overtaken as error:
                log.debug("witness %s %s", one.key.name, error)
            except (RemoteError, trio.TooSlowError) as error:
                one.counts["failed"] += 1
                log.warning("witness %s: %s", one.key.name, error or f"no answer within {DEADLINE_S} s")

        async with trio.open_nursery() as nursery:
            for at, one in enumerate(self._witnesses):
                nursery.start_soon(ask, at, one)
        whole = Note(note.text, (*note.lines, *(lines[at] for at in sorted(lines))))
        if len(lines) >= self._needed:
            await self._keep(whole)
        return whole

    async def _keep(self, note: Note) -> None:
        try:
            await trio.to_thread.run_sync(_replace, self._file, note.encode())
        except OSError as error:  # a full disk, say
            self._unkept += 1
            self._is_owed = True
            log.error("the note of %d leaves is not kept: %s", note.head().size, error)
        else:
            self._is_owed = False

    async def _cosignature(self, witness: Outside, note: Note) -> Line:
        """Raises RemoteError."""
        size = note.head().size
        knows = True  # who made final what it cosigned, if it follows us by our genesis
        for _ in range(3):  # the second time we know the size that it has
            if witness.size > size:
                raise Overtaken(f"has cosigned {witness.size} leaves already, these are {size}")
            proof: tuple[bytes, ...] = ()
            store = self._ledger.replica.store
            if witness.size:
                proof = await trio.to_thread.run_sync(proving.consistency, store, witness.size, size)
            final = await trio.to_thread.run_sync(_finality, store, note.head(), witness.size if knows else 0)
            body = request(witness.size, proof, Note(note.text, (*note.lines, *final)))
            status, answer = await post(f"{witness.url}/add-checkpoint", body, size_max=ANSWER_SIZE_MAX)
            if status == 200:
                line = _verified(note, answer, witness.key)
                witness.size = size
                return line
            if status == 409:
                witness.size = _size(answer)
            elif status == 403 and witness.size and knows:
                knows = False  # it may have followed a key until now
            else:
                said = answer[:200].decode(errors="replace")
                raise RemoteError(f"answers {status}: {said}", code="refused")
        raise RemoteError("does not stand by the size that it said", code="refused")


def _finality(store: Store, head: TreeHead, seen: int) -> tuple[Line, ...]:
    """That the tree is final, for a witness that follows us by our genesis and cosigned `seen` leaves.

    Nothing when it cannot be shown: to a witness that follows a key of ours it does not matter.
    """
    try:
        found = proving.certified_at(store, head.size, seen)
    except UsageError as error:
        log.warning("no witness can know who made %d leaves final: %s", head.size, error)
        return ()
    data = b"" if found is None else canonical.encode(found)
    if len(data) > CERTIFIED_SIZE_MAX:
        log.warning("%d bytes say that %d leaves are final: too many for a note", len(data), head.size)
    return (notes.finality_line(head.origin, data),) if 0 < len(data) <= CERTIFIED_SIZE_MAX else ()


def _verified(note: Note, answer: bytes, key: VerifierKey) -> Line:
    """The witness's own line of its answer. Raises RemoteError."""
    for line in notes.parse_lines(answer):
        if (line.name, line.id) == (key.name, key.id):
            notes.signers(Note(note.text, (line,)), [key])
            return line
    raise RemoteError("answers without its own signature", code="bad_answer")


def _size(answer: bytes) -> int:
    text = answer.rstrip(b"\n")
    if not text.isdigit() or len(text) > 19:
        raise RemoteError("answers 409 without a size", code="bad_answer")
    return int(text)


def _replace(file: Path, data: bytes) -> None:
    """The old note or the new one, whatever happens in between."""
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
