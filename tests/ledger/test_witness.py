"""A witness: what it cosigns, what it refuses and how it says so, and that it forgets nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import canonical, merkle, notes, proving
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.database import connect
from ledger.notes import Note, TreeHead
from ledger.proofs import Certified, Trust
from ledger.store import Store
from ledger.witness import SIZE_TYPE, Answer, Witness, origin_hash_of, request
from tests.ledger.histories import certified, key
from tests.ledger.turning import turning

NET = Cid.of(b"a network")
ORIGIN = notes.origin_of(NET)
LOG, WITNESS = key("validator"), key("witness")
NAME = "example.org/witness"
COSIGNER = notes.witness_key(NAME, WITNESS.public)
LEAVES = [merkle.leaf_hash(b"leaf %d" % at) for at in range(200)]
FORK = [*LEAVES[:50], *LEAVES[100:200], *LEAVES[50:100]]
NOW = 1_700_000_000


def note(size: int, *, leaves: list[bytes] = LEAVES, by: bytes | None = None, origin: str = ORIGIN) -> Note:
    head = TreeHead(origin, size, merkle.root(leaves[:size]))
    return Note(head.text(), (notes.sign(head, LOG if by is None else key(by.decode())),))


def wish(old: int, size: int, *, leaves: list[bytes] = LEAVES) -> bytes:
    proof = merkle.consistency_proof(leaves[:size], old) if 0 < old <= size else ()
    return request(old, proof, note(size, leaves=leaves))


NOTHING = TreeHead(ORIGIN, 0, bytes(32))
EMPTY = Note(NOTHING.text(), (notes.sign(NOTHING, LOG),))
"""Says that the empty tree has another root than it has."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(f"sqlite:///{tmp_path}/witness.db")
    yield engine
    engine.dispose()


@pytest.fixture
def witness(engine: sa.Engine) -> Witness:
    return Witness(engine, NAME, WITNESS, {ORIGIN: notes.validator_key(NET, LOG.public)})


def ask(witness: Witness, body: bytes) -> Answer:
    return witness.add_checkpoint(body, NOW)


def test_a_first_checkpoint_is_cosigned_with_the_time(witness: Witness) -> None:
    """The answer is one signature line, which verifies on the note that was sent."""
    answer = ask(witness, wish(0, 10))
    assert answer.status == 200
    cosigned = Note(note(10).text, notes.parse_lines(answer.body))
    assert notes.signers(cosigned, [COSIGNER]) == {COSIGNER: NOW}


def test_a_log_that_grows_is_cosigned_each_time(witness: Witness) -> None:
    sizes = [0, 1, 2, 50, 50, 64, 200]
    for old, size in pairwise(sizes):
        assert ask(witness, wish(old, size)).status == 200


def test_who_does_not_know_the_last_size_is_told(witness: Witness) -> None:
    ask(witness, wish(0, 50))
    for old in (0, 49, 51):
        assert ask(witness, wish(old, 60)) == Answer(409, b"50\n", SIZE_TYPE)
    assert ask(witness, wish(50, 60)).status == 200


def test_a_split_history_is_not_cosigned(witness: Witness) -> None:
    """The log signs another history from leaf 50 on; the proof of it cannot fit."""
    ask(witness, wish(0, 100))
    assert ask(witness, wish(100, 150, leaves=FORK)).status == 422
    assert ask(witness, wish(100, 100, leaves=FORK)).status == 422
    assert ask(witness, wish(100, 150)).status == 200


def test_a_log_never_shrinks(witness: Witness) -> None:
    ask(witness, wish(0, 100))
    assert ask(witness, wish(100, 50)).status == 400
    assert ask(witness, wish(50, 50)).status == 409


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, request(0, (), note(10, origin="fog/another"))),
        (403, request(0, (), note(10, by=b"stranger"))),
        (403, request(0, (), Note(note(10).text, note(11).lines))),
        (422, request(0, LEAVES[:1], note(10))),
        (
            422,
            request(
                0,
                (),
                Note(
                    TreeHead(ORIGIN, 0, bytes(32)).text(), (notes.sign(TreeHead(ORIGIN, 0, bytes(32)), LOG),)
                ),
            ),
        ),
        (400, b""),
        (400, wish(0, 10).replace(b"old 0", b"old 00")),
        (400, wish(0, 10).replace(b"old 0", b"new 0")),
        (400, wish(0, 10).replace(b"old 0", b"old 0\nnot base64")),
        (400, wish(0, 10).replace(b"old 0", b"old 0\nAAAA")),
        (400, request(0, [bytes(32)] * 64, note(10))),
        (400, wish(0, 10)[:-1]),
        (400, wish(0, 10) + b"x" * 200_000),
    ],
)
def test_what_is_wrong_has_the_status_of_the_specification(
    witness: Witness, status: int, body: bytes
) -> None:
    """And changes nothing: the next good one is cosigned."""
    assert ask(witness, body).status == status
    assert ask(witness, wish(0, 10)).status == 200


