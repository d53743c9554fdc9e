"""Real votes, evidence, notes and proofs for the corpus: by target, (label, bytes)."""

from __future__ import annotations

from collections.abc import Callable

from domain.vouchers import SignedVoucher, Voucher
from fog import voucher_line
from ledger import canonical, notes, witness
from ledger.cid import Cid
from ledger.evidence import VoteFault
from ledger.notes import Note, TreeHead
from ledger.proofs import Proof
from ledger.store import Store
from ledger.validators import ValidatorSet
from ledger.votes import Certificate, Phase, Proposal
from ledger.warrants import Warrant
from tests.fuzz.cast import NET, SIGNERS
from tests.fuzz.real_events import Real, an_event
from tests.fuzz.targets_finality import VALIDATORS, make_vote
from tests.fuzz.targets_proofs import KNOWN
from tests.fuzz.targets_snapshot import LEAVES, ROWS, given
from tests.ledger import samples
from tests.ledger.histories import talk
from tests.ledger.samples import Draw
from tests.ledger.test_proofs import Known

TARGET = Cid.of(b"checkpoint")


def checkpoints() -> Real:
    for number in range(8):
        yield f"{number}", samples.checkpoint(Draw("checkpoint", number), net=NET).encode()


def certificates() -> Real:
    for phase in (Phase.NOTARIZE, Phase.FINALIZE, Phase.SKIP):
        target = None if phase is Phase.SKIP else TARGET
        for count in (1, 3, 4):
            made = Certificate.of([make_vote(7, target, phase, key=key) for key in range(count)])
            yield f"{phase.name} of {count}", made.encode()


def messages() -> Real:
    for phase in Phase:
        yield f"vote {phase.name}", make_vote(3, None if phase is Phase.SKIP else TARGET, phase).encode()
    yield from certificates()
    checkpoint = samples.checkpoint(Draw("proposal"), net=NET)
    parent = Certificate.of([make_vote(7, TARGET, Phase.NOTARIZE, key=key) for key in range(3)])
    vote = make_vote(8, checkpoint.id, Phase.PROPOSE)
    yield "proposal", Proposal(vote, checkpoint.encode(), parent.encode()).encode()
    yield "first proposal", Proposal(vote, checkpoint.encode(), b"").encode()


def faults() -> Real:
    for phase in (Phase.PROPOSE, Phase.NOTARIZE, Phase.FINALIZE):
        yield phase.name, VoteFault.of(*(make_vote(7, Cid.of(name), phase) for name in (b"1", b"2"))).encode()
    yield "final and skipped", VoteFault.of(make_vote(7, TARGET), make_vote(7, None, Phase.SKIP)).encode()


def sets() -> Real:
    yield "four", VALIDATORS.encode()
    yield "one", ValidatorSet({SIGNERS[0].public: 2**62}).encode()


def warrants() -> Real:
    """A first event, and a second one that is in a hurry, runs back in time, or skips one."""
    first = an_event(0, seq=0, prev=None, parents=(), lc=1, lane=0)
    other = an_event(1, seq=0, prev=None, parents=(), lc=1, lane=0)
    for name, lies in {
        "lc": {"lc": 9},
        "ts": {"ts": 0},
        "seq": {"seq": 2},
        "two parents": {"lc": 9, "parents": (other.id,)},
    }.items():
        fields = {"seq": 1, "prev": first.id, "parents": (), "lc": 2, "lane": 0, "ts": first.header.ts} | lies
        parents = [first, other] if "parents" in lies else [first]
        yield name, Warrant.of(an_event(0, **fields), parents).encode()
    honest = an_event(0, seq=1, prev=first.id, parents=(), lc=2, lane=0, ts=first.header.ts)
    yield "no lie", Warrant.of(honest, [first]).encode()


def a_voucher(total: int) -> SignedVoucher:
    return SignedVoucher.make(SIGNERS[0], Voucher(NET, Cid.of(b"escrow"), total))


def vouchers() -> Real:
    for total in (1, 24, 2**63 - 1):
        yield f"{total}", a_voucher(total).encode()


def voucher_lines() -> Real:
    yield "small", voucher_line.write(a_voucher(1)).encode()
    yield "in capitals", f" {voucher_line.write(a_voucher(10**9)).upper()} \n".encode()


def a_note(size: int, *, cosigned: bool) -> Note:
    head = TreeHead(notes.origin_of(NET), size, bytes(range(32)))
    note = Note(head.text(), tuple(notes.sign(head, key) for key in SIGNERS[:2]))
    if cosigned:
        line = notes.cosign(note, "example.org/witness", SIGNERS[2], 1_700_000_000)
        note = Note(note.text, (*note.lines, line))
    return note


def some_notes() -> Real:
    yield "signed", a_note(4711, cosigned=False).encode()
    yield "cosigned", a_note(0, cosigned=True).encode()
    yield (
        "with extensions",
        Note(
            "example.org/log\n7\n" + notes.in_base64(bytes(32)) + "\nmore\n", a_note(1, cosigned=True).lines
        ).encode(),
    )


def verifier_keys() -> Real:
    for number, known in enumerate(KNOWN):
        yield f"{number}", str(known).encode()


def witness_requests() -> Real:
    yield "first", witness.request(0, (), a_note(7, cosigned=False))
    yield "later", witness.request(3, (bytes(32), bytes(range(32))), a_note(7, cosigned=True))


def some_proofs() -> Real:
    history = talk()
    with Store.create("sqlite://", history.genesis) as store:
        known = Known(history, history.write_to(store))
        author = history.draft("alice").header.by
        rows = (known.row("count", author), known.row("count", b"nobody"))
        yield "of nothing", canonical.encode(Proof(known.final))
        yield "rows", canonical.encode(Proof(known.final, rows))
        for number, event in enumerate(known.events()[:2]):
            yield f"receipt {number}", canonical.encode(Proof(known.final, (), known.receipt(event)))


def manifests() -> Real:
    yield "small", given()[1].encode()


def rows() -> Real:
    yield "all", given()[2][ROWS]


def leaves() -> Real:
    yield "all", given()[2][LEAVES]


PROOFS: dict[str, Callable[[], Real]] = {
    "checkpoint": checkpoints,
    "vote-message": messages,
    "certificate": certificates,
    "vote-fault": faults,
    "validator-set": sets,
    "warrant": warrants,
    "voucher": vouchers,
    "voucher-line": voucher_lines,
    "note": some_notes,
    "verifier-key": verifier_keys,
    "witness-request": witness_requests,
    "proof": some_proofs,
    "snapshot-manifest": manifests,
    "snapshot-rows": rows,
    "snapshot-leaves": leaves,
}
