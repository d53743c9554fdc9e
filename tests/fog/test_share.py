"""What runs may take together: of memory, of the disk, of the cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from domain.compute.engine import ENGINE
from domain.compute.sandbox import Sandbox
from domain.compute.spec import Input, JobSpec
from fog.gate import Gate
from fog.settings import Worker as Settings
from fog.share import CHILD_SIZE, NoRoom, Share, throttle
from ledger import blob

MIB = 1 << 20
GIB = 1 << 30

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
    shards=((Input("a", blob.cid_of(b"a"), 10 * MIB),),),
)
NEEDED_MIB = 64 + 2 + CHILD_SIZE // MIB


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
