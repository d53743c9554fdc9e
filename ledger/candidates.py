"""Candidates: checkpoints above the last final one, each executed once, in a tree of their own.

A validator notarizes only what it has executed itself, on top of a parent that may not be final yet. States
never change in place, so branches cost what they change.

    root        the last final checkpoint (or genesis) with its state and event tree
    candidate   a checkpoint whose cut was executed here on top of its parent, and gave its roots

Knows order, execution and what follows what. Does not know votes or slots' leaders (`ledger.simplex`), and
writes nothing.

What must always hold: a candidate's roots are those of its checkpoint; `settle` keeps exactly the descendants
of the new root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from ledger.admission import Admission
from ledger.checkpoint import VERSION, Checkpoint
from ledger.cid import Cid
from ledger.cut import Outcome, differences, execute_cut, execute_events
from ledger.errors import RemoteError
from ledger.execution import Rules
from ledger.finality import follows, misfits, next_context
from ledger.genesis import Genesis
from ledger.merkle import Frontier
from ledger.order import Cut, Node, choose, cut_at
from ledger.state import State
from ledger.validators import epoch_length
from ledger.votes import Certificate

DEPTH_MAX: Final = 8
"""Candidates on top of each other. When so many are notarized and not final, leaders propose the highest
again."""


@dataclass(frozen=True, slots=True)
class Root:
    """The last final checkpoint; None: genesis."""

    checkpoint: Checkpoint | None
    state: State
    frontier: Frontier


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """`shown` is the certificate of the parent; `taken` are the events of this one and of all below it."""

    checkpoint: Checkpoint
    shown: Certificate | None
    below: Candidate | None
    cut: Cut
    outcome: Outcome
    taken: frozenset[Cid]
    depth: int

    def chain(self) -> list[Candidate]:
        """From the one on the root up to this one."""
        links: list[Candidate] = []
        at: Candidate | None = self
        while at is not None:
            links.append(at)
            at = at.below
        return links[::-1]

    def __repr__(self) -> str:
        return f"<Candidate {self.checkpoint!r} depth={self.depth}>"


class WrongRoots(RemoteError):
    """Executing a checkpoint here gave other roots than it names: its author's fault, or ours."""

    code = "wrong_roots"


