"""Values and receipts that a stranger can check with nothing but a genesis object; and every way to lie."""

from __future__ import annotations

import contextlib
import io
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import archive, canonical, merkle, merkle_map, proofs, proving
from ledger.audit import audit
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.execution import Context, Receipt
from ledger.genesis import Validator
from ledger.proofs import Certified, Proof, ReceiptProof, RowProof, Step, Trust
from ledger.state import State
from ledger.store import Store
from ledger.validators import TABLE, ValidatorSet, epoch_of, parse_set, row_key
from ledger.votes import Phase
from tests.ledger.forging import Forger, Lies, set_of
from tests.ledger.histories import CountingRules, History, certify, key, seated, talk
from tests.ledger.turning import Turning, turning


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


def handed_on(lies: Lies | None = None) -> tuple[Trust, Certified]:
    """Four validators, one of whom is another from epoch 2 on; the proof of a height in epoch 2."""
    forger = Forger(lies)
    forger.archive()
    by_kind: dict[str, list[bytes]] = {}
    for kind, data in forger.blocks:
        by_kind.setdefault(kind, []).append(data)
    step = Step(by_kind["checkpoint"][5], by_kind["certificate"][5], by_kind["validators"][0])
    return Trust(forger.genesis), Certified(by_kind["checkpoint"][-1], by_kind["finality"][0], (step,))


def test_validators_of_genesis_name_those_who_follow_them() -> None:
    trust, final = handed_on()
    assert trust.check_final(final).height == 8


