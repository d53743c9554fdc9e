"""What programs can be written in here is told with what is missing; the interpreter is compiled ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog import runtimes

pytestmark = pytest.mark.trio


async def test_every_kind_of_program_is_told_with_what_it_needs() -> None:
    found = {one.kind: one for one in (await runtimes.look()).runtimes}
    assert found.keys() == {".wasm", ".c", ".rs", ".py"}
    for one in found.values():
        assert one.ready != bool(one.remedy)
        assert one.what


@pytest.mark.long
async def test_the_interpreter_is_compiled_once(tmp_path: Path) -> None:
    """After that a script starts at once."""
    assert (await runtimes.warm(tmp_path / "modules")).compiled
    again = await runtimes.warm(tmp_path / "modules")
    assert not again.compiled
