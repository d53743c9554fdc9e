"""What a step of a workflow is given: its files, and what the steps it needs have made.

What must always hold: outputs of a step are taken from settled results, never from files that somebody could
have changed; the same step is given the same again.
"""

from __future__ import annotations

from pathlib import Path

import trio

from domain.compute.spec import Input, Output, ShardResult
from domain.work import Work, Workflow
from domain.work.workflows import PlannedSource, PlannedStep
from fog.jobs import unique_names
from fog.layout import lay_out, matches
from fog.outputs import outputs_of
from fog.submitter import Submitter
from ledger.cid import Cid
from ledger.errors import UsageError
from network.blobs import BlockStore


class StepInputs:
    def __init__(self, work: Work, store: BlockStore, submitter: Submitter) -> None:
        self._work = work
        self._store = store
        self._submitter = submitter

    async def results(
        self, flow: Workflow, step: PlannedStep, *, whole: bool = False
    ) -> dict[int, ShardResult]:
        """All that was settled of a step, by its shards; from the first job that settled each. With `whole`,
        all their blobs are here too.

        Raises BlobMissing.
        """
        results: dict[int, ShardResult] = {}
        for attempt in flow.steps[step.name].attempts:
            record = await trio.to_thread.run_sync(self._work.record_of_job, attempt.record)
            if record.job is not None:
                for shard, result in (await self._submitter.settled(record, whole=whole)).items():
                    results.setdefault(attempt.shards[shard], result)
        return dict(sorted(results.items()))

    async def inputs(self, flow: Workflow, step: PlannedStep) -> list[Input]:
        """Its files, then what its sources made. Raises UsageError (`no_input`)."""
        if not step.sources:
            return step.inputs
        entries = [(Path(entry.name), entry.cid, entry.size) for entry in step.inputs]
        for source in step.sources:
            found = await self._made(flow, source)
            if not found:
                raise UsageError(f"{source.step} made no file that matches {source.files}", code="no_input")
            entries += found
        names = unique_names([path for path, _, _ in entries])
        return [Input(name, cid, size) for name, (_, cid, size) in zip(names, entries, strict=True)]

    async def _made(self, flow: Workflow, source: PlannedSource) -> list[tuple[Path, Cid, int]]:
        """Outputs of an earlier step that match, in the order of its shards."""
        step = next(one for one in flow.plan if one.name == source.step)
        laid = lay_out(step, await self.inputs(flow, step))
        found = []
        for number, result in (await self.results(flow, step, whole=True)).items():
            for run in result.runs:
                for path, output in outputs_of(number, run, lambda shard, name: laid[shard].stem + name):
                    if matches(path, source.files):
                        cid = await trio.to_thread.run_sync(self._blob_of, output)
                        found.append((Path(source.step) / path, cid, output.size))
        return found

    def _blob_of(self, output: Output) -> Cid:
        if output.data is not None:
            return self._store.add(output.data)
        assert output.cid is not None, "an output has its bytes or their id"
        return output.cid