class Candidates:
    def __init__(self, genesis: Genesis, rules: Rules, admission: Admission, root: Root) -> None:
        self._genesis = genesis
        self._rules = rules
        self._admission = admission
        self._length = epoch_length(genesis)
        self.root = root
        self.root_id = _id_of(root)
        self._by_id: dict[Cid, Candidate] = {}

    def get(self, id: Cid | None) -> Candidate | None:
        return None if id is None else self._by_id.get(id)

    def build(self, below: Candidate | None, shown: Certificate | None, slot: int) -> Candidate:
        """A new checkpoint for `slot` on top of `below` (None: on the root), of what stands here."""
        parent, state, _, taken = self._base(below)
        cut = choose(_without(self._admission.unordered, taken), self._parent_id(parent))
        outcome = self._execute(below, shown, cut)
        checkpoint = Checkpoint(
            v=VERSION,
            slot=slot,
            tips=cut.tips,
            **{name: getattr(outcome, name) for name in ("delta", "n", "eroot", "sroot", "rroot")},
            **follows(self._genesis, parent, shown, state),  # type: ignore[arg-type]
        )
        return self._add(checkpoint, shown, below, cut, outcome)

    def judge(self, checkpoint: Checkpoint, shown: Certificate | None) -> Candidate:
        """Execute somebody's checkpoint. Its parent is known and its tips are here.

        Raises RemoteError: `bad_checkpoint` when it cannot follow its parent, `cut_too_large`, or WrongRoots.
        """
        known = self._by_id.get(checkpoint.id)
        if known is not None:
            return known
        below = self.get(checkpoint.parent)
        parent, state, _, taken = self._base(below)
        wrong = misfits(checkpoint, follows(self._genesis, parent, shown, state), parent)
        if wrong:
            raise RemoteError(
                f"height {checkpoint.height} cannot follow its parent: wrong {', '.join(wrong)}",
                code="bad_checkpoint",
            )
        open_nodes = _without(self._admission.unordered, taken)
        cut = cut_at(checkpoint.tips, open_nodes, self._parent_id(parent))
        outcome = self._execute(below, shown, cut)
        wrong = differences(checkpoint, outcome)
        if wrong:
            raise WrongRoots(
                f"height {checkpoint.height} has another {', '.join(wrong)} than executing it gives, after "
                f"{len(cut.order)} events on {self._parent_id(parent)}"
            )
        return self._add(checkpoint, shown, below, cut, outcome)

    def settle(self, final: Candidate) -> None:
        """This one is final and durable: it is the root now, and what does not build on it is forgotten."""
        kept: dict[Cid, Candidate] = {}
        for id, candidate in self._by_id.items():
            chain = candidate.chain()
            if final in chain and candidate is not final:
                kept[id] = candidate
        self.root = Root(final.checkpoint, final.outcome.state, final.outcome.frontier)
        self.root_id = _id_of(self.root)
        self._by_id = {}
        for candidate in sorted(kept.values(), key=lambda one: one.depth):
            below = None if candidate.below is final else self._by_id.get(candidate.below.checkpoint.id)  # type: ignore[union-attr]
            taken = frozenset(candidate.cut.order) | (frozenset() if below is None else below.taken)
            self._by_id[candidate.checkpoint.id] = Candidate(
                candidate.checkpoint,
                candidate.shown,
                below,
                candidate.cut,
                candidate.outcome,
                taken,
                1 if below is None else below.depth + 1,
            )

    def keep(self, ids: Set[Cid]) -> None:
        """Forget all but these and what they build on."""
        needed = {below for id in ids if id in self._by_id for below in self._by_id[id].chain()}
        self._by_id = {id: one for id, one in self._by_id.items() if one in needed}

    def is_news(self, below: Candidate | None) -> bool:
        """Whether something stands that is not ordered up to there."""
        return len(self._admission.unordered) > (0 if below is None else len(below.taken))

    def tentative(self, shown: Certificate | None) -> State:
        """The root's state with what stands executed on top, without a close. `shown` shows the root."""
        root = self.root
        cut = choose(self._admission.unordered, self._parent_id(root.checkpoint))
        ordered = self._admission.events_of(cut.order)
        context = next_context(self._genesis, root.checkpoint, shown, root.state)
        return execute_events(self._rules, root.state, ordered, context)[0]

    # -- inside ---------------------------------------------------------------------------------------------

    def _base(self, below: Candidate | None) -> tuple[Checkpoint | None, State, Frontier, frozenset[Cid]]:
        if below is None:
            return self.root.checkpoint, self.root.state, self.root.frontier, frozenset()
        return below.checkpoint, below.outcome.state, below.outcome.frontier, below.taken

    def _parent_id(self, parent: Checkpoint | None) -> Cid:
        return self._genesis.net if parent is None else parent.id

    def _execute(self, below: Candidate | None, shown: Certificate | None, cut: Cut) -> Outcome:
        parent, state, frontier, _ = self._base(below)
        ordered = self._admission.events_of(cut.order)
        context = next_context(self._genesis, parent, shown, state)
        return execute_cut(self._rules, state, frontier, ordered, context, self._length)

    def _add(
        self,
        checkpoint: Checkpoint,
        shown: Certificate | None,
        below: Candidate | None,
        cut: Cut,
        outcome: Outcome,
    ) -> Candidate:
        taken = frozenset(cut.order) if below is None else below.taken.union(cut.order)
        candidate = Candidate(
            checkpoint, shown, below, cut, outcome, taken, 1 if below is None else below.depth + 1
        )
        self._by_id[checkpoint.id] = candidate
        return candidate

    def __repr__(self) -> str:
        return f"<Candidates {len(self._by_id)} on {self.root.checkpoint!r}>"


class _Remaining(Mapping[Cid, Node]):
    """Unordered events without those that candidates below have taken, in the same order."""

    def __init__(self, unordered: Mapping[Cid, Node], taken: frozenset[Cid]) -> None:
        self._unordered = unordered
        self._taken = taken

    def __getitem__(self, id: Cid) -> Node:
        if id in self._taken:
            raise KeyError(id)
        return self._unordered[id]

    def __contains__(self, id: object) -> bool:
        return id not in self._taken and id in self._unordered

    def __iter__(self) -> Iterator[Cid]:
        return (id for id in self._unordered if id not in self._taken)

    def __len__(self) -> int:
        return len(self._unordered) - len(self._taken)


def _without(unordered: Mapping[Cid, Node], taken: frozenset[Cid]) -> Mapping[Cid, Node]:
    return _Remaining(unordered, taken) if taken else unordered


def _id_of(root: Root) -> Cid | None:
    return None if root.checkpoint is None else root.checkpoint.id
