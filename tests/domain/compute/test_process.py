"""The child as its parent sees it: however it dies, that is a failure of this run and of nothing else."""

from __future__ import annotations

import pytest

from domain.compute.process import Child, SandboxFailure

pytestmark = pytest.mark.trio


class Dying(Child):
    """Ends by a signal that has no name in Python: a real-time one."""

    entry = "import os; os.kill(os.getpid(), 35)"


async def test_a_signal_without_a_name_is_a_death_like_any() -> None:
    child = Dying()
    try:
        with pytest.raises(SandboxFailure) as caught:
            await child.report(100)
    finally:
        await child.close()
    assert caught.value.code == "child_died"
