"""Links: what one node sends, and whether, when and how often another hears it.

Every direction of every pair is a link of its own, so a partition can be asymmetric. Gossip is lossy: a
message may be dropped, doubled, or overtake another. Sync runs over streams, which keep their order and lose
nothing but themselves: a frame lost is a stream lost.

Knows indexes of nodes and milliseconds. Does not know what a message says.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from fog.sim.scheduler import Action, Scheduler

PPM: Final = 1_000_000

STRAGGLER_MS: Final = 5_000
"""One message in a hundred takes up to this much longer: so it is overtaken by hundreds of others."""


@dataclass(frozen=True)
class Weather:
    """How bad the links of a run are. Chances are in parts per million."""

    delay_ms: int = 40  # the least
    jitter_ms: int = 60  # more, evenly drawn
    drop_ppm: int = 0
    double_ppm: int = 0
    straggler_ppm: int = 0


CLEAR: Final = Weather()


class Links:
    def __init__(self, scheduler: Scheduler, nodes: int, weather: Weather, draw: random.Random) -> None:
        self._scheduler = scheduler
        self._draw = draw
        self.weather = weather
        self.nodes = nodes
        self.counts: Counter[str] = Counter()
        self._cut: Counter[tuple[int, int]] = Counter()  # how many partitions a link is cut by
        self._slow: dict[int, int] = {}

    def cut(self, pairs: list[tuple[int, int]]) -> None:
        """Nothing passes from the first of each pair to the second, until `heal` is called as often."""
        for pair in pairs:
            self._cut[pair] += 1

    def heal(self, pairs: list[tuple[int, int]]) -> None:
        for pair in pairs:
            self._cut[pair] -= 1

    def slow(self, node: int, ms: int) -> None:
        """This node takes so much longer over everything it hears."""
        self._slow[node] = ms

    def calm(self) -> None:
        """No more faults: every link is whole, and as good as links are."""
        self._cut.clear()
        self._slow.clear()
        self.weather = Weather(self.weather.delay_ms, self.weather.jitter_ms)

    def passes(self, source: int, target: int) -> bool:
        return self._cut[source, target] <= 0

    def gossip(self, source: int, target: int, arrive: Action) -> None:
        """A message, which may be lost, doubled or late."""
        weather = self.weather
        if not self.passes(source, target):
            self.counts["cut"] += 1
            return
        if self._chance(weather.drop_ppm):
            self.counts["dropped"] += 1
            return
        self._scheduler.after(self._delay(target), arrive)
        if self._chance(weather.double_ppm):
            self.counts["doubled"] += 1
            self._scheduler.after(self._delay(target), arrive)

    def frame(self, source: int, target: int, arrive: Action, *, not_before: int = 0) -> int:
        """A frame of a stream. Returns when it arrives, so that the next one does not overtake it. -1: never,
        and the stream is over."""
        if not self.passes(source, target) or self._chance(self.weather.drop_ppm // 4):
            self.counts["stream_broken"] += 1
            return -1
        arrival = max(self._scheduler.now + self._delay(target), not_before)
        self._scheduler.after(arrival - self._scheduler.now, arrive)
        return arrival

    def _delay(self, target: int) -> int:
        weather = self.weather
        delay = weather.delay_ms + self._draw.randrange(weather.jitter_ms + 1) + self._slow.get(target, 0)
        if self._chance(weather.straggler_ppm):
            self.counts["straggler"] += 1
            delay += self._draw.randrange(STRAGGLER_MS)
        return delay

    def _chance(self, ppm: int) -> bool:
        return ppm > 0 and self._draw.randrange(PPM) < ppm

    def __repr__(self) -> str:
        return f"<Links of {self.nodes}, {sum(count > 0 for count in self._cut.values())} cut>"
