"""Packing a job: what no worker could read is refused here, before anything is signed or paid for."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from domain.compute.spec import JobSpec
from fog.jobs import Packed, pack
from fog.methods import JobSubmit, shape
from ledger.errors import UsageError
from network.blobs import BlockStore

EMPTY_MODULE = b"\0asm\x01\0\0\0"


def request(folder: Path, **asked: Any) -> JobSubmit:
    program = folder / "program.wasm"
    program.write_bytes(EMPTY_MODULE)
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
