"""The guest's world alone, without an engine: whatever it is asked, it answers or ends the run."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.compute import wasi
from domain.compute.preview1 import FUNCTIONS
from domain.compute.tree import Errno, OutputFull, Quota, Refused, Tree

SIZE = 1 << 12
QUOTA = 5_000


class Memory:
    """4 KiB of guest memory."""

    def __init__(self) -> None:
        self.data = bytearray(SIZE)

    def read(self, at: int, size: int) -> bytes:
        if at + size > SIZE:
            raise Refused(Errno.FAULT)
        return bytes(self.data[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        if at + len(data) > SIZE:
            raise Refused(Errno.FAULT)
        self.data[at : at + len(data)] = data


def world() -> wasi.World:
    tree = Tree(Quota(QUOTA, 20))
    tree.put("in", "input", b"content")
    return wasi.World(["program"], {"A": "B"}, tree, b"stdin", seed=bytes(32), clock_ns=10**18)


def call(where: wasi.World, memory: Memory, name: str, *arguments: int) -> int:
    return wasi.call(where, memory, name, arguments)


def opened(where: wasi.World, memory: Memory, path: bytes, how: int = 1, rights: int = 1 << 6) -> int:
    """Open `path` from the root (creating and for writing, unless told); the descriptor."""
    memory.write(0, path)
    assert call(where, memory, "path_open", 3, 0, 0, len(path), how, rights, 0, 0, 512) == 0
    return int.from_bytes(memory.read(512, 4), "little")


def test_descriptors_are_the_lowest_free_ones() -> None:
    where, memory = world(), Memory()
    assert [opened(where, memory, b"out/" + name) for name in (b"a", b"b")] == [4, 5]
    assert call(where, memory, "fd_close", 4) == 0
    assert opened(where, memory, b"out/c") == 4


def test_open_files_are_bounded() -> None:
    """MFILE after 64, whatever the host would allow."""
    where, memory = world(), Memory()
    for _ in range(wasi.OPEN_FILES_MAX - 4):
        opened(where, memory, b"in/input", how=0, rights=0)
    memory.write(0, b"in/input")
    assert call(where, memory, "path_open", 3, 0, 0, 8, 0, 0, 0, 0, 512) == Errno.MFILE


def test_a_hole_counts_like_any_bytes() -> None:
    """Seeking far and writing one byte would otherwise take the lender's memory for nothing."""
    where, memory = world(), Memory()
    fd = opened(where, memory, b"out/sparse")
    assert call(where, memory, "fd_seek", fd, QUOTA, 0, 600) == 0
    memory.write(100, struct.pack("<II", 200, 1))
    with pytest.raises(OutputFull):
        call(where, memory, "fd_write", fd, 100, 1, 600)


def test_writing_nothing_changes_nothing() -> None:
    """As POSIX has it: not even beyond the end of a file."""
    where, memory = world(), Memory()
    fd = opened(where, memory, b"out/empty")
    assert call(where, memory, "fd_seek", fd, 100, 0, 600) == 0
    assert call(where, memory, "fd_write", fd, 100, 0, 600) == 0
    assert list(where.tree.captured()) == [("empty", b"")]


def test_deleted_files_stay_charged() -> None:
    """A deleted file that is still open holds its bytes, so deleting earns nothing back."""
    where, memory = world(), Memory()
    memory.write(100, struct.pack("<II", 200, 2000))
    for name in (b"tmp/a", b"tmp/b"):
        fd = opened(where, memory, name)
        assert call(where, memory, "fd_write", fd, 100, 1, 600) == 0
        memory.write(0, name)
        assert call(where, memory, "path_unlink_file", 3, 0, len(name)) == 0
    fd = opened(where, memory, b"tmp/c")
    with pytest.raises(OutputFull):
        call(where, memory, "fd_write", fd, 100, 1, 600)


def test_files_without_end_are_bounded_too() -> None:
    """Empty files hold no bytes, but each is a row of the result."""
    where, memory = world(), Memory()
    for number in range(20):
        call(where, memory, "fd_close", opened(where, memory, b"out/%d" % number))
    with pytest.raises(OutputFull):
        opened(where, memory, b"out/more")


def test_a_name_that_cannot_stand_in_a_result_is_refused() -> None:
    """Not UTF-8, not NFC, with control characters, or too long."""
    where, memory = world(), Memory()
    for name in (b"out/\xff", "out/e\u0301".encode(), b"out/a\nb"):
        memory.write(0, name)
        assert call(where, memory, "path_open", 3, 0, 0, len(name), 1, 0, 0, 0, 512) == Errno.ILSEQ
    memory.write(0, b"out/" + b"x" * 252)
    assert call(where, memory, "path_open", 3, 0, 0, 256, 1, 0, 0, 0, 512) == Errno.NAMETOOLONG


