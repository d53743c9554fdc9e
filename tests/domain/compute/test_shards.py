"""What a shard is told of itself: its own arguments, its number, its own randomness, its inputs one by one or
together."""

from __future__ import annotations

import msgspec
import pytest

from domain.compute.sandbox import ShardTask
from domain.compute.spec import Input, JobSpec
from ledger import blob
from tests.domain.compute.bench import Bench

pytestmark = pytest.mark.trio

TEXTS = {"b.txt": b"two\n", "a.txt": b"one\n"}


async def told(
    bench: Bench, shard: int = 0, texts: dict[str, bytes] | None = None, **terms: object
) -> list[str]:
    """What the only run of one of three shards prints, line by line."""
    task = await bench.task("told.c", texts or {})
    inputs = tuple(Input(name, blob.cid_of(data), len(data)) for name, data in (texts or {}).items())
    spec: JobSpec = msgspec.structs.replace(task.spec, shards=(inputs,) * 3, **terms)  # type: ignore[arg-type]
    assert JobSpec.decode(spec.encode()) == spec
    mine = ShardTask(spec, shard, task.program, task.inputs, task.runtime)
    outcome = await bench.sandbox.run(mine, scratch=bench.folder)
    (run,) = outcome.result.runs
    assert (run.status, run.name) == ("ok", "" if spec.together or not texts else next(iter(texts)))
    return bench.text(run.stdout).splitlines()


async def test_each_point_has_its_own_arguments(bench: Bench) -> None:
    points = (("-n", "1"), ("-n", "2"), ())
    assert [line for line in await told(bench, 1, points=points) if "arg" in line] == ["arg -n", "arg 2"]
    assert not [line for line in await told(bench, 2, points=points) if "arg" in line]


async def test_a_numbered_shard_knows_its_number_and_draws_its_own_lots(bench: Bench) -> None:
    """The same shard draws the same again, so it can be checked."""
    first, second = [await told(bench, shard, numbers=(3, 5, 9), of=10) for shard in (1, 2)]
    assert (first[0], second[0]) == ("shard 5 of 10", "shard 9 of 10")
    assert first[1] != second[1]
    alone = await told(bench, 1, numbers=(0, 5, 1), of=10)
    assert alone == first, "the number counts, not the place: a shard can be asked for again by itself"


async def test_shards_without_numbers_are_all_the_same(bench: Bench) -> None:
    assert await told(bench, 0) == await told(bench, 1)


async def test_one_run_sees_all_inputs_of_its_shard_together(bench: Bench) -> None:
    """As files, in the order of their names; none of them is standard input or an argument."""
    lines = await told(bench, texts=TEXTS, together=True)
    assert lines[1:] == ["file a.txt", "file b.txt"]
    alone = await told(bench, texts={"a.txt": b"one\n"})
    assert [line for line in alone if "chance" not in line] == ["arg a.txt", "stdin one", "file a.txt"]
