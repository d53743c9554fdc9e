"""A witness: what it cosigns, what it refuses and how it says so, and that it forgets nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle, notes
from ledger.cid import Cid
from ledger.database import connect
from ledger.notes import Note, TreeHead
from ledger.witness import SIZE_TYPE, Answer, Witness, origin_hash_of, request
from tests.ledger.histories import key

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
    return Witness(engine, NAME, WITNESS, {ORIGIN: [notes.validator_key(NET, LOG.public)]})


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
    witness = Witness(engine, NAME, WITNESS, {ORIGIN: []})
    assert ask(witness, data).status in (400, 403, 404)
    engine.dispose()
