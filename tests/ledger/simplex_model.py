"""A model of the vote: every run of three honest validators and one liar, over two slots and more.

What a validator says comes from the table of `ledger.vote_rule` itself; what it may build on is written down
a second time, as the opening of `ledger.simplex` has it. The liar has signed everything: its vote counts for
whatever is asked. Messages may come in any order, late, or never: a certificate that could be made may be
seen, or not.

    a block   a number above 0; two in each slot for each parent: a block of an earlier slot, or genesis
    a node    the slot it is in, and for each slot what it voted: (voted, notarized, skipped, finalized),
              with `voted` as a place in VOTED, and 0 for no block

The search is breadth first over all states, where honest nodes are interchangeable. What is looked for:

    safety           a final block and a notarized one of the same or a later slot, not descended from it
    accountability   an honest node that said what `ledger.evidence` calls a fault

`Rules` has a field for every rule that a test may break.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ledger.validators import is_quorum
from ledger.vote_rule import TRANSITIONS, Seen, Transitions, Voted
from ledger.votes import Phase

HONEST = 3
VALIDATORS = 4
STATES_MAX = 10_000_000  # a search that saw as many was cut short

VOTED = tuple(Voted)

Block: TypeAlias = int
Slot: TypeAlias = tuple[int, Block, bool, Block]
Node: TypeAlias = tuple[int, tuple[Slot, ...]]
State: TypeAlias = tuple[Node, ...]

GENESIS: Block = 0
BLANK: Slot = (VOTED.index(Voted.NOTHING), 0, False, 0)


@dataclass(frozen=True)
class Rules:
    """The rules of the vote, each of which can be broken.

    quorum             votes of the four that are enough
    skipped_between    a proposal needs all slots between its parent and itself skipped
    notarized_parent   … and its parent notarized
    remembers          a restart brings back what was said
    one_proposal       a second proposal of a slot is not looked at
    skipped_again      a block proposed again needs all slots skipped since it was notarized
    """

    transitions: Transitions = field(default_factory=lambda: TRANSITIONS)
    quorum: int = next(n for n in range(VALIDATORS + 1) if is_quorum(n, VALIDATORS))
    skipped_between: bool = True
    notarized_parent: bool = True
    remembers: bool = True
    one_proposal: bool = True
    skipped_again: bool = True


class Model:
    def __init__(self, slots: int, rules: Rules) -> None:
        self.slots = slots
        self.rules = rules
        self.parent: list[Block] = [GENESIS]
        self.slot_of: list[int] = [0]
        self.blocks: list[list[Block]] = []
        for slot in range(1, slots + 1):
            new: list[Block] = []
            for parent in [at for at in range(len(self.parent)) if self.slot_of[at] < slot]:
                for _ in range(2):
                    new.append(len(self.parent))
                    self.parent.append(parent)
                    self.slot_of.append(slot)
            self.blocks.append(new)

    @property
    def start(self) -> State:
        return tuple((1, (BLANK,) * self.slots) for _ in range(HONEST))

    # -- what a state shows ---------------------------------------------------------------------------------

    def has_quorum(self, votes: int) -> bool:
        """With the liar's vote on top."""
        return votes + (VALIDATORS - HONEST) >= self.rules.quorum

    def notarized(self, state: State, slot: int) -> list[Block]:
        said: dict[Block, int] = {}
        for _, slots in state:
            block = slots[slot - 1][1]
            if block:
                said[block] = said.get(block, 0) + 1
        return [block for block, votes in said.items() if self.has_quorum(votes)]

    def skipped(self, state: State, slot: int) -> bool:
        return self.has_quorum(sum(slots[slot - 1][2] for _, slots in state))

    def final(self, state: State, slot: int) -> list[Block]:
        said: dict[Block, int] = {}
        for _, slots in state:
            block = slots[slot - 1][3]
            if block:
                said[block] = said.get(block, 0) + 1
        return [block for block, votes in said.items() if self.has_quorum(votes)]

    def is_broken(self, state: State) -> str | None:
        """The promise that this state breaks."""
        for _, slots in state:
            for _, _, skipped, finalized in slots:
                if skipped and finalized:
                    return "an honest node finalized and skipped one slot"
        for slot in range(1, self.slots + 1):
            for final in self.final(state, slot):
                for later in range(slot, self.slots + 1):
                    for other in self.notarized(state, later):
                        if not self._descends(other, final):
                            return f"block {other} is notarized though block {final} is final"
        return None

    # -- what may happen ------------------------------------------------------------------------------------

    def proposals(self, state: State, slot: int) -> Iterator[Block]:
        """What a leader, honest or not, can propose in this slot so that an honest node notarizes it."""
        notarized = {at: self.notarized(state, at) for at in range(1, slot)}
        skipped = {at: self.skipped(state, at) for at in range(1, slot)}

        def ground(block: Block, check: bool) -> bool:
            """Whether `block` may be built on: the last slot it was notarized in, and skips from there."""
            slots = [at for at, blocks in notarized.items() if block in blocks]
            if block == GENESIS:
                slots = [0]
            elif not slots and not self.rules.notarized_parent:
                slots = [self.slot_of[block]]
            return bool(slots) and (not check or all(skipped[at] for at in range(max(slots) + 1, slot)))

        for block in self.blocks[slot - 1]:
            if ground(self.parent[block], self.rules.skipped_between):
                yield block
        for at in range(1, slot):
            for block in self.blocks[at - 1]:
                if ground(block, self.rules.skipped_again):
                    yield block

    def next(self, state: State) -> Iterator[State]:
        notarized = {at: self.notarized(state, at) for at in range(1, self.slots + 1)}
        skipped = {at: self.skipped(state, at) for at in range(1, self.slots + 1)}
        proposals = {at: list(self.proposals(state, at)) for at in {min(n[0], self.slots) for n in state}}
        for index, node in enumerate(state):
            if index and state[index - 1] == node:
                continue  # its twin was looked at
            for after in self._steps(node, proposals, notarized, skipped):
                if after != node:
                    yield tuple(sorted((*state[:index], after, *state[index + 1 :])))

    def _steps(
        self,
        node: Node,
        proposals: dict[int, list[Block]],
        notarized: dict[int, list[Block]],
        skipped: dict[int, bool],
    ) -> Iterator[Node]:
        slot, slots = node
        if slot <= self.slots:
            voted, block, _, _ = slots[slot - 1]
            for proposal in proposals[slot]:
                if not block or not self.rules.one_proposal:
                    yield self._turn(node, slot, Seen.PROPOSAL, proposal, slot)
            if not self.rules.remembers and voted != BLANK[0]:
                forgotten = (BLANK[0], *slots[slot - 1][1:])
                yield slot, (*slots[: slot - 1], forgotten, *slots[slot:])
        for at in range(1, self.slots + 1):
            if at <= slot:  # a clock that runs late is no fault
                yield self._turn(node, at, Seen.TIMEOUT, 0, slot)
            for about in notarized[at]:
                yield self._turn(node, at, Seen.NOTARIZE_Q, about, max(slot, at + 1))
            if skipped[at] and at >= slot:
                yield self._turn(node, at, Seen.SKIP_Q, 0, at + 1)

    def _turn(self, node: Node, slot: int, seen: Seen, about: Block, goes_to: int) -> Node:
        _, slots = node
        voted, block, skip, final = slots[slot - 1]
        if (VOTED[voted], seen) in self.rules.transitions:
            now, phase = self.rules.transitions[VOTED[voted], seen]
            voted = VOTED.index(now)
            block = about if phase is Phase.NOTARIZE else block
            skip = skip or phase is Phase.SKIP
            final = about if phase is Phase.FINALIZE else final
        return goes_to, (*slots[: slot - 1], (voted, block, skip, final), *slots[slot:])

    # -- looking --------------------------------------------------------------------------------------------

    def search(self, states_max: int = STATES_MAX) -> tuple[str | None, int]:
        """(the first broken promise, or None; how many states were seen)."""
        seen = {self.start}
        edge = [self.start]
        while edge and len(seen) < states_max:
            ahead: list[State] = []
            for state in edge:
                for after in self.next(state):
                    if after in seen:
                        continue
                    seen.add(after)
                    broken = self.is_broken(after)
                    if broken is not None:
                        return broken, len(seen)
                    ahead.append(after)
            edge = ahead
        return None, len(seen)

    def wander(self, chance: random.Random, walks: int) -> tuple[str | None, int]:
        """Random runs to their end, for more slots than can be searched."""
        steps = 0
        for _ in range(walks):
            state = self.start
            while options := list(dict.fromkeys(self.next(state))):
                state = chance.choice(options)
                steps += 1
                broken = self.is_broken(state)
                if broken is not None:
                    return broken, steps
        return None, steps

    def _descends(self, block: Block, ancestor: Block) -> bool:
        while block:
            if block == ancestor:
                return True
            block = self.parent[block]
        return False