@pytest.mark.parametrize(
    ("why", "lie"),
    [
        ("nobody names", {"steps": ()}),
        ("not the validators", {"validators": set_of({"north": 1}).encode()}),
        ("another checkpoint", {"checkpoint": "of the end"}),
        ("not a finality certificate", {"certificate": "that only notarizes"}),
        ("epoch 1 after epoch 2", {"steps": "twice"}),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_step_that_does_not_follow_is_refused(why: str, lie: dict[str, Any]) -> None:
    trust, final = handed_on()
    (step,) = final.steps
    steps: tuple[Step, ...] = (step,)
    if "steps" in lie:
        steps = (step, step) if lie["steps"] == "twice" else ()
    elif "validators" in lie:
        steps = (msgspec.structs.replace(step, validators=lie["validators"]),)
    elif "checkpoint" in lie:
        steps = (msgspec.structs.replace(step, checkpoint=final.checkpoint),)
    else:
        trust, final = handed_on(Lies(phase={6: lambda _: Phase.NOTARIZE}))
        steps = final.steps
    with pytest.raises(RemoteError, match=why):
        trust.check_final(msgspec.structs.replace(final, steps=steps))


class Growing(CountingRules):
    """The one validator has another stake in every second epoch."""

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        state, receipt = super().close(state, context)
        epoch = epoch_of(context.height, 2)
        if context.height % 2 == 0:
            member = Validator(key("anchor").public, 1 + epoch // 2)
            state = state.put(TABLE, row_key(epoch + 2), ValidatorSet.of([member]).encode())
        return state, receipt


def test_a_store_knows_each_change_of_validators(database_url: Callable[[], str]) -> None:
    """One step, as the one key is known from genesis on; in the archive a list for each change."""
    history = History(rules=Growing(), params={"epoch_checkpoints": 2})
    for _ in range(15):
        history.finalize()
    assert history.last is not None
    store = history.write_to(Store.create(database_url(), history.genesis))
    final = proving.certified(store, history.last)
    stakes = [parse_set(step.validators).total for step in final.steps]
    assert (history.last.checkpoint.epoch, stakes) == (7, [3])
    assert Trust(history.genesis).check_final(final) == history.last.checkpoint
    out = io.BytesIO()
    archive.write(store, out)
    kinds = [kind for kind, _ in archive.read(io.BytesIO(out.getvalue()))[1]]
    assert kinds.count("validators") == 3, "one more, for the epoch after"
    assert audit(out.getvalue(), Growing(), net=history.net).problem is None


def test_changes_that_leave_the_stake_where_it_was_take_no_steps() -> None:
    """Whoever bonds a little in every epoch cannot make proofs longer, nor put an end to them."""
    history = History(rules=Growing(), params={"epoch_checkpoints": 2})
    for _ in range(420):
        history.finalize()
    assert history.last is not None
    store = history.write_to(Store.create("sqlite://", history.genesis))
    final = proving.certified(store, history.last)
    assert (history.last.checkpoint.epoch, len(final.steps)) == (209, 1)
    assert Trust(history.genesis).check_final(final) == history.last.checkpoint


@pytest.mark.parametrize(("by", "steps"), [(1, [3, 5, 7, 9]), (2, [2, 3, 4, 5, 6, 7, 8, 9])])
def test_a_step_leads_as_far_as_three_of_four_are_known(by: int, steps: list[int]) -> None:
    """To the epoch after one in which they still sign; all are others in the end."""
    history = turning(10, by)
    store = history.write_to(Store.create("sqlite://", history.genesis))
    assert history.last is not None
    final = proving.certified(store, history.last)
    seats = [sorted(parse_set(step.validators).stakes) for step in final.steps]
    assert seats == [[one.key for one in seated(Turning(by).seats(epoch))] for epoch in steps]
    assert Trust(history.genesis).check_final(final) == history.last.checkpoint


def test_who_knows_later_validators_needs_fewer_steps() -> None:
    """And what they believe begins there: it does not matter any more what those of genesis sign."""
    history = turning(10)
    store = history.write_to(Store.create("sqlite://", history.genesis))
    assert history.last is not None
    first = proving.certified(store, history.last)
    halfway = proofs.Known(parse_set(first.steps[1].validators), 5, 5)
    rest = proving.certified(store, history.last, halfway)
    assert rest.steps == first.steps[2:]
    checkpoint, known = Trust(history.genesis, halfway).follow(rest)
    assert (checkpoint, known.since, known.until) == (history.last.checkpoint, 9, 9)
    with pytest.raises(RemoteError):
        Trust(history.genesis, halfway).check_final(first)
    with pytest.raises(RemoteError):
        Trust(history.genesis).check_final(rest)


def test_a_step_that_half_of_those_known_signed_is_refused() -> None:
    """Three of four sign in the set of their time, and two of them are known."""
    history = turning(10)
    store = history.write_to(Store.create("sqlite://", history.genesis))
    assert history.last is not None
    final = proving.certified(store, history.last)
    short = msgspec.structs.replace(final, steps=final.steps[1:])
    with pytest.raises(RemoteError, match="not more than two thirds"):
        Trust(history.genesis).check_final(short)


def test_votes_of_unknown_validators_are_not_looked_at_and_those_of_known_ones_are() -> None:
    history = turning(4)
    store = history.write_to(Store.create("sqlite://", history.genesis))
    assert history.last is not None
    final = proving.certified(store, history.last)
    (step,) = final.steps
    known = {one.key for one in history.genesis.validators}

    def bent(by_known: bool) -> Certified:
        made = canonical.decode(step.certificate, size_max=1 << 16)
        at = next(at for at, vote in enumerate(made["votes"]) if (vote["by"] in known) is by_known)
        made["votes"][at]["sig"] = bytes(64)
        other = msgspec.structs.replace(step, certificate=canonical.encode(made))
        return msgspec.structs.replace(final, steps=(other,))

    assert Trust(history.genesis).check_final(bent(by_known=False)) == history.last.checkpoint
    with pytest.raises(RemoteError, match="not signed"):
        Trust(history.genesis).check_final(bent(by_known=True))


def test_a_stake_that_changed_hands_too_often_is_said_to_have() -> None:
    history = turning(10)
    store = history.write_to(Store.create("sqlite://", history.genesis))
    assert len(proving.steps(store, 9, most=4)) == 4
    with pytest.raises(UsageError) as caught:
        proving.steps(store, 8, most=3)
    assert caught.value.code == "too_many_steps"


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
        assert line.event is not None
        assert line.event.header == proven.header
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


@given(data=st.data())
def test_garbage_in_a_proof_is_refused_and_nothing_else(known: Known, data: st.DataObject) -> None:
    """Whatever bytes stand in whatever field."""
    good = Proof(known.final, (known.row("count", key("alice").public),), known.receipt(known.events()[0]))
    plain = msgspec.to_builtins(good)
    part = data.draw(st.sampled_from([plain, plain["final"], plain["rows"][0], plain["receipt"]]))
    field = data.draw(st.sampled_from(sorted(part)))
    part[field] = data.draw(
        st.none() | st.integers() | st.binary(max_size=80).map(lambda junk: b64encode(junk).decode())
    )
    with contextlib.suppress(RemoteError, msgspec.ValidationError):
        given_one = msgspec.convert(plain, Proof, strict=True)
        checkpoint = known.trust.check_final(given_one.final)
        for row in given_one.rows:
            proofs.check_row(row, checkpoint)
        if given_one.receipt is not None:
            proofs.check_receipt(given_one.receipt, checkpoint)
