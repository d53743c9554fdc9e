"""What this node still owes, or is owed, of blobs: they stay when room is made.

    jobs and workflows of ours that are not over    their specs, programs and inputs: workers fetch them here
    steps of those that others still wait for       their results, which are inputs then
    leases that are not over                        our result and its blobs: checkers and submitter need them

From the records of `domain.work`, so a restart pins what it pinned before. A lease is over when it is
settled; its result then stays like anything else that was used just now, here and at the other run's node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from domain.compute.spec import RESULT_SIZE_MAX, SPEC_SIZE_MAX, JobSpec, ShardResult
from domain.work import Work, Workflow
from ledger.cid import Cid
from ledger.errors import FogError
from network.blobs import BlockStore


def pin_what_is_owed(store: BlockStore, work: Work) -> None:
    """Let the store ask for it whenever it makes room."""
    store.pins.source(lambda: owed(store, work))


def owed(store: BlockStore, work: Work) -> Iterator[Cid]:
    """All of it. What cannot be read is pinned by its name alone."""
    for flow in work.open_workflows():
        for step in flow.plan:
            yield step.program
            if step.runtime is not None:
                yield step.runtime
            yield from (entry.cid for entry in step.inputs)
        for result in _awaited(work, flow):
            yield result
            yield from _read(store, result, _of_result)
    for record in work.open_jobs():
        yield record.spec
        yield from _read(store, record.spec, _of_spec)
    for lease in work.open_leases():
        held = work.lease(*lease)
        if held is not None:
            yield held.result
            yield from _read(store, held.result, _of_result)


def _awaited(work: Work, flow: Workflow) -> Iterator[Cid]:
    """Results of steps that are sources of steps which have not ended."""
    waiting = [step for step in flow.plan if flow.steps[step.name].outcome is None]
    for name in dict.fromkeys(source.step for step in waiting for source in step.sources):
        for attempt in flow.steps[name].attempts:
            yield from list(work.record_of_job(attempt.record).results.values())


def _read(store: BlockStore, cid: Cid, names: Callable[[BlockStore, Cid], list[Cid]]) -> list[Cid]:
    try:
        return names(store, cid)
    except FogError:  # not whole, or not here
        return []


def _of_spec(store: BlockStore, cid: Cid) -> list[Cid]:
    spec = JobSpec.decode(store.read(cid, size_max=SPEC_SIZE_MAX))
    return [*spec.blobs, *(entry.cid for shard in spec.shards for entry in shard)]


def _of_result(store: BlockStore, cid: Cid) -> list[Cid]:
    return sorted(ShardResult.decode(store.read(cid, size_max=RESULT_SIZE_MAX)).blobs)
