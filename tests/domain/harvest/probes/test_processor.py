"""What others need of the processor, and what our own jobs need, which does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.harvest.probes import ProbeFailed, portable
from domain.harvest.probes.kernel import Memory, Pressure, Times
from domain.harvest.probes.processor import Processor, Used
from domain.harvest.readings import Readings
from tests.domain.harvest.devices import tree

SECOND = 1_000_000_000
CORES = 4


class Cores:
    """Four cores, and what each look finds: seconds used by others, and by us."""

    def __init__(self) -> None:
        self.total = self.busy = self.ours = self.node = 0
        self.stall: int | None = 50_000

    def passes(self, seconds: float, *, others: float = 0, ours: float = 0, node: float = 0) -> None:
        self.total += int(seconds * CORES * SECOND)
        self.busy += int((others + ours + node) * SECOND)
        self.ours += int(ours * SECOND)
        self.node += int(node * SECOND)

    def probe(self) -> Processor:
        return Processor(
            lambda: (self.busy, self.total), lambda: Used(self.ours, self.node), lambda: self.stall
        )


def test_what_a_kernel_recorded(tmp_path: Path) -> None:
    root = tree("proc", tmp_path)
    assert Memory(root).read() == Readings(memory_available_bytes=12_844_212 << 10)
    assert Pressure(root)() == 1_000
    busy, total = Times(root, ticks_per_second=100)()
    assert total == (301_854 + 612 + 111_922 + 8_979_004 + 3_552 + 2 + 3_944) * 10_000_000
    assert busy == total - (8_979_004 + 3_552) * 10_000_000, "idle and waiting for a disk are not busy"


def test_others_are_told_from_the_second_look_on() -> None:
    cores = Cores()
    probe = cores.probe()
    assert probe.read().cpu_others_ppm is None
    cores.passes(1, others=1)
    assert probe.read().cpu_others_ppm == 250_000


def test_our_own_jobs_are_nobody() -> None:
    cores = Cores()
    probe = cores.probe()
    probe.read()
    cores.passes(1, others=0.4, ours=3.6)
    assert probe.read().cpu_others_ppm == 100_000


def test_our_own_jobs_that_wait_are_no_pressure_either() -> None:
    """They wait because others go first: that is what they are meant to do."""
    cores = Cores()
    probe = cores.probe()
    assert probe.read().cpu_stall_ppm == 50_000
    cores.passes(1, ours=1)
    assert probe.read().cpu_stall_ppm is None
    cores.passes(1, others=1)
    assert probe.read().cpu_stall_ppm == 50_000, "they stand still"


def test_what_the_node_fetches_and_verifies_is_nobody_and_leaves_pressure_told() -> None:
    """Else a large input would stop the work that it is for, again and again."""
    cores = Cores()
    probe = cores.probe()
    probe.read()
    cores.passes(1, others=0.4, node=2)
    assert probe.read() == Readings(cpu_others_ppm=100_000, cpu_stall_ppm=50_000)


def test_two_looks_at_once_say_the_same() -> None:
    """A window of a few ticks would be noise."""
    cores = Cores()
    probe = cores.probe()
    probe.read()
    cores.passes(1, others=2)
    assert probe.read().cpu_others_ppm == 500_000
    cores.passes(0.01, others=0.01)
    assert probe.read().cpu_others_ppm == 500_000


def test_times_that_jump_back_begin_anew() -> None:
    cores = Cores()
    cores.passes(10, others=5)
    probe = cores.probe()
    probe.read()
    cores.total = cores.busy = 0
    assert probe.read().cpu_others_ppm is None
    cores.passes(1, others=2)
    assert probe.read().cpu_others_ppm == 500_000


def test_without_times_pressure_alone_is_told(tmp_path: Path) -> None:
    root = tree("proc", tmp_path)
    (root / "stat").unlink()
    assert Processor(Times(root), pressure=Pressure(root)).read() == Readings(cpu_stall_ppm=1_000)
    (root / "pressure" / "cpu").unlink()
    with pytest.raises(ProbeFailed, match="cannot read"):
        Processor(Times(root), pressure=Pressure(root)).read()


@pytest.mark.parametrize("content", ["", "cpu\n", "cpu 1 2\n", "cpu a b c d e f g h\n", "intr 5\n"])
def test_a_file_in_another_format_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "stat").write_text(content)
    with pytest.raises(ProbeFailed):
        Times(tmp_path)()


def test_memory_of_a_kernel_that_does_not_say_it(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemFree:  50 kB\n")
    with pytest.raises(ProbeFailed, match="available"):
        Memory(tmp_path).read()


def test_psutil_tells_the_same_of_this_machine() -> None:
    """Not a recording: the machine that the tests run on."""
    busy, total = portable.times()
    assert 0 < busy <= total
    there = portable.Memory().read().memory_available_bytes
    kernel = Memory(Path("/proc")).read().memory_available_bytes
    assert there is not None
    assert kernel is not None
    assert abs(there - kernel) < kernel // 2
