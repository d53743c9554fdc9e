"""Compiled modules are kept, found again, and never believed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from domain.compute import cache
from tests.domain.compute.bench import Bench

pytestmark = pytest.mark.trio


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """With a cache of its own."""
    return Bench(tmp_path, tmp_path / "cache")


def kept(bench: Bench, kind: str) -> Path:
    (file,) = bench.cache.glob(f"*.{kind}")
    return file


async def test_a_module_is_compiled_once(bench: Bench) -> None:
    """The folder is its owner's alone, and what is kept gives the same run."""
    first = await bench.outcome("hello.c")
    second = await bench.outcome("hello.c")
    assert (first.cached, second.cached) == (False, True)
    assert first.result == second.result
    assert stat.S_IMODE(bench.cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["cwasm", "sha256"])
async def test_a_changed_file_is_not_loaded(bench: Bench, kind: str) -> None:
    """One flipped bit in code or digest: compiled again, and mended."""
    first = await bench.outcome("hello.c")
    damaged = bytearray(kept(bench, kind).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept(bench, kind).write_bytes(damaged)
    second = await bench.outcome("hello.c")
    third = await bench.outcome("hello.c")
    assert (second.cached, third.cached) == (False, True)
    assert first.result == second.result == third.result


async def test_a_half_written_file_is_not_loaded(bench: Bench) -> None:
    """A crash between code and digest leaves code that does not count."""
    await bench.outcome("hello.c")
    kept(bench, "sha256").unlink()
    assert not (await bench.outcome("hello.c")).cached


async def test_what_was_unused_longest_is_forgotten_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has a size; the newest stays even if it alone is larger."""
    for name, used in (("old", 1), ("new", 3), ("middle", 2)):
        bench.cache.mkdir(exist_ok=True)
        for kind in ("cwasm", "sha256"):
            (bench.cache / f"{name}.{kind}").write_bytes(b"x" * 100)
        os.utime(bench.cache / f"{name}.cwasm", (used, used))
    monkeypatch.setattr(cache, "CACHE_SIZE_MAX", 150)
    cache.make_room(bench.cache)
    assert sorted(file.name for file in bench.cache.iterdir()) == ["new.cwasm", "new.sha256"]
