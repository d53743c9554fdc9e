"""The aggregates, and the events that change them.

Events are stored under topics that name no Python class, so classes may move. A topic is never reused, and
its fields only ever gain defaults; what must mean something else gets a new topic.

What must always hold: an aggregate is its events, folded in order, and nothing else.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from eventsourcing.utils import register_topic

from domain.compute.spec import OUTPUT_MAX
from ledger.cid import Cid

NO_CID: Final = Cid()
"""Until the first event says which."""


class Record(msgspec.Struct):
    """An aggregate. `version` is that of the last event folded in."""

    id: str
    version: int = 0


class Loss(msgspec.Struct, frozen=True):
    """Why a result is not waited for any more: a public word, and a sentence."""

    code: str
    reason: str


class SubmittedJob(Record):
    """A job of ours.

    job       the id of its event; None until that is signed, and for good if a crash came between
    output    the folder for outputs, or None: results are fetched and stay in the blob store
    inputs    for each shard, the names of its input files
    stems     for each shard, what the names of its outputs begin with, before the input's; empty: nothing
              does, and what has no input is named after the shard's number
    together  a shard is one run, whatever its inputs
    fetched   shards whose results are here, and written
    lost      shards that were settled, and whose results are not waited for any more
    results   of those that were fetched, by shard; not of records from before this was kept
    output_max  bytes that a shard may print and store; of records from before this was kept, the most of any
    """

    spec: Cid = NO_CID
    name: str = ""
    output: str | None = None
    inputs: list[list[str]] = []
    job: Cid | None = None
    fetched: set[int] = msgspec.field(default_factory=set)
    ended: bool = False
    stems: list[str] = msgspec.field(default_factory=list)
    together: bool = False
    lost: dict[int, Loss] = msgspec.field(default_factory=dict)
    results: dict[int, Cid] = msgspec.field(default_factory=dict)
    output_max: int = OUTPUT_MAX

    def runs_of(self, shard: int) -> list[str]:
        """The names of a shard's runs."""
        return ([] if self.together else self.inputs[shard]) or [""]

    def stem_of(self, shard: int, run: str) -> str:
        """What the names of a run's outputs begin with."""
        if self.stems:
            return self.stems[shard] + run
        return run or str(shard)


class HeldLease(Record):
    """The answer to one lease: committed to, then revealed, byte for byte this."""

    result: Cid = NO_CID
    fuel: int = 0
    salt: bytes = b""
    ended: bool = False


class Alias(Record):
    """Under which id the record of a job is kept, found by the job's own id."""

    record: str = ""


class Outbox(Record):
    """Events 0 … `seq` of one lane of ours are held by some peer; -1 for none."""

    seq: int = -1


class Index(Record):
    """Ids of the open records of one kind, in the order in which they were opened."""

    open: dict[str, None] = msgspec.field(default_factory=dict)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one aggregate of the class KIND."""

    TOPIC: ClassVar[str]
    KIND: ClassVar[type[Record]]

    originator_id: str
    originator_version: int

    def mutate(self, record: Any) -> Any:
        """eventsourcing's word for folding. The first event makes the aggregate."""
        record = self.KIND(self.originator_id) if record is None else record
        assert self.originator_version == record.version + 1, f"{self} does not follow {record}"
        record.version = self.originator_version
        self.apply(record)
        return record

    def apply(self, record: Any) -> None:
        """Change the record."""


class JobBegun(Event, frozen=True):
    TOPIC = "fog.work.job.begun.v1"
    KIND = SubmittedJob

    spec: Cid
    name: str
    output: str | None
    inputs: list[list[str]]
    stems: list[str] = msgspec.field(default_factory=list)
    together: bool = False
    output_max: int = OUTPUT_MAX

    def apply(self, record: SubmittedJob) -> None:
        record.spec, record.name = self.spec, self.name
        record.output, record.inputs = self.output, self.inputs
        record.stems, record.together = self.stems, self.together
        record.output_max = self.output_max


class JobSubmitted(Event, frozen=True):
    TOPIC = "fog.work.job.submitted.v1"
    KIND = SubmittedJob

    job: Cid

    def apply(self, record: SubmittedJob) -> None:
        record.job = self.job


class ResultFetched(Event, frozen=True):
    TOPIC = "fog.work.job.fetched.v1"
    KIND = SubmittedJob

    shard: int
    result: Cid | None = None

    def apply(self, record: SubmittedJob) -> None:
        record.fetched.add(self.shard)
        record.lost.pop(self.shard, None)
        if self.result is not None:
            record.results[self.shard] = self.result


class ResultLost(Event, frozen=True):
    """It may still be fetched later, when somebody asks for that."""

    TOPIC = "fog.work.job.lost.v1"
    KIND = SubmittedJob

    shard: int
    code: str
    reason: str

    def apply(self, record: SubmittedJob) -> None:
        record.lost[self.shard] = Loss(self.code, self.reason)


class JobEnded(Event, frozen=True):
    TOPIC = "fog.work.job.ended.v1"
    KIND = SubmittedJob

    def apply(self, record: SubmittedJob) -> None:
        record.ended = True


class JobAliased(Event, frozen=True):
    TOPIC = "fog.work.job.aliased.v1"
    KIND = Alias

    record: str

    def apply(self, record: Alias) -> None:
        record.record = self.record


class LeaseComputed(Event, frozen=True):
    TOPIC = "fog.work.lease.computed.v1"
    KIND = HeldLease

    result: Cid
    fuel: int
    salt: bytes

    def apply(self, record: HeldLease) -> None:
        record.result, record.fuel, record.salt = self.result, self.fuel, self.salt


class LeaseEnded(Event, frozen=True):
    TOPIC = "fog.work.lease.ended.v1"
    KIND = HeldLease

    def apply(self, record: HeldLease) -> None:
        record.ended = True


class PeerHolds(Event, frozen=True):
    """Says all there is to say of its lane, so only the last is ever read."""

    TOPIC = "fog.work.outbox.held.v1"
    KIND = Outbox

    seq: int

    def apply(self, record: Outbox) -> None:
        record.seq = self.seq


class RecordOpened(Event, frozen=True):
    TOPIC = "fog.work.index.opened.v1"
    KIND = Index

    record: str

    def apply(self, record: Index) -> None:
        record.open[self.record] = None


class RecordClosed(Event, frozen=True):
    TOPIC = "fog.work.index.closed.v1"
    KIND = Index

    record: str

    def apply(self, record: Index) -> None:
        record.open.pop(self.record, None)


class IndexWritten(Event, frozen=True):
    """The whole index: nothing before it need be read."""

    TOPIC = "fog.work.index.written.v1"
    KIND = Index

    open: list[str]

    def apply(self, record: Index) -> None:
        record.open = dict.fromkeys(self.open)


EVENTS: Final[tuple[type[Event], ...]] = (
    JobBegun,
    JobSubmitted,
    ResultFetched,
    ResultLost,
    JobEnded,
    JobAliased,
    LeaseComputed,
    LeaseEnded,
    PeerHolds,
    RecordOpened,
    RecordClosed,
    IndexWritten,
)
for _event in EVENTS:
    register_topic(_event.TOPIC, _event)
