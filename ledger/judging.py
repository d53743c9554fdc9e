"""Judging: proposals executed here, as far as all is there that they build on.

Knows the bodies of proposals and what was executed of them (`ledger.candidates`); remembers what was wrong,
and what is missing. Does not know votes, or whether a proposal may be built upon.

What must always hold: a candidate is given out only when executing it here gave the roots that it claims; and
what is missing of a proposal alone never counts as ordered.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import validators as sets
from ledger.admission import Admission
from ledger.candidates import Candidate, Candidates
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.finality import check_shown
from ledger.proposals import Proposals


class Judging:
    """`length` is that of epochs, in heights."""

    def __init__(
        self, candidates: Candidates, admission: Admission, proposals: Proposals, net: Cid, length: int
    ) -> None:
        self._missing: dict[Cid, None] = {}  # tips of proposals that do not stand here
        self._ordered: dict[Cid, None] = {}  # those of what a quorum made final
        self.lacks_proposals = False
        self._candidates = candidates
        self._admission = admission
        self._proposals = proposals
        self._net = net
        self._length = length
        self._refused: set[Cid] = set()
        self._lacked: dict[tuple[Cid, ...], tuple[Cid, ...]] = {}  # tips -> those that were missing

    def is_refused(self, id: Cid) -> bool:
        return id in self._refused

    def finished(self) -> None:
        """Another root: what was wrong or missing above the last one is of no interest."""
        self._refused.clear()
        self._lacked.clear()

    def checkpoint_of(self, id: Cid) -> Checkpoint:
        """Of a proposal that is here."""
        found = self._proposals.of(id)
        assert found is not None, f"no proposal of {id}"
        return parse_checkpoint(found.checkpoint, net=self._net)

    def executed(self, id: Cid) -> Candidate | None:
        """The candidate of this id, executed here now if need be; None when something is missing or wrong."""
        try:
            return self.execute(id)
        except RemoteError:
            self._refused.add(id)
            return None

    def execute_final(self, id: Cid) -> Candidate | None:
        """As `execute`, of what a quorum made final: and so it ordered what is missing of it."""
        proposed, self._missing = self._missing, self._ordered
        try:
            return self.execute(id)
        finally:
            self._missing = proposed

    def take_missing(self) -> tuple[list[Cid], list[Cid]]:
        """Tips that were missing since this was last asked: those that a quorum ordered, and those that only
        a leader proposes, whose word is that of one."""
        ordered, proposed = list(self._ordered), [id for id in self._missing if id not in self._ordered]
        self._ordered, self._missing = {}, {}
        return ordered, proposed

    def execute(self, id: Cid) -> Candidate | None:
        known = self._candidates.get(id)
        if known is not None:
            return known
        found = self._proposals.of(id)
        if found is None:
            self.lacks_proposals = True
            return None
        checkpoint = parse_checkpoint(found.checkpoint, net=self._net)
        if checkpoint.parent != self._candidates.root_id:
            assert checkpoint.parent is not None, "height 1 stands on genesis, which is the root then"
            if self.execute(checkpoint.parent) is None:
                return None
        return self.execute_link(checkpoint, found.parent)

    def execute_link(self, checkpoint: Checkpoint, shown: bytes) -> Candidate | None:
        """Execute a checkpoint whose parent is known here; None when events are missing (see `take_missing`).

        Raises RemoteError when it is wrong.
        """
        below = self._candidates.get(checkpoint.parent)
        parent = self._candidates.root.checkpoint if below is None else below.checkpoint
        state = self._candidates.root.state if below is None else below.outcome.state
        if checkpoint.parent != (None if parent is None else parent.id):
            raise RemoteError(f"height {checkpoint.height} builds on another parent", code="bad_checkpoint")
        judges = None if parent is None else sets.validators_of(state, parent.epoch)
        # Asked again with every message, as long as events are missing: so what costs least comes first.
        missing = self._still_missing(checkpoint)
        if missing:
            self._missing.update(dict.fromkeys(missing))
            return None
        certificate = check_shown(checkpoint, shown, parent, judges, self._length)
        return self._candidates.judge(checkpoint, certificate)

    def _still_missing(self, checkpoint: Checkpoint) -> Sequence[Cid]:
        """Of its tips; without asking the store when none of those that were missing has come since."""
        known = self._lacked.get(checkpoint.tips)
        if known is not None and not any(map(self._admission.stands, known)):
            return known
        missing = tuple(self._admission.missing(checkpoint.tips))
        if missing:
            self._lacked[checkpoint.tips] = missing
        else:
            self._lacked.pop(checkpoint.tips, None)
        return missing

    def __repr__(self) -> str:
        return f"<Judging {self._candidates!r} refused={len(self._refused)}>"
