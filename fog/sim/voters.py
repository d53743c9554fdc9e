"""What was voted, by whom: the observer's own book of every vote that was ever on the wire.

Knows votes. Does not know the voter's rules: two signed votes contradict each other, or they do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ledger import votes
from ledger.errors import RemoteError
from ledger.evidence import contradict
from ledger.genesis import Genesis
from ledger.votes import Certificate, Proposal, SignedVote
from network.gossip import decode_votes

Spot = tuple[int, int]
"""(epoch, slot) of a vote."""

NOWHERE: Final[Spot] = (-1, 0)


class Contradiction(NamedTuple):
    at: Spot
    what: str


class VoteLog:
    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._said: dict[tuple[bytes, int, int], list[SignedVote]] = {}
        self._last: dict[bytes, Spot] = {}
        self._guilty: dict[bytes, None] = {}

    def last(self, key: bytes) -> Spot:
        """The latest spot that the key ever voted at."""
        return self._last.get(key, NOWHERE)

    def take(self, message: bytes, by: bytes) -> Contradiction | None:
        """Note the votes in a gossip message of the node `by`; which of its own contradict, if any."""
        wrong = None
        for signed in self._votes(message):
            rival = self._note(signed)
            if rival is not None and signed.by == by:
                wrong = Contradiction(signed.vote.place, f"signed {rival} and {signed}")
        return wrong

    def _note(self, signed: SignedVote) -> SignedVote | None:
        known = self._said.setdefault((signed.by, *signed.vote.place), [])
        if any(signed.vote == one.vote for one in known) or not signed.is_genuine():
            return None  # said before, or forged
        rival = next((one for one in known if contradict(one, signed)), None)
        if rival is not None:
            self._guilty[signed.by] = None
        known.append(signed)
        self._last[signed.by] = max(self.last(signed.by), signed.vote.place)
        return rival

    def _votes(self, message: bytes) -> Iterator[SignedVote]:
        try:
            said = [votes.parse_message(data, net=self._genesis.net) for data in decode_votes(message)]
        except RemoteError:
            return  # a liar's; whoever hears it refuses it
        for one in said:
            match one:
                case Proposal():
                    yield one.vote
                case Certificate():
                    yield from one.ballots()
                case SignedVote():
                    yield one

    def guilty(self) -> tuple[int, int]:
        """(stake of the keys that contradicted themselves, all stake), by the stakes of genesis."""
        stakes = {validator.key: validator.stake for validator in self._genesis.validators}
        return sum(stakes.get(key, 0) for key in self._guilty), self._genesis.stake
