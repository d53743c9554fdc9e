"""What befalls honest nodes and the links between them, at moments drawn from the seed.

Each fault is a function of the storm with one sentence; a run draws its own mixture. All of them end by
themselves, and `Storm.calm` ends what is left: from there on the network must make up for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from fog.sim.disk import flip_bit, tear
from fog.sim.ground import Ground
from fog.sim.links import Weather
from fog.sim.node import Node

DOWN_MS: Final = 15_000
"""A node that crashed is back after at most so long, on average after half of it."""

SPLIT_MS: Final = 25_000
"""The longest partition."""

SKEW_MS: Final = 3_600_000
"""The most by which a clock is wrong."""

BACKUP_MS: Final = 20_000
"""How often each disk is copied, for faults that go back to a copy."""


class Storm:
    def __init__(
        self, ground: Ground, kinds: Sequence[str], *, gap_ms: int, may_lose: Callable[[Node], bool]
    ) -> None:
        """`may_lose`: whether this node may lose what its disk holds, now."""
        self.ground = ground
        self.draw: random.Random = ground.draw("storm")
        self.backups: dict[int, tuple[bytes, bool]] = {}  # node -> (its disk, whether that is damaged)
        self._kinds = list(kinds)
        self._gap_ms = gap_ms
        self._may_lose = may_lose
        self._weather = ground.links.weather

    def start(self) -> None:
        self.ground.observer.on_crash = self._restart_later
        self.ground.scheduler.after(self.draw.randrange(self._gap_ms), self._strike)
        self.ground.scheduler.after(BACKUP_MS, self._back_up)

    def calm(self) -> None:
        """Everything that is broken is mended: links, clocks, power; nodes that are down start."""
        self.ground.calm()
        for node in self.honest():
            node.skew = 0
            node.keep_power()
            if not node.up:
                node.start()

    def honest(self) -> list[Node]:
        return [node for node in self.ground.nodes if not node.is_liar]

    def count(self, kind: str) -> None:
        self.ground.counts[f"fault.{kind}"] += 1
        self.ground.trace.note("world", kind)

    def one(self) -> Node:
        """An honest node that is up, if there is one."""
        nodes = self.honest()
        return self.draw.choice([node for node in nodes if node.up] or nodes)

    def copied(self) -> Node | None:
        """The one node of a run whose disk may come back as something older than its word."""
        node = self.honest()[self.ground.seed % len(self.honest())]
        return node if node.up and self._may_lose(node) else None

    def losable(self) -> Node | None:
        nodes = [node for node in self.honest() if node.up and self._may_lose(node)]
        return self.draw.choice(nodes) if nodes else None

    def down(self, node: Node, *, disk: Callable[[], None] = lambda: None) -> None:
        """Crash; what befalls the disk befalls it while the node is down."""
        if node.up:
            node.crash()
            disk()
            self._restart_later(node)

    def cut(self, pairs: list[tuple[int, int]], ms: int) -> None:
        self.ground.links.cut(pairs)
        self.ground.scheduler.after(ms, lambda: self.ground.links.heal(pairs))

    def _restart_later(self, node: Node) -> None:
        life = node.life

        def start() -> None:
            if not node.up and node.life == life:
                node.start()

        self.ground.scheduler.after(self.draw.randrange(1, DOWN_MS), start)

    def _strike(self) -> None:
        if self.ground.is_calm or not self._kinds:
            return
        kind = self.draw.choice(self._kinds)
        FAULTS[kind](self)
        self.ground.scheduler.after(1 + self.draw.randrange(2 * self._gap_ms), self._strike)

    def _back_up(self) -> None:
        if self.ground.is_calm:
            return
        for node in self.honest():
            self.backups[node.index] = node.disk.image(), node.is_damaged
        self.ground.scheduler.after(BACKUP_MS, self._back_up)


def partition(storm: Storm) -> None:
    """The network falls into two halves that do not hear each other; liars may be in both."""
    storm.count("partition")
    left, right = _halves(storm)
    is_bridged = storm.draw.randrange(2) or any(node.has_twin for node in storm.ground.nodes)
    if is_bridged:
        left, right = (
            [node for node in half if not storm.ground.nodes[node].is_liar] for half in (left, right)
        )
    pairs = [(a, b) for a in left for b in right]
    ms = storm.draw.randrange(SPLIT_MS)
    storm.cut(pairs + [(b, a) for a, b in pairs], ms)
    half = storm.ground.half = dict.fromkeys(left)

    def heals() -> None:
        if storm.ground.half is half:
            storm.ground.half = None

    storm.ground.scheduler.after(ms, heals)


def one_way(storm: Storm) -> None:
    """One half hears the other, but not the other way round."""
    storm.count("one_way")
    left, right = _halves(storm)
    storm.cut([(a, b) for a in left for b in right], storm.draw.randrange(SPLIT_MS))


def alone(storm: Storm) -> None:
    """One node hears nobody."""
    storm.count("alone")
    node = storm.one().index
    storm.cut([(other, node) for other in _all(storm) if other != node], storm.draw.randrange(SPLIT_MS))


def bad_weather(storm: Storm) -> None:
    """For a while messages are lost, doubled and late everywhere."""
    storm.count("bad_weather")
    links, clear = storm.ground.links, storm._weather
    links.weather = Weather(clear.delay_ms, clear.jitter_ms * 4, 200_000, 100_000, 50_000)

    def clears() -> None:
        if not storm.ground.is_calm:
            links.weather = clear

    storm.ground.scheduler.after(storm.draw.randrange(SPLIT_MS), clears)


def crash(storm: Storm) -> None:
    """A node stops and starts again from its disk."""
    storm.count("crash")
    storm.down(storm.one())


def crash_twice(storm: Storm) -> None:
    """A node stops, and once more when it has just heard what others hold of its votes."""
    storm.count("crash_twice")
    node = storm.one()
    node.stops_again = True
    storm.down(node)


def crash_before_commit(storm: Storm) -> None:
    """The power goes while a node writes: what it was writing is not there."""
    storm.count("crash_before_commit")
    storm.one().cut_power(before=storm.draw.randrange(1, 4))


def crash_after_commit(storm: Storm) -> None:
    """The power goes when a node has written and before it has said anything of it."""
    storm.count("crash_after_commit")
    storm.one().cut_power(before=None)


def skew(storm: Storm) -> None:
    """A clock is wrong: by seconds often, by up to an hour sometimes, in either direction."""
    storm.count("skew")
    most = storm.draw.choice((1_000, 10_000, 90_000, SKEW_MS))
    storm.one().skew = storm.draw.randrange(-most, most + 1)


def slow(storm: Storm) -> None:
    """A node takes seconds over everything."""
    storm.count("slow")
    node, links = storm.one().index, storm.ground.links
    links.slow(node, storm.draw.randrange(200, 4_000))
    storm.ground.scheduler.after(storm.draw.randrange(SPLIT_MS), lambda: links.slow(node, 0))


def disk_loss(storm: Storm) -> None:
    """A node comes back with an empty disk and its key."""
    node = storm.losable()
    if node is not None:
        storm.count("disk_loss")
        storm.down(node, disk=lambda: _replace(storm, node, None))


def fresh_start(storm: Storm) -> None:
    """A node comes back with an empty disk and its key, and begins from a snapshot of others."""
    node = storm.losable()
    if node is not None:
        storm.count("fresh_start")
        node.begins_fresh = True
        storm.down(node, disk=lambda: _replace(storm, node, None))


def restored_backup(storm: Storm) -> None:
    """A node comes back with a copy of its disk from before."""
    node = storm.copied()
    if node is not None and node.index in storm.backups:
        storm.count("restored_backup")
        image, damaged = storm.backups[node.index]
        storm.down(node, disk=lambda: _replace(storm, node, image, damaged=damaged))


def bit_flip(storm: Storm) -> None:
    """A bit of a disk is another after the crash."""
    node = storm.copied()
    if node is not None:
        storm.count("bit_flip")
        storm.down(
            node, disk=lambda: _replace(storm, node, flip_bit(node.disk.image(), storm.draw), damaged=True)
        )


def torn_write(storm: Storm) -> None:
    """A page of a disk was written by half when the power went."""
    node = storm.copied()
    if node is not None and node.index in storm.backups:
        older, _ = storm.backups[node.index]
        torn = tear(node.disk.image(), older, storm.draw)
        if torn is not None:
            storm.count("torn_write")
            storm.down(node, disk=lambda: _replace(storm, node, torn, damaged=True))


def _replace(storm: Storm, node: Node, image: bytes | None, *, damaged: bool = False) -> None:
    storm.ground.observer.disk_replaced(node, copied=image is not None)
    if image is None:
        node.disk.lose()
    else:
        node.disk.load(image)
    node.is_damaged = damaged


def _all(storm: Storm) -> list[int]:
    return list(range(len(storm.ground.nodes)))


def _halves(storm: Storm) -> tuple[list[int], list[int]]:
    nodes = _all(storm)
    storm.draw.shuffle(nodes)
    at = storm.draw.randrange(1, len(nodes))
    return nodes[:at], nodes[at:]


FAULTS: Final[dict[str, Callable[[Storm], None]]] = {
    fault.__name__: fault
    for fault in (
        partition,
        one_way,
        alone,
        bad_weather,
        crash,
        crash_twice,
        crash_before_commit,
        crash_after_commit,
        skew,
        slow,
        disk_loss,
        fresh_start,
        restored_backup,
        bit_flip,
        torn_write,
    )
}
