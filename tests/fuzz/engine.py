"""The loop of a campaign on one target: pick, mutate, judge, keep what showed something new.

A library that does this with coverage is `atheris` (libFuzzer under Python). It was tried first, version
3.0.0 on Python 3.11, with the reader of events: 13,500 inputs a second with its instrumentation, most of
which end in the first check of the decoder, which is C and so has no coverage. What is here makes 19,000 a
second of the same reader on a busy machine, a third of which get past the decoder, because the edits know
CBOR; it needs no wheel of 35 MB that exists for few platforms; and it tells, for each code of refusal, how
often it was reached. In the place of coverage stands what the reader said: an input whose refusal was not
seen before (its code, its line, its words without numbers) joins the corpus of this run.

Deterministic: the same seed, corpus and code give the same inputs in the same order. Nothing depends on time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.fuzz import structure
from tests.fuzz.judge import Verdict, judge, weigh
from tests.fuzz.mutate import Mutator
from tests.fuzz.structure import Item
from tests.fuzz.target import Target

GROWN_MAX: Final = 2_000  # inputs that a run adds to its corpus; then the oldest of them go
WEIGH_EVERY: Final = 500  # inputs: one of so many is also weighed, which takes ten times as long
FINDINGS_MAX: Final = 20  # different ones of one target; a broken reader would fill the disk


@dataclass(frozen=True)
class Finding:
    """An input that broke the contract."""

    target: str
    data: bytes
    fault: str
    kind: str


@dataclass
class Campaign:
    """All of it for one target. `tried` is told each input before it is judged."""

    target: Target
    seeds: list[bytes]
    seed: str
    tried: Callable[[bytes], None] = lambda data: None
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.seeds, f"{self.target.name} has no corpus"
        self._rng = Random(f"{self.seed} {self.target.name}")
        self._grown: list[bytes] = []
        self._oldest = 0
        self._seen: set[tuple[str, str]] = set()
        self._structures: dict[bytes, list[Item]] = {}
        self._pieces = list(self._cbor_of(self.seeds))
        self._structures.update((piece, structure.items_of(piece)) for piece in self._pieces)
        self._mutator = Mutator(self._rng, self._other, self._items_of)

    @property
    def grown(self) -> list[bytes]:
        """What showed something new, beside the corpus that was given."""
        return self._grown

    @property
    def ways(self) -> int:
        """In how many different ways the reader answered."""
        return len(self._seen)

    def replay(self, others: Iterable[bytes] = (), how: Callable[[Target, bytes], Verdict] = weigh) -> None:
        """The corpus as it is, and inputs of other targets or of none."""
        for data in (*self.seeds, *others):
            self._judge(data, how)

    def run(self, inputs: int) -> None:
        for number in range(inputs):
            data = self._next()
            if self._judge(data, judge if number % WEIGH_EVERY else weigh):
                self._keep(data)

    def _next(self) -> bytes:
        target, mutator = self.target, self._mutator
        data = self._pick()
        luck = self._rng.random()
        if luck < 0.12 or (target.is_raw and luck < 0.6):
            data = mutator.raw(data)
        elif (pieces := target.unpack(data)) is None:
            data = mutator.raw(data) if target.is_raw else mutator.cbor(data)
        else:
            data = target.pack(self._edited(pieces))
        if target.mend is not None and self._rng.random() < 0.75:
            data = target.mend(data, self._rng)
        return data[: target.size_max]

    def _edited(self, pieces: list[bytes]) -> list[bytes]:
        """One piece edited; now and then pieces dropped, doubled, swapped or taken from elsewhere."""
        mutator, pieces = self._mutator, list(pieces)
        at = mutator.below(len(pieces)) if pieces else 0
        luck = self._rng.random()
        if luck < 0.7 and pieces:
            pieces[at] = mutator.cbor(pieces[at])
        elif luck < 0.8 and pieces:
            del pieces[at]
        elif luck < 0.9 and pieces:
            other = mutator.below(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        else:
            pieces.insert(at, self._other())
        return pieces

    def _judge(self, data: bytes, how: Callable[[Target, bytes], Verdict]) -> bool:
        """Whether it showed something new."""
        self.tried(data)
        verdict = how(self.target, data)
        self.outcomes[verdict.outcome] += 1
        sight = (verdict.outcome, verdict.shape)
        is_new = sight not in self._seen
        self._seen.add(sight)
        if verdict.fault is not None:
            known = any(finding.kind == verdict.kind for finding in self.findings)
            if not known and len(self.findings) < FINDINGS_MAX:
                self.findings.append(Finding(self.target.name, data, verdict.fault, verdict.kind))
            return False
        return is_new

    def _pick(self) -> bytes:
        if self._grown and self._rng.random() < 0.3:
            return self._mutator.pick(self._grown)
        return self._mutator.pick(self.seeds)

    def _keep(self, data: bytes) -> None:
        if len(self._grown) < GROWN_MAX:
            self._grown.append(data)
        else:
            at = self._oldest % GROWN_MAX
            self._structures.pop(self._grown[at], None)
            self._grown[at] = data
            self._oldest += 1
        if not self.target.is_raw:
            self._structures[data] = structure.items_of(data)

    def _other(self) -> bytes:
        return self._mutator.pick(self._pieces)

    def _cbor_of(self, seeds: Iterable[bytes]) -> Iterator[bytes]:
        for data in seeds:
            yield from self.target.unpack(data) or [data]

    def _items_of(self, data: bytes) -> list[Item]:
        """What is picked again and again is read once."""
        return self._structures.get(data) or structure.items_of(data)

    def __repr__(self) -> str:
        return f"<Campaign {self.target.name} inputs={self.outcomes.total()} findings={len(self.findings)}>"
