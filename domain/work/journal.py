"""eventsourcing's application on this node's recorder: events as JSON, aggregates by folding them.

Knows how a change is bytes. Does not know what it means.

What must always hold: `resolve_topic` is only ever given a topic of ours, so no stored text names a class to
import.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import msgspec
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import ApplicationRecorder, Mapper, ProcessRecorder, StoredEvent
from eventsourcing.utils import Environment, EnvType, resolve_topic

from domain.work import workflows
from domain.work.records import EVENTS, Event, Index, IndexWritten, Record, RecordOpened
from ledger.cid import Cid
from ledger.errors import RemoteError, StoreCorrupt

R = TypeVar("R", bound=Record)

TOPICS: Final = frozenset(event.TOPIC for event in (*EVENTS, *workflows.EVENTS))

TAIL: Final = 128
"""Events of a stream looked at from its end to find one that says everything."""


class JsonMapper(Mapper[str]):
    """One event, one JSON object of its own fields; bytes in base64, links as Cids are written."""

    def __init__(self) -> None:
        """The transcoder of the base class is not used: msgspec knows the fields' types."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        state = msgspec.json.encode(domain_event, enc_hook=str)
        return StoredEvent(
            domain_event.originator_id, domain_event.originator_version, domain_event.TOPIC, state
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Raises StoreCorrupt for what this program did not write."""
        if stored_event.topic not in TOPICS:
            raise StoreCorrupt(f"a note of kind {stored_event.topic!r}, which this version does not know")
        kind = resolve_topic(stored_event.topic)
        try:
            return msgspec.json.decode(stored_event.state, type=kind, dec_hook=_link)
        except (msgspec.MsgspecError, RemoteError) as error:
            raise StoreCorrupt(f"a note of kind {stored_event.topic} that cannot be read: {error}") from error


def _link(kind: type, text: str) -> Cid:
    assert kind is Cid, f"{kind} is not a field type of ours"
    return Cid.parse(text)


class Journal(Application[str]):
    """Aggregates by id. Configured by its recorder alone, never by the environment."""

    name = "work"

    def __init__(self, recorder: ProcessRecorder) -> None:
        self._given = recorder
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        return Environment(name, {})

    def construct_mapper(self) -> Mapper[str]:
        return JsonMapper()

    def construct_recorder(self) -> ApplicationRecorder:
        return self._given

    def find(self, kind: type[R], id: str) -> R | None:
        """An aggregate, folded from all its events."""
        try:
            record: Any = self.repository.get(id)
        except AggregateNotFoundError:
            return None
        assert type(record) is kind, f"{id} is a {type(record).__name__}"
        return record

    def latest(self, kind: type[R], id: str, whole: type[Event]) -> R:
        """An aggregate whose events of class `whole` say everything: read from the last of those on."""
        tail: list[Event] = []
        for event in self.events.get(originator_id=id, desc=True, limit=TAIL):
            tail.append(cast("Event", event))
            if type(event) is whole:
                break
        tail.reverse()
        record: R = kind(id) if not tail else kind(id, tail[0].originator_version - 1)
        for event in tail:
            event.mutate(record)
        return record

    def opened(self, index: str, limit: int) -> list[str]:
        """The records that an index opened last, the newest first, closed or not."""
        found: list[str] = []
        for event in self.events.get(originator_id=index, desc=True):
            if len(found) == limit:
                break
            if isinstance(event, RecordOpened):
                found.append(event.record)
        return found

    def record(self, *events: Event) -> None:
        """All or none, durable on return."""
        self.events.put(cast("Any", events))


def whole(index: Index) -> IndexWritten:
    return IndexWritten(originator_id=index.id, originator_version=index.version + 1, open=list(index.open))
