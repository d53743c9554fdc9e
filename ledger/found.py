"""What a checkpoint brought to light: proofs against others that nobody was told of yet.

An event that waits for its parents or for our clock stands at once if a checkpoint has it, and so in a call
that answers with neither proofs nor warrants. They are kept here until one is that does.

Knows proofs. Does not know what they cost, or who is told. What must always hold: what is kept is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledger.admission import INGEST_MAX, WARRANTS_MAX
from ledger.forks import ForkProof
from ledger.warrants import Warrant

FORKS_MAX: Final = INGEST_MAX
"""As many as one call of `ingest` may find. Those beyond are in the store, and found there at the next start,
but of rivals that found no room, which are told of when they come again. Of warrants, which are in no store,
as many as one call makes."""


class Found:
    def __init__(self) -> None:
        self._forks: list[ForkProof] = []
        self._warrants: list[Warrant] = []

    def keep(self, forks: Sequence[ForkProof], warrants: Sequence[Warrant]) -> None:
        self._forks += forks[: FORKS_MAX - len(self._forks)]
        self._warrants += warrants[: WARRANTS_MAX - len(self._warrants)]

    def take(self) -> tuple[list[ForkProof], list[Warrant]]:
        """All of it, once."""
        taken = self._forks, self._warrants
        self._forks, self._warrants = [], []
        return taken