def test_the_empty_tree_is_cosigned_too(witness: Witness) -> None:
    assert ask(witness, wish(0, 0)).status == 200
    assert ask(witness, wish(0, 10)).status == 200


def test_lines_of_strangers_do_not_matter(witness: Witness) -> None:
    good = note(10)
    more = Note(good.text, (notes.Line("someone", b"1234", b"5678"), *good.lines))
    assert ask(witness, request(0, (), more)).status == 200


def test_what_it_cosigned_survives_it(witness: Witness, engine: sa.Engine) -> None:
    """Another process on the same file goes on where this one was."""
    ask(witness, wish(0, 50))
    heir = Witness(engine, NAME, WITNESS, witness.logs)
    assert ask(heir, wish(0, 60)).status == 409
    assert ask(heir, wish(50, 60)).status == 200


def test_monitors_get_the_last_note_with_log_and_witness(witness: Witness) -> None:
    where = origin_hash_of(ORIGIN)
    assert witness.checkpoint(where) is None
    ask(witness, wish(0, 10))
    ask(witness, wish(10, 20))
    kept = witness.checkpoint(where)
    assert kept is not None
    found = notes.parse(kept)
    assert found.head().size == 20
    assert len(notes.signers(found, [COSIGNER, notes.validator_key(NET, LOG.public)])) == 2


