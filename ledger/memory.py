"""A replica's memory, and how it stays what its store is.

What must always hold: memory is what reopening the store would give. After a write that failed nobody knows
what the store took, so memory is rebuilt from it before anything else. Where a quorum made final what is
wrong here (`Diverged`), nothing is served any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ledger.admission import Admission
from ledger.ballot_box import Left
from ledger.candidates import Root
from ledger.errors import RemoteError
from ledger.execution import Rules
from ledger.finality import Diverged
from ledger.found import Found
from ledger.holdings import Holdings
from ledger.restart import frontier_after, state_after
from ledger.signing import SigningKey
from ledger.simplex import Voter
from ledger.standing import Standing
from ledger.state import State
from ledger.store import Store
from ledger.validators import epoch_length
from ledger.voting import Voting


class Memory(Standing):
    """A replica's admission and voting, as its store has them."""

    _tentative: State | None  # until something stands or becomes final
    _noted: tuple[Left, bool]
    """Which slots are left to others, and whether we voted: what the store says of it."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        key: SigningKey | None,
        *,
        validator: bool,
        interval_ms: int,
        voter: Callable[..., Voter],
        state: State | None,
    ) -> None:
        """Use `ledger.replica.Replica.open`."""
        self.store = store
        self.genesis = store.genesis
        self.net = store.genesis.net
        self._rules = rules
        self._key = key
        self._validator = validator
        self._turn = threading.RLock()
        self._is_behind = False  # the store may know more than memory: rebuild before anything else
        self._diverged: Diverged | None = None
        self._moved = False  # something became final since the last reaction
        self._found = Found()  # by a checkpoint that needed what waited
        self._interval_ms = interval_ms
        self._make_voter = voter
        self._epoch_length = epoch_length(store.genesis)
        self._load(state)

    @contextmanager
    def _serving(self) -> Iterator[None]:
        with self._turn:
            if self._diverged is not None:
                raise self._diverged
            if self._is_behind:
                self._load()
            yield

    @contextmanager
    def _writing(self, *, unless: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """If the block raises, nobody knows what the store took: the next caller starts from the store.

        `unless` it raises one of these, which say that nothing was begun.
        """
        was_behind, self._is_behind = self._is_behind, True
        try:
            yield
        except unless:
            self._is_behind = was_behind
            raise
        self._is_behind = was_behind

    def _load(self, state: State | None = None) -> None:
        last = self.store.last()
        if state is None or last is None or state.root != last.checkpoint.sroot:
            state = state_after(self.store, self._rules, last)
        root = Root(
            None if last is None else last.checkpoint,
            state,
            frontier_after(self.store, last),
        )
        self._admission = Admission(self.store)
        self._holdings = Holdings()
        left, has_voted = self._noted = self.store.left, self.store.has_voted
        self._voting = Voting(
            self.genesis,
            self._rules,
            self._admission,
            root,
            last,
            self._key if self._validator else None,
            interval_ms=self._interval_ms,
            ballots=self.store.ballots(),
            left=left,
            has_voted=has_voted,
            voter=self._make_voter,
        )
        self._tentative = None
        self._digest = None
        self._is_behind = False

    @contextmanager
    def _voting_writes(self) -> Iterator[None]:
        """What the block leaves to be kept is on the disk when it ends; if it raises, memory is rebuilt."""
        with self._writing(unless=RemoteError):
            yield
            voting = self._voting
            ballots, voting.to_keep = voting.to_keep, []
            noted = voting.left, voting.has_voted
            if ballots or noted != self._noted:
                is_moved = voting.left != self._noted[0]
                self.store.keep(ballots, left=voting.left if is_moved else None, voted=voting.has_voted)
                self._noted = noted

    def _diverge(self, diverged: Diverged) -> Diverged:
        self._diverged = diverged
        return diverged
