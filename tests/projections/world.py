"""A ledger whose events say their own effects, so that a test can put any history into a real store.

`World` is one node's store with one validator. Authors sign real events; `Told` is a real implementation of
`Rules` that reads receipts off the bodies instead of working them out; cuts, trees, checkpoints, certificates
and the store are the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain import effects
from domain.effects import Effect
from ledger import canonical, event
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.cut import delta_id, execute_cut, genesis_state
from ledger.event import Event
from ledger.execution import Context, Receipt
from ledger.genesis import Allocation, Genesis, Validator
from ledger.merkle import Frontier
from ledger.outcomes import Decided
from ledger.proofs import Certified
from ledger.signing import SigningKey
from ledger.state import State
from ledger.store import Store
from ledger.votes import Certificate, Phase, SignedVote, Vote
from projections.live import FinalState

VALIDATOR = SigningKey(bytes(31) + b"\x01")
CREATED = 1_795_000_000_000
ENGINE = b"\xe1" * 32
OTHER_ENGINE = b"\xe2" * 32


def key(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"."))


def account(name: str) -> bytes:
    return key(name).public


def cid(name: str) -> Cid:
    return Cid.of(name.encode())


class Told:
    """Rules that do what they are told: `code` and effects are the event's body."""

    def __init__(self) -> None:
        self.at_close: tuple[bytes, ...] = ()

    def genesis(self, genesis: Genesis) -> State:
        return State()

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        assert event.body is not None
        told = canonical.decode(event.body, size_max=64 * 1024)
        return state, Receipt(event.id, told["code"], tuple(told["effects"]))

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        return state, Receipt(None, "ok", self.at_close)

    def due(self, state: State) -> int | None:
        return None


class World:
    def __init__(self, url: str, **held: int) -> None:
        accounts = tuple(
            sorted((Allocation(account(n), amount) for n, amount in held.items()), key=lambda a: a.account)
        )
        self.genesis = Genesis(1, "test", CREATED, 1, (Validator(VALIDATOR.public, 1),), accounts, {})
        self.store = Store.create(url, self.genesis)
        self._rules = Told()
        self._state = genesis_state(self._rules, self.genesis)
        self._frontier = Frontier()
        self._last: Checkpoint | None = None
        self._shown: Certificate | None = None
        self._heads: dict[bytes, Event] = {}
        self._new: list[Event] = []

    @property
    def height(self) -> int:
        return 0 if self._last is None else self._last.height

    @property
    def final_state(self) -> FinalState | None:
        """What a node would know of its last checkpoint."""
        last = self.store.last()
        if last is None:
            return None
        checkpoint, certificate = last
        return FinalState(checkpoint, Certified(checkpoint.encode(), certificate.encode()), self._state)

    def say(self, author: str, *told: Effect, kind: str = "transfer", code: str = "ok") -> Cid:
        """An event by `author` that will have these effects; its id."""
        signer = key(author)
        before = self._heads.get(signer.public)
        new = event.make(
            signer,
            net=self.genesis.net,
            lane=0,
            seq=0 if before is None else before.header.seq + 1,
            prev=None if before is None else before.id,
            parents=(),
            lc=1 if before is None else before.header.lc + 1,
            ts=CREATED + 1,
            kind=kind,
            body=canonical.encode({"code": code, "effects": [effects.encode(e) for e in told]}),
        )
        self._heads[signer.public] = new
        self._new.append(new)
        self.store.add([new])
        return new.id

    def finalize(self, *at_close: Effect) -> int:
        """Everything said since becomes final, in the order in which it was said; the new height."""
        checkpoint, certificate, order = self._vote([effects.encode(e) for e in at_close])
        outcome = self._outcome
        decided = Decided(
            checkpoint,
            self._shown,
            order,
            outcome.receipts,
            outcome.close_receipt,
            outcome.changes,
            outcome.frontier.encode(),
        )
        self.store.commit([decided], certificate)
        self._shown = certificate
        self._state, self._frontier, self._last, self._new = outcome.state, outcome.frontier, checkpoint, []
        return checkpoint.height

    def _vote(self, at_close: Sequence[bytes]) -> tuple[Checkpoint, Certificate, list[Cid]]:
        height, net = self.height + 1, self.genesis.net
        self._rules.at_close = tuple(at_close)
        context = Context(net, height, CREATED + height * 1_000, bytes(32))
        self._outcome = outcome = execute_cut(
            self._rules, self._state, self._frontier, self._new, context, 600
        )
        order = [e.id for e in self._new]
        checkpoint = Checkpoint(
            v=2,
            net=net,
            epoch=0,
            slot=height,
            height=height,
            parent=None if self._last is None else self._last.id,
            cert=None if self._shown is None else self._shown.id,
            tips=tuple(sorted(order))[:64],
            delta=delta_id(order),
            n=outcome.n,
            eroot=outcome.eroot,
            sroot=outcome.sroot,
            rroot=outcome.rroot,
            T=context.time,
            vnext=cid("validators"),
        )
        vote = Vote(net, 0, height, Phase.FINALIZE, checkpoint.id, context.time)
        return checkpoint, Certificate.of([SignedVote.make(VALIDATOR, vote)]), order
