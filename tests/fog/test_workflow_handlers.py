"""What a node tells of its workflows: whoever asks can read all of it, also of what was taken long ago."""

from __future__ import annotations

from pathlib import Path

from domain.work import Work
from fog.methods import DEADLINE_MAX_MS, plain, shape
from fog.workflow_handlers import line_of
from fog.workflow_methods import WorkflowLine
from ledger.cid import Cid
from ledger.database import connect
from ledger.recorder import SqlRecorder
from ledger.types import INT63_MAX

NOW = 1_800_000_000_000


def test_a_workflow_without_end_does_not_hide_the_others(tmp_path: Path) -> None:
    """Once `deadline: 106751991167d` was taken, and every list that had it was unreadable from then on."""
    work = Work(SqlRecorder(connect(f"sqlite:///{tmp_path / 'store'}"), "work"))
    for number, deadline in enumerate((NOW + DEADLINE_MAX_MS, NOW + 106_751_991_167 * 86_400_000)):
        work.begin_workflow(Cid.of(b"%d" % number), name="flow", submitted=NOW, deadline=deadline, plan=[])
    lines = [shape(WorkflowLine, plain(line_of(flow, []))) for flow in work.newest_workflows(9)]
    assert [line.deadline for line in lines] == [INT63_MAX, NOW + DEADLINE_MAX_MS]
