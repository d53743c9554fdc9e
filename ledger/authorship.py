"""Our own statements: the next event on our own lane.

Knows where our lane stands and which tips there are to refer to. Does not store; `ledger.replica`
does, before anybody sees the event.

What must always hold:
    what is signed here passes every check that a peer makes of its bytes: anything else would stand here
    alone, and the store could not be read again
    two events of ours never stand at one place: the caller has one writer, stores what it asked for before
    anybody sees any of it, and with a store that may be older than its word first hears from others where its
    lane ends (`fog.own_head`)
"""

from __future__ import annotations

from typing import Any

from ledger import canonical
from ledger import event as events
from ledger.admission import Admission
from ledger.errors import RemoteError, UsageError
from ledger.event import BODY_SIZE_MAX, Event
from ledger.signing import SigningKey


def next_event(
    admission: Admission,
    key: SigningKey,
    kind: str,
    version: int,
    body: Any,
    *,
    now: int,
    lane: int,
    exp: int | None,
    acct: bytes | None,
) -> Event:
    """Sign what follows the head of our lane, with the newest tips of other lanes as parents.

    `body` is a payload struct or its canonical bytes; `now` in unix ms. Raises UsageError (`lane_closed`,
    `body_too_large`, `head_unknown`, `bad_event`).
    """
    ours = (key.public, lane)
    if ours in admission.forked:
        raise UsageError(
            f"lane {lane} of {key.public.hex()} is forked: whatever follows on it is void",
            code="lane_closed",
            next_step="go on with a new device key",
        )
    data = body if isinstance(body, bytes) else canonical.encode(body)
    if len(data) > BODY_SIZE_MAX[lane]:
        raise UsageError(
            f"a {kind} of {len(data)} bytes, where lane {lane} takes {BODY_SIZE_MAX[lane]}",
            code="body_too_large",
            next_step="put the data into a blob and name its Cid",
        )
    head = admission.heads.get(ours)
    prev = None if head is None else head[1]
    if prev is not None and admission.missing((prev,)):
        raise UsageError(
            "the last event of our own lane is below the snapshot that this store began from",
            code="head_unknown",
            next_step="wait until a node of the network is connected, and try again",
        )
    parents = admission.parents_for(ours)
    above = admission.surely_at(parents if prev is None else (*parents, prev))
    before = None if prev is None else above[-1]
    event = events.make(
        key,
        net=admission.net,
        lane=lane,
        seq=0 if before is None else before.seq + 1,
        prev=prev,
        parents=parents,
        lc=1 + max((place.lc for place in above), default=0),
        ts=now if before is None else max(now, before.ts),
        kind=kind,
        version=version,
        body=data,
        acct=acct,
        exp=exp,
    )
    try:
        return events.parse(event.wire, net=admission.net, verify_signature=False)
    except RemoteError as error:
        raise UsageError(
            f"no node would take this {kind}: {error}",
            code="bad_event",
            next_step="numbers end at 2^63-1, and text must be in Unicode NFC",
        ) from error
