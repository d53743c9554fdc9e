"""Values and receipts that a stranger can check with nothing but a genesis object; and every way to lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle, merkle_map, proofs, proving
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.proofs import Certified, ReceiptProof, RowProof, Trust
from ledger.store import Store
from tests.ledger.histories import History, certify, key, talk


class Known:
    """A history in a store, and the finality of its end."""

    def __init__(self, history: History, store: Store) -> None:
        assert history.last is not None
        self.history, self.store = history, store
        self.checkpoint = history.last[0]
        self.final = Certified(*(part.encode() for part in history.last))
        self.trust = Trust(history.genesis)

    def row(self, table: str, key: bytes) -> RowProof:
        state = self.history.state
        return proving.row_proof(state.merkle_map, table, key, state.get(table, key))

    def receipt(self, id: Cid) -> ReceiptProof:
        proof = proving.receipt_proof(self.store, id, self.checkpoint)
        assert proof is not None
        return proof

    def events(self) -> list[Cid]:
        return [id for step in self.history.steps if step.final is not None for id in step.final[0].order]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    history = talk()
    with Store.create(f"sqlite:///{tmp_path_factory.mktemp('p')}/store.db", history.genesis) as store:
        yield Known(history, history.write_to(store))


def test_a_final_checkpoint_is_believed_for_its_certificate_alone(known: Known) -> None:
    assert known.trust.check_final(known.final) == known.checkpoint


def test_a_certificate_is_worth_nothing_for_another_checkpoint(known: Known) -> None:
    other = msgspec.structs.replace(known.checkpoint, n=known.checkpoint.n + 1)
    with pytest.raises(RemoteError, match="another checkpoint"):
        known.trust.check_final(Certified(other.encode(), known.final.certificate))


def test_votes_of_strangers_prove_nothing(known: Known) -> None:
    certificate = certify(key("stranger"), known.checkpoint, 1)
    with pytest.raises(RemoteError, match="not a validator"):
        known.trust.check_final(Certified(known.final.checkpoint, certificate.encode()))


def test_a_reader_of_another_network_believes_none_of_it(known: Known) -> None:
    with pytest.raises(RemoteError, match="network"):
        Trust(History(name="another").genesis).check_final(known.final)


def test_every_row_of_the_state_is_proven(known: Known) -> None:
    state = known.history.state
    rows = [(table, key, value) for table in state.tables() for key, value in state.items(table)]
    assert len(rows) > 5
    for table, row, value in rows:
        assert proofs.check_row(known.row(table, row), known.checkpoint) == value


def test_what_is_not_there_is_proven_too(known: Known) -> None:
    assert proofs.check_row(known.row("count", key("nobody").public), known.checkpoint) is None


def test_a_row_with_another_value_or_key_or_none_is_refused(known: Known) -> None:
    row = known.row("count", key("alice").public)
    assert row.value is not None
    for lie in (
        {"value": row.value[:-1] + b"\x7f"},
        {"value": None},
        {"key": key("bob").public},
        {"table": "counts"},
        {"siblings": row.siblings[:-1]},
        {"siblings": (*row.siblings, bytes(32))},
        {"value": None, "other": merkle_map.path_of("count", key("bob").public) + bytes(32)},
    ):
        with pytest.raises(RemoteError, match="does not say so"):
            proofs.check_row(msgspec.structs.replace(row, **lie), known.checkpoint)  # type: ignore[arg-type]


def test_every_event_is_proven_with_its_receipt(known: Known) -> None:
    """Effective, refused and void ones, of each checkpoint, at their position in the whole history."""
    lines = {line.event_id: line for line in known.store.finalized(0, 1_000)}
    assert len(known.events()) == 7
    for id in known.events():
        proven = proofs.check_receipt(known.receipt(id), known.checkpoint)
        line = lines[id]
        assert line.header == proven.header
        assert (proven.id, proven.receipt, proven.height, proven.position) == (
            id,
            line.receipt,
            line.height,
            line.position,
        )


def test_an_event_that_is_not_final_has_no_proof(known: Known) -> None:
    assert proving.receipt_proof(known.store, Cid.of(b"nothing"), known.checkpoint) is None


def test_an_event_is_not_in_an_older_checkpoint(known: Known) -> None:
    [(first, _)] = known.store.checkpoints(1, 1)
    early = Checkpoint(**msgspec.structs.asdict(known.checkpoint) | {"height": 1, "n": 4})
    assert first
    assert proving.receipt_proof(known.store, known.events()[-1], early) is None


LIES: list[dict[str, Any]] = [
    {"index": 1},
    {"receipts": 3},
    {"height": 2},
    {"sroot": bytes(32)},
    {"rroot": bytes(32)},
    {"end": 5},
    {"end": 1},
    {"event_path": ()},
    {"receipt_path": ()},
    {"end_path": ()},
    {"signature": bytes(64)},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
def test_a_receipt_that_was_moved_or_changed_is_refused(known: Known, lie: dict[str, Any]) -> None:
    proof = known.receipt(known.events()[0])
    with pytest.raises(RemoteError):
        proofs.check_receipt(msgspec.structs.replace(proof, **lie), known.checkpoint)


def test_the_receipt_of_another_event_is_refused(known: Known) -> None:
    one, other = (known.receipt(id) for id in known.events()[:2])
    with pytest.raises(RemoteError, match="another event"):
        proofs.check_receipt(msgspec.structs.replace(one, receipt=other.receipt), known.checkpoint)


@given(position=st.integers(1, 10), size=st.integers(1, 10))
def test_inclusion_counts_positions_from_one(known: Known, position: int, size: int) -> None:
    """The left edge gives the root: every hash of its path is to its right."""
    leaf, path = proving.inclusion(known.store, min(position, size), size)
    root, right = proving.inclusion(known.store, 1, size)
    for hash in right:
        root = merkle.node_hash(root, hash)
    assert merkle.verify_inclusion(leaf, min(position, size) - 1, size, path, root)