def test_a_listing_continues_where_it_stopped() -> None:
    """Even if the folder changes in between: it was taken when it was begun."""
    where, memory = world(), Memory()
    for name in (b"out/b", b"out/a"):
        opened(where, memory, name)
    folder = opened(where, memory, b"out", how=2, rights=0)
    assert call(where, memory, "fd_readdir", folder, 1000, 3 * 24 + 4, 0, 600) == 0
    opened(where, memory, b"out/0")
    assert call(where, memory, "fd_readdir", folder, 1000, 1000, 3, 600) == 0
    used = int.from_bytes(memory.read(600, 4), "little")
    assert memory.read(1000, used)[24:] == b"b"


def test_standard_error_is_kept_from_its_beginning() -> None:
    """It is for people: the first 16 KiB, and it never ends a run."""
    where, memory = world(), Memory()
    memory.write(100, struct.pack("<II", 200, 3000))
    for _ in range(10):
        assert call(where, memory, "fd_write", 2, 100, 1, 600) == 0
    assert len(where.stderr.data) == wasi.STDERR_MAX


PATHS = b"out/aout/in/input\0\0\0" + struct.pack("<II", 64, 100)
"""At the start of memory: "out/a" at 0, "out" at 0 or 5, "in/input" at 9; a vector at 20."""

NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 6, 8, 9, 20, 600, 1000, SIZE - 4, SIZE, -1, 2**31 - 1, 2**63 - 1]
)
CALLS = st.sampled_from(sorted(FUNCTIONS)).flatmap(
    lambda name: st.tuples(st.just(name), st.tuples(*[NUMBERS] * len(FUNCTIONS[name])))
)
FD = st.sampled_from([0, 1, 2, 3, 4, 4, 5, 5])
PATH = st.sampled_from([(0, 5), (0, 3), (9, 8)])
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "path_open": (3, 0, PATH, st.integers(0, 15), NUMBERS, 0, NUMBERS, 600),
    "path_create_directory": (3, PATH),
    "path_filestat_get": (3, 0, PATH, 600),
    "path_filestat_set_times": (3, 0, PATH, 0, 0, 0),
    "path_remove_directory": (3, PATH),
    "path_rename": (3, PATH, 3, PATH),
    "path_unlink_file": (3, PATH),
    "fd_allocate": (FD, 0, 50),
    "fd_close": (FD,),
    "fd_filestat_set_size": (FD, 7),
    "fd_pread": (FD, 20, 1, 3, 600),
    "fd_prestat_dir_name": (3, 600, 1),
    "fd_prestat_get": (3, 600),
    "fd_pwrite": (FD, 20, 1, 3, 600),
    "fd_read": (FD, 20, 1, 600),
    "fd_readdir": (FD, 1000, 200, 0, 600),
    "fd_renumber": (FD, FD),
    "fd_seek": (FD, NUMBERS, st.integers(0, 3), 600),
    "fd_tell": (FD, 600),
    "fd_write": (FD, 20, 1, 600),
}
"""Calls as a libc makes them: arguments are numbers, or strategies for one (PATH for two)."""


@st.composite
def plausible(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    name = draw(st.sampled_from(["path_open"] * 8 + list(PLAUSIBLE)))
    arguments: list[int] = []
    for argument in PLAUSIBLE[name]:
        value = draw(argument) if isinstance(argument, st.SearchStrategy) else argument
        arguments += value if isinstance(value, tuple) else (value,)
    return name, tuple(arguments)


def _answers(calls: list[tuple[str, Any]], start: bytes) -> list[object]:
    """What a fresh world says to these calls, up to the end of the run, and what is then in memory."""
    where, memory = world(), Memory()
    memory.write(0, PATHS + start)
    said: list[object] = []
    for name, arguments in calls:
        try:
            said.append(call(where, memory, name, *arguments))
        except (wasi.Exit, OutputFull) as end:
            said.append(repr(end))
            break
        stored = len(where.stdout.data) + sum(len(data) for _, data in where.tree.captured())
        assert stored <= QUOTA
    return [*said, bytes(memory.data), list(where.tree.captured())]


@settings(max_examples=300)
@given(st.lists(plausible() | CALLS, min_size=5, max_size=30), st.binary(max_size=SIZE - len(PATHS)))
def test_any_calls_are_answered_within_the_quota_and_twice_alike(
    calls: list[tuple[str, Any]], start: bytes
) -> None:
    """Fuzz contract: an errno, or one of the two ends; and a second world says the same."""
    assert _answers(calls, start) == _answers(calls, start)
