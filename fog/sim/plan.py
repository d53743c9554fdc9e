"""The plan of one run: everything that its seed decides before the first millisecond.

A run is a function of its plan. Two plans with equal fields are one run; `command` prints the line that makes
it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fog.sim.adversaries import LIARS
from fog.sim.faults import FAULTS
from fog.sim.links import Weather
from fog.sim.scheduler import stream

NODES: Final = 7
RUN_MS: Final = 144_000
"""Of storm: 0.04 hours, some ten heights. Quiet hours add nothing but heartbeats."""

SETTLE_MS: Final = 600_000
"""Of calm in which everything must become final: a leader is given up to 160 s when many before it failed."""

HOUR_MS: Final = 3_600_000
COPIES: Final = frozenset(("restored_backup", "bit_flip", "torn_write"))
"""Faults after which a disk may be older than the word of its validator."""

STAKE_EACH: Final = 1_000
EPOCH: Final = 8
"""Heights. Short ones let validators come and go within a run."""


@dataclass(frozen=True)
class Plan:
    """liars    index -> names of its habits;  stakes  by index
    faults   what may befall the honest, as names;  gap_ms  between two of them, on average
    epoch    heights in one
    """

    seed: int
    nodes: int
    run_ms: int
    stakes: tuple[int, ...]
    liars: dict[int, tuple[str, ...]]
    faults: tuple[str, ...]
    weather: Weather
    fault_gap_ms: int
    burst_gap_ms: int
    epoch: int = EPOCH
    settle_ms: int = SETTLE_MS

    @property
    def command(self) -> str:
        """What makes this run again."""
        return f"fog sim --seed {self.seed} --nodes {self.nodes} --hours {hours_text(self.run_ms)}"


def draw_plan(seed: int, *, nodes: int = NODES, run_ms: int = RUN_MS) -> Plan:
    """A seed's own mixture: as many liars as must be borne (less than a third of the stake), and faults."""
    draw = stream(seed, "plan")
    stakes = tuple(STAKE_EACH + draw.randrange(STAKE_EACH // 10) for _ in range(nodes))
    liars = dict.fromkeys(sorted(draw.sample(range(nodes), max(0, (nodes - 1) // 3))), ())
    kinds = sorted(FAULTS) if draw.randrange(2) else sorted(FAULTS.keys() - COPIES)
    faults = tuple(sorted(draw.sample(kinds, draw.randrange(2, 7))))
    if liars and COPIES.intersection(faults):
        liars.popitem()  # a validator brought back from an older copy of its disk counts among the faulty
    while liars and 3 * sum(stakes[index] for index in liars) >= sum(stakes):
        liars.popitem()
    names = sorted(LIARS)
    return Plan(
        seed=seed,
        nodes=nodes,
        run_ms=run_ms,
        stakes=stakes,
        liars={index: tuple(sorted(draw.sample(names, draw.randrange(1, 4)))) for index in liars},
        faults=faults,
        weather=draw_weather(draw.randrange(4)),
        fault_gap_ms=draw.choice((10_000, 20_000, 40_000)),
        burst_gap_ms=draw.choice((15_000, 30_000, 40_000)),
        epoch=draw.choice((3, 5, EPOCH)),
    )


def draw_weather(kind: int) -> Weather:
    """A network in one room, a good one, one across the world, and a bad one."""
    return WEATHERS[kind]


WEATHERS: Final[Sequence[Weather]] = (
    Weather(1, 3),
    Weather(20, 40, drop_ppm=5_000),
    Weather(100, 200, drop_ppm=20_000, double_ppm=10_000, straggler_ppm=2_000),
    Weather(50, 500, drop_ppm=80_000, double_ppm=50_000, straggler_ppm=10_000),
)


def hours_text(run_ms: int) -> str:
    """Hours as a decimal number of six places. Of ms that the command read, it reads the same again."""
    whole, rest = divmod(run_ms, HOUR_MS)
    if not rest:
        return str(whole)
    millionths = -(-rest * 10**6 // HOUR_MS)  # up: whoever reads it rounds down
    assert millionths < 10**6, f"no six places say {run_ms} ms"
    return f"{whole}.{millionths:06d}".rstrip("0")
