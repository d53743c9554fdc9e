"""Packing a job: what no worker could read is refused here, before anything is signed or paid for."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import trio

from domain.compute.spec import JobSpec
from fog.jobs import Packed, pack
from fog.methods import JobSubmit, shape
from ledger.errors import UsageError
from network.blobs import BlockStore
from tests.nodes import programs


def request(folder: Path, **asked: Any) -> JobSubmit:
    program = programs.write(folder, "program", programs.copies(1))
    terms: dict[str, Any] = {
        "program": str(program),
        "args": [],
        "files": [],
        "name": "program",
        "output": None,
        "shards": None,
        "price": 1,
        "fuel": 1,
        "memory": 1 << 20,
        "lease_ms": 60_000,
        "deadline_ms": 600_000,
        "checks": 1,
        "wait": False,
    }
    return shape(JobSubmit, terms | asked)


async def packed(folder: Path, **asked: Any) -> tuple[Packed, JobSpec]:
    store = BlockStore(folder / "blobs")
    result = await pack(request(folder, **asked), store, folder / "cache", seed=bytes(32))
    return result, JobSpec.decode(store.read(result.spec, size_max=1 << 20))


@pytest.mark.trio
@pytest.mark.parametrize("args", [["a\0b"], ["x" * 5_000]], ids=["a zero byte", "too long"])
async def test_arguments_that_no_worker_could_read_are_refused(tmp_path: Path, args: list[str]):
    with pytest.raises(UsageError) as refused:
        await packed(tmp_path, args=args)
    assert refused.value.code == "bad_job"


@pytest.mark.trio
async def test_a_file_name_with_a_line_break_is_refused(tmp_path: Path):
    odd = tmp_path / "one\ntwo"
    odd.write_text("text")
    with pytest.raises(UsageError) as refused:
        await packed(tmp_path, files=[str(odd)])
    assert refused.value.code == "bad_job"


@pytest.mark.trio
async def test_a_file_named_by_another_system_keeps_its_name_in_the_form_of_the_network(tmp_path: Path):
    """macOS takes accents apart; all text of the network has them put together."""
    name = unicodedata.normalize("NFD", "é.txt")
    (tmp_path / name).write_text("text")
    result, spec = await packed(tmp_path, files=[str(tmp_path / name)])
    assert result.inputs == [["\u00e9.txt"]]
    assert spec.shards[0][0].name == "\u00e9.txt"


@pytest.mark.trio
async def test_so_does_a_program(tmp_path: Path):
    good = programs.write(tmp_path, "good", programs.copies(1))
    _, spec = await packed(tmp_path, program=str(good.rename(tmp_path / "e\u0301.wasm")))
    assert spec.name == "\u00e9.wasm"


@pytest.mark.trio
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
async def test_what_may_never_begin_or_end_is_no_input(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no plain file") as refused, trio.fail_after(20):
        await packed(tmp_path, files=[str(tmp_path / name)])
    assert refused.value.code == "no_input"


@pytest.mark.trio
async def test_an_input_has_what_was_read_whatever_size_its_file_says(tmp_path: Path):
    """That of /proc/self/status says 0."""
    _, spec = await packed(tmp_path, files=["/proc/self/status"])
    text = BlockStore(tmp_path / "blobs").read(spec.shards[0][0].cid, size_max=1 << 20)
    assert b"VmPeak" in text
    assert spec.shards[0][0].size == len(text)


def test_a_path_with_a_zero_byte_is_no_request(tmp_path: Path):
    with pytest.raises(UsageError) as refused:
        request(tmp_path, files=["/tmp/\0"])
    assert refused.value.code == "bad_request"


@pytest.mark.trio
async def test_a_lease_that_cannot_end_before_the_deadline_is_refused(tmp_path: Path):
    """It would never be given, and the job would wait until it expires."""
    with pytest.raises(UsageError) as refused:
        await packed(tmp_path, lease_ms=60_000, deadline_ms=60_000)
    assert refused.value.code == "bad_lease"


@pytest.mark.trio
async def test_a_program_that_could_not_even_start_is_refused(tmp_path: Path):
    large = programs.write(tmp_path, "large", programs.LARGE)
    with pytest.raises(UsageError, match="67108864 bytes of memory") as refused:
        await packed(tmp_path, program=str(large))
    assert (refused.value.code, "64MiB" in str(refused.value.next_step)) == ("memory_too_small", True)


@pytest.mark.trio
async def test_shards_without_inputs_know_their_numbers(tmp_path: Path):
    """Or else all of them would do the same."""
    _, many = await packed(tmp_path, shards=3)
    _, one = await packed(tmp_path)
    assert (many.numbers, many.of, one.numbers) == ((0, 1, 2), 3, ())
