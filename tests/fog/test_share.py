"""What runs may take together: of memory, of the disk, of the cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from domain.compute.engine import ENGINE
from domain.compute.sandbox import MEMORY_BASE, Sandbox, memory_max
from domain.compute.spec import Input, JobSpec
from fog.gate import Gate
from fog.settings import Worker as Settings
from fog.share import CHILD_SIZE, CROWDED_S_MAX, CROWDED_S_MIN, NoRoom, Share, throttle
from ledger import blob

MIB = 1 << 20
GIB = 1 << 30

INPUT = Input("a", blob.cid_of(b"a"), 10 * MIB)
SPEC = JobSpec(
    kind="wasm",
    program=blob.cid_of(b"program"),
    name="program",
    memory=64 * MIB,
    fuel=1,
    output=MIB,
    seed=bytes(32),
    clock_ns=0,
    engine=ENGINE,
    shards=((INPUT,),),
)
NEEDED_MIB = 64 + 4 + CHILD_SIZE // MIB


def share(folder: Path, *, available: int = 8 * GIB, floor: int = GIB, **caps: int) -> Share:
    return Share(Settings(**caps), folder, lambda: floor, lambda: available)


def refusal(share: Share, **changes: Any) -> str:
    with pytest.raises(NoRoom) as caught, share.taken(msgspec.structs.replace(SPEC, **changes), 0):
        pass
    return f"{caught.value.code}: {caught.value}"


def test_memory_is_taken_while_a_run_lasts(tmp_path: Path) -> None:
    limited = share(tmp_path, memory_mib=NEEDED_MIB + 100)
    with limited.taken(SPEC, 0):
        assert refusal(limited) == (
            f"no_memory: the run may need {NEEDED_MIB} MiB of memory, and 100 are left"
        )
    assert limited.memory == 0
    with limited.taken(SPEC, 0):
        pass


def test_the_machine_keeps_what_harvesting_would_stop_for(tmp_path: Path) -> None:
    """Whatever the cap says: else the run would be begun only to be given up."""
    little = share(tmp_path, available=GIB + NEEDED_MIB * MIB - 1, memory_mib=4096)
    assert refusal(little).startswith("no_memory: ")
    with share(tmp_path, available=GIB + NEEDED_MIB * MIB).taken(SPEC, 0):
        pass


def test_disk_is_for_inputs_and_outputs(tmp_path: Path) -> None:
    limited = share(tmp_path, scratch_mib=15)
    with limited.taken(SPEC, 0):
        assert refusal(limited) == "no_disk: the run may need 11 MiB of disk, and 4 are left"
    huge = Input("a", blob.cid_of(b"a"), 2**60)
    assert refusal(share(tmp_path), shards=((huge,),)).startswith("no_disk: ")


def test_what_a_run_may_need_is_what_the_sandbox_gives_it_at_most(tmp_path: Path) -> None:
    """But for what a child itself may take while it compiles, which most never do."""
    for changes in ({}, {"together": True}, {"output": 100 * MIB}):
        spec = msgspec.structs.replace(SPEC, **changes)
        taking = share(tmp_path)
        with taking.taken(spec, 0):
            assert taking.memory - CHILD_SIZE <= memory_max(spec) - MEMORY_BASE


def test_inputs_that_one_run_sees_together_are_in_memory(tmp_path: Path) -> None:
    limited = share(tmp_path, memory_mib=NEEDED_MIB)
    with limited.taken(SPEC, 0):
        pass
    assert refusal(limited, together=True).startswith("no_memory: ")


def test_what_would_not_fit_if_nothing_else_ran_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    """What only has to wait for others is fetched meanwhile."""
    limited = share(tmp_path, memory_mib=NEEDED_MIB + 1, scratch_mib=11)
    with limited.taken(SPEC, 0):
        limited.require(SPEC, 0)
        for changes in (
            {"memory": 66 * MIB},
            {"shards": ((msgspec.structs.replace(INPUT, size=11 * MIB),),)},
        ):
            with pytest.raises(NoRoom):
                limited.require(msgspec.structs.replace(SPEC, **changes), 0)
    little = share(tmp_path, available=GIB + NEEDED_MIB * MIB - 1)
    with pytest.raises(NoRoom):
        little.require(SPEC, 0)
    assert 0 < little.crowded_s <= CROWDED_S_MIN


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_after_one_did_not_fit_no_more_are_offered_than_did(tmp_path: Path) -> None:
    """For a while, and for a longer one each time, until one fits again."""
    clock = Clock()
    limited = Share(Settings(memory_mib=2 * NEEDED_MIB), tmp_path, lambda: 0, lambda: 8 * GIB, clock)
    assert limited.fitting(4) == 4
    with limited.taken(SPEC, 0), limited.taken(SPEC, 0):
        refusal(limited)
        refusal(limited)
        assert (limited.fitting(4), limited.crowded_s) == (2, CROWDED_S_MIN)
    assert limited.fitting(4) == 2
    clock.now_s += CROWDED_S_MIN
    assert (limited.fitting(4), limited.crowded_s) == (4, 0)
    for wanted_s in (60, CROWDED_S_MAX, CROWDED_S_MAX):
        refusal(limited, memory=GIB)
        assert (limited.fitting(4), limited.crowded_s) == (0, wanted_s)
        clock.now_s += wanted_s
    with limited.taken(SPEC, 0):
        refusal(limited, memory=GIB)
        assert (limited.fitting(4), limited.crowded_s) == (1, CROWDED_S_MIN)


@pytest.mark.trio
async def test_throttled_work_stands_still_in_turns_and_the_gate_is_above_that(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    gate = Gate(sandbox)
    await gate.turn("run", "")
    seen: list[bool] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(throttle, gate, sandbox, 50)
            while [*seen, None][0:3] != [False, True, False]:
                if not seen or seen[-1] != sandbox.suspended:
                    seen.append(sandbox.suspended)
                await trio.sleep(0.01)
            await gate.turn("suspend", "somebody is here")
            for _ in range(150):
                assert sandbox.suspended
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
