"""When a checkpoint is wanted: there is news, or it is time; and since when nothing becomes final.

    news        something stands that is not ordered, or the tip is not final
    overdue     the tip waits for votes longer than they usually take, and only another slot brings them
    time        nothing was ever final; what rules have due; the heartbeat
    standstill  something is wanted for long, and nothing becomes final

Knows moments, the last final checkpoint and what the rules have due. Does not know votes or messages, and has
no clock: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger import validators as sets
from ledger.candidates import Candidates
from ledger.cid import Cid
from ledger.execution import Rules
from ledger.finality import Last, weighted_median
from ledger.pace import Pace
from ledger.simplex import Voter

HEARTBEAT_MS: Final = 60_000
"""A checkpoint at least this often, so that ledger time moves when nobody says anything."""

DUE_AGAIN_MS: Final = 1_000
"""When a close left work that was due, the next empty checkpoint comes no sooner than this."""

STANDSTILL_MS: Final = 5_000
"""So long without finality, though something is wanted, is worth a word to the operator."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Nothing becomes final since `since` (unix ms).

    `heard`: validators whose words came lately, us included; `weight` is their stake, of which more than two
    thirds of `total` are needed.
    """

    since: int
    heard: tuple[bytes, ...]
    weight: int
    total: int


class Occasion:
    """`interval_ms`: at least so long between two proposals, whoever makes them."""

    def __init__(self, rules: Rules, candidates: Candidates, pace: Pace, interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self._rules = rules
        self._candidates = candidates
        self._pace = pace
        self._proposed_at: int | None = None
        self._unsettled_since: tuple[int, int] | None = None  # (slot, unix ms): the tip is not final
        self._wanted_since: int | None = None  # unix ms, and nothing became final since
        self.heard: dict[bytes, int] = {}  # validator -> when its last genuine word came (unix ms)

    def proposed(self, now: int) -> None:
        """Somebody proposed."""
        self._proposed_at = now

    def finished(self) -> None:
        """Something became final."""
        self._wanted_since = None

    def look(self, voter: Voter, last: Last | None, now: int) -> bool:
        """`is_wanted`, and remember since when."""
        wanted = self.is_wanted(voter, last, now)
        if not wanted or self._wanted_since is None:
            self._wanted_since = now if wanted else None
        return wanted

    def is_wanted(self, voter: Voter, last: Last | None, now: int) -> bool:
        """Whether there is something to make final."""
        if voter.unsettled is not None:
            return True
        tip = voter.tip
        if tip is None:
            return True
        if tip[1] != self._candidates.root_id:
            below = self._candidates.get(tip[1])
            return self._candidates.is_news(below) or self._is_overdue(tip, voter, now)
        self._unsettled_since = None
        return self._candidates.is_news(None) or self._is_time(last, now)

    def _is_overdue(self, tip: tuple[int, Cid | None], voter: Voter, now: int) -> bool:
        """Whether the tip waits for votes to finalize it for longer than they usually take: some skipped its
        slot, and only another slot brings finality."""
        since = self._unsettled_since
        if since is None or since[0] != voter.slot or now < since[1]:
            since = self._unsettled_since = (voter.slot, now)
        return now >= since[1] + self._pace.settling

    def _is_time(self, last: Last | None, now: int) -> bool:
        """Whether an empty checkpoint is worth it: for the first, for what is due, for the heartbeat.

        Ledger time lags by one checkpoint, so what is due takes two: one to move time, one to act on it.
        """
        if last is None:
            return True
        state = self._candidates.root.state
        stakes = sets.validators_of(state, last.final.epoch).stakes
        idle = now - weighted_median(last.final.votes, stakes)
        due = self._rules.due(state)
        if due is None or due > now:
            return idle >= HEARTBEAT_MS
        return due > last.checkpoint.T or idle >= DUE_AGAIN_MS

    def is_ready(self, now: int) -> bool:
        return self._proposed_at is None or not 0 <= now - self._proposed_at < self.interval_ms

    def next(self, voter: Voter, last: Last | None, now: int) -> int | None:
        """When to look again (unix ms), if nothing happens before."""
        times = [self._pace.next]
        wanted = self.is_wanted(voter, last, now)
        if self._proposed_at is not None and wanted and not self.is_ready(now):
            times.append(self._proposed_at + self.interval_ms)
        if self._unsettled_since is not None and not wanted:
            times.append(self._unsettled_since[1] + self._pace.settling)
        return min((time for time in times if time is not None), default=None)

    def standstill(self, voter: Voter, me: bytes | None, now: int) -> Standstill | None:
        """See `Standstill`; None while things go on, or nothing is wanted. `me`: if we vote."""
        if self._wanted_since is None or now - self._wanted_since < STANDSTILL_MS:
            return None
        recent = {key for key, at in self.heard.items() if now - at <= STANDSTILL_MS}
        if me is not None:
            recent.add(me)
        members = voter.validators
        heard = tuple(key for key in members.stakes if key in recent)
        return Standstill(self._wanted_since, heard, members.weight(heard), members.total)

    def __repr__(self) -> str:
        return f"<Occasion wanted since {self._wanted_since}>"
