"""What a replica answers to those who call it (`ledger.replica`)."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.cid import Cid
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.warrants import Warrant


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the bytes of one call.

    admitted  stand now, parents first (some may have waited since earlier calls)
    pending   how many of this call wait;  missing  ids to fetch so that they can stand
    rejected  (code, message): broken rules, to be held against the peer
    unjudged  how many of this call do not stand, for whatever reason: whoever passes them on answers for them
    forks     proofs of forks that this call brought to light, or a checkpoint did since the last answer
    unkept    how many of these, the last ones, are of rivals that found no room: found anew with every copy
    warrants  proofs that events were signed for places where they cannot stand, likewise
    """

    admitted: list[Event]
    pending: int
    missing: list[Cid]
    rejected: list[tuple[str, str]]
    forks: list[ForkProof]
    warrants: list[Warrant]
    unkept: int = 0
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """The checkpoint is final here. `new` is False when it was already."""

    height: int
    new: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """Not yet: fetch `ids` (events), or the checkpoints after height `after` when there are none."""

    ids: tuple[Cid, ...]
    after: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """What came of a message, or of time passing.

    send       messages for all other nodes, durable here
    is_new     the message heard was news: worth passing on
    final      something became final
    missing    events to fetch: a checkpoint cannot be judged without them
    ask_votes  (epoch, slot): certificates or proposals from there on are missing; ask others for `ballots`
    is_behind  others are further: ask them for checkpoints
    faults     validators that contradicted themselves
    forks, warrants   what a checkpoint brought to light since the last answer, as in `Ingested`
    next       call `step` again at this moment (unix ms), or when something arrives
    """

    send: list[bytes]
    is_new: bool
    final: bool
    missing: tuple[Cid, ...]
    ask_votes: tuple[int, int] | None
    is_behind: bool
    faults: list[VoteFault]
    forks: list[ForkProof]
    warrants: list[Warrant]
    next: int | None