def test_of_many_at_once_one_wins(witness: Witness) -> None:
    """Both sizes continue the last one; whoever comes second hears the new size."""
    ask(witness, wish(0, 50))
    bodies = [wish(50, size) for size in range(51, 67)]
    answers: dict[int, Answer] = {}
    start = threading.Barrier(len(bodies))

    def send(at: int) -> None:
        start.wait()
        answers[at] = ask(witness, bodies[at])

    threads = [threading.Thread(target=send, args=(at,)) for at in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    won = [at for at, answer in answers.items() if answer.status == 200]
    assert len(won) == 1
    assert {answer.body for answer in answers.values() if answer.status == 409} == {b"%d\n" % (51 + won[0])}


@given(st.binary(max_size=400) | st.binary(max_size=40).map(lambda junk: wish(0, 10)[: len(junk)] + junk))
def test_garbage_is_an_answer(data: bytes) -> None:
    engine = connect("sqlite://")
    witness = Witness(engine, NAME, WITNESS, {ORIGIN: notes.validator_key(NET, WITNESS.public)})
    assert ask(witness, data).status in (400, 403, 404)
    engine.dispose()


class Network:
    """Four validators, another of them in every epoch; and a witness that knows their genesis."""

    def __init__(self, engine: sa.Engine) -> None:
        self.history = turning(10)
        self.store = self.history.write_to(Store.create("sqlite://", self.history.genesis))
        self.origin = notes.origin_of(self.history.net)
        self._engine = engine
        self.witness = self.opened()

    def opened(self) -> Witness:
        return Witness(self._engine, NAME, WITNESS, {self.origin: self.history.genesis})

    def checkpoint(self, height: int) -> Checkpoint:
        return parse_checkpoint(self.store.checkpoints(height, 1)[0][0], net=self.history.net)

    def wish(
        self,
        height: int,
        old: int = 0,
        *,
        head: TreeHead | None = None,
        proof: tuple[bytes, ...] = (),
        final: Certified | None = None,
        by: str = "seat 0",
    ) -> bytes:
        """To cosign the tree of this height, after that of `old`; with a lie instead of what is given."""
        about = self.checkpoint(height)
        seen = self.checkpoint(old).n if old else 0
        final = final or proving.certified_at(self.store, about.n, seen)
        assert final is not None
        head = head or TreeHead(self.origin, about.n, about.eroot)
        lines = (notes.sign(head, key(by)), notes.finality_line(self.origin, canonical.encode(final)))
        if old and not proof:
            proof = proving.consistency(self.store, seen, about.n)
        return request(seen, proof, Note(head.text(), lines))


@pytest.fixture
def network(engine: sa.Engine) -> Network:
    return Network(engine)


def test_what_a_quorum_made_final_is_cosigned(network: Network) -> None:
    """From one set of validators to the next, and by a witness that was started again in between."""
    for old, height in pairwise((0, 2, 3, 7, 12, 20)):
        answer = ask(network.opened(), network.wish(height, old))
        assert answer.status == 200, answer.body


def test_one_validator_cannot_keep_a_witness_from_cosigning(network: Network) -> None:
    """It signs a tree that has leaves of its own on top of the true ones, which nobody else can continue."""
    assert ask(network.witness, network.wish(3)).status == 200
    about = network.checkpoint(3)
    leaves = [proving.inclusion(network.store, at, about.n)[0] for at in range(1, about.n + 1)]
    made_up = [*leaves, *LEAVES[:100]]
    head = TreeHead(network.origin, len(made_up), merkle.root(made_up))
    proof = merkle.consistency_proof(made_up, about.n)
    lie = network.wish(3, 3, head=head, proof=tuple(proof))
    assert ask(network.witness, lie).status == 403
    unproven = notes.parse(lie.split(b"\n\n", 1)[1])
    alone = Note(unproven.text, unproven.lines[:1])
    assert ask(network.witness, request(about.n, proof, alone)).status == 403
    assert ask(network.witness, network.wish(7, 3)).status == 200


def test_validators_who_left_cannot_go_on_where_they_were(network: Network) -> None:
    """All of genesis sign another height of epoch 1, which they did decide; it was behind us already."""
    assert ask(network.witness, network.wish(12)).status == 200
    last, other = network.checkpoint(12), network.checkpoint(4)
    lie = replace(other, n=last.n + 1, eroot=merkle.leaf_hash(b"another history"))
    certificate = certified(map(key, network.history.seats(0)), lie, 1)
    head = TreeHead(network.origin, lie.n, lie.eroot)
    final = Certified(lie.encode(), certificate.encode())
    assert Trust(network.history.genesis).check_final(final) == lie
    answer = ask(network.witness, network.wish(12, 12, head=head, proof=(bytes(32),), final=final))
    assert answer.status == 403
    assert ask(network.witness, network.wish(20, 12)).status == 200


def test_a_proof_of_another_tree_is_none_of_this(network: Network) -> None:
    final = proving.certified_at(network.store, network.checkpoint(2).n, 0)
    assert ask(network.witness, network.wish(3, final=final)).status == 403
    assert ask(network.witness, network.wish(3)).status == 200


def test_the_note_that_is_kept_says_who_made_it_final(network: Network) -> None:
    """Monitors get the proof, the words of validators of that epoch, and nobody else's."""
    ask(network.witness, network.wish(3, by="stranger"))
    ask(network.witness, network.wish(12, 3, by="seat 5"))
    kept = notes.parse(network.witness.checkpoint(origin_hash_of(network.origin)) or b"")
    seat, line, own = kept.lines
    voter = key("seat 5").public
    assert line == notes.finality_of(kept)
    assert notes.signers(Note(kept.text, (own,)), [COSIGNER]) == {COSIGNER: NOW}
    assert notes.signers(Note(kept.text, (seat,)), [notes.validator_key(network.history.net, voter)])


def test_who_does_not_know_what_was_seen_of_a_network_is_told(network: Network) -> None:
    """A proof depends on it: whoever lost count sends one from genesis, which is worth nothing any more."""
    ask(network.witness, network.wish(12))
    told = Answer(409, b"%d\n" % network.checkpoint(12).n, SIZE_TYPE)
    assert ask(network.witness, network.wish(20)) == told
    assert ask(network.witness, network.wish(3)) == told
    assert ask(network.witness, network.wish(20, 12)).status == 200


@given(junk=st.binary(min_size=1, max_size=200), at=st.integers(0, 2_000))
def test_garbage_for_a_proof_is_an_answer(junk: bytes, at: int) -> None:
    """What of it is not looked at (votes of those who were not known) may be anything."""
    network = asked_before()
    whole = notes.parse(network.wish(7, 3).split(b"\n\n", 1)[1])
    data = whole.lines[1].data
    bent = data[:at] + junk + data[at + len(junk) :]
    assume(bent != data)
    lines = (whole.lines[0], notes.finality_line(network.origin, bent))
    seen = network.checkpoint(3).n
    proof = proving.consistency(network.store, seen, network.checkpoint(7).n)
    assert ask(network.witness, request(seen, proof, Note(whole.text, lines))).status in (200, 403, 409)


@cache
def asked_before() -> Network:
    network = Network(connect("sqlite://"))
    assert ask(network.witness, network.wish(3)).status == 200
    return network
