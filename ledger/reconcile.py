"""Range-based set reconciliation: what does the other side hold that we do not, without listing either set?

    asks                                            answers
    fingerprints of 16 parts of a range      ->     equal parts are skipped; a part that differs is split into
                                                    16 fingerprints, or listed when it holds few items
    a list of its items, when it has few     ->     those of the range that are not in the list

Each round trip narrows what differs by a factor of up to 256, so n items take log256(n) of them, and a
difference costs about its own size (see `benchmarks/sync.py`). One side asks and learns; the other answers
from its set and remembers nothing. What the answerer lacks, it learns by asking itself.

That is for items that are themselves what is wanted. When they only name something larger, both sides say
`direct`, so that what is lacking need not be named at all:

    fingerprints                             ->     a part with few items is not listed: its fingerprint alone
    nothing more, where there are none there
    `list`, where there are few there and
    too many here to name                    ->     its items
    last and on their own (`is_listing`):
    short names of ours, where there are few ->     what they do not name, whatever it is, in order (`given`)

Sans-IO and pure. Knows sets of byte strings (`ledger.item_set`) and frames (`ledger.reconcile_frames`); does
not know what an item means or how frames travel.

What must always hold, whatever the other side says:
    an answer has at most `answer_max` bytes: AMPLIFICATION times its question and ANSWER_FREE; and at most
        the frame limit that the asker chose. The answerer keeps to it, the asker refuses more
    each answer settles a part of what was asked, or is a RemoteError
    a range is narrowed at most log16(n) + 2 times, n being our items, since we split by these; at most
        `rounds_max` questions are asked, and at most `open_max` ranges are open
    the asker ends with all that an honest answerer held, unless it ran out of rounds (`gave_up`); two honest
        sides that ask each other in turn end equal all the same, each time beginning with what came before
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from ledger.errors import RemoteError
from ledger.item_set import ItemSet, fingerprint
from ledger.reconcile_frames import FRAME_MIN, SALT_SIZE, FrameWriter, Mode, Span, decode_frame, name_of

FRAME_MAX: Final = 64 * 1024  # bytes; a link of small packets chooses less, down to FRAME_MIN
PARTS: Final = 16  # of a range that differs
LIST_MAX: Final = 2 * PARTS - 1  # items that are listed rather than split
PART_MIN: Final = (
    12  # items in a part, if `direct`: there each part that differs is said twice, and named then
)
AMPLIFICATION: Final = 4
ANSWER_FREE: Final = 16 * 1024  # bytes of answer that a question has for nothing: 350 lane heads at once
ROUNDS_MAX: Final = 1_024  # questions in one session: the lists of a million items in the largest frames
OPEN_MAX: Final = 131_072  # ranges that differ, known at once: twice what two sets of 200,000 strangers have
NOTHING: Final = fingerprint(0, 0)  # of a range in which there are no items


def answer_max(question: int, limit: int) -> int:
    """Bytes that an answer may have, by those of its question and the asker's limit on frames."""
    return min(limit, AMPLIFICATION * question + ANSWER_FREE)


# -- the side that answers


def answer(items: ItemSet, question: bytes, limit: int, *, direct: bool = False) -> bytes:
    """One answer from `items`. Raises RemoteError (`oversize`, `bad_frame`)."""
    spans = decode_frame(question, width=items.width, size_max=FRAME_MAX)
    limit = max(FRAME_MIN, min(limit, FRAME_MAX))
    writer = FrameWriter(items.width, answer_max(len(question), limit))
    for span in spans:
        reached = _answer_span(items, span, writer, direct=direct)
        if reached < span.upper:
            return writer.finish(reached)
    return writer.finish(spans[-1].upper)


def _answer_span(items: ItemSet, span: Span, writer: FrameWriter, *, direct: bool) -> bytes:
    """Up to where there was room."""
    lower, upper = span.lower, span.upper
    if span.mode is Mode.SKIP or (
        span.mode is Mode.FINGERPRINT and items.fingerprint(lower, upper) == span.fingerprint
    ):
        return upper
    if span.mode is Mode.NAMES:
        raise RemoteError("names among fingerprints", code="bad_frame")
    if span.mode is Mode.ITEMS:
        theirs = set(span.items)
        given = [item for item in items.between(lower, upper) if item not in theirs]
        return writer.add_items(lower, upper, given) if given else upper
    few = items.count(lower, upper) <= LIST_MAX
    if span.mode is Mode.LIST or (few and not direct):
        return writer.add_items(lower, upper, items.between(lower, upper))
    for start, end in [(lower, upper)] if few else _parts(items, lower, upper, direct):
        if not writer.add_fingerprint(start, end, items.fingerprint(start, end)):
            return start
    return upper


def lacking(items: ItemSet, question: bytes, salt: bytes) -> Iterator[bytes]:
    """What the names of a question lack, in order: the answer to the last questions of a `direct` session.

    Raises RemoteError (`oversize`, `bad_frame`) at once.
    """
    spans = decode_frame(question, width=items.width, size_max=FRAME_MAX)
    return (item for span in spans if span.mode is Mode.NAMES for item in _unnamed(items, span, salt))


def _parts(items: ItemSet, lower: bytes, upper: bytes, direct: bool) -> Iterator[tuple[bytes, bytes]]:
    """Parts of a range that holds more than LIST_MAX items."""
    parts = min(PARTS, items.count(lower, upper) // PART_MIN) if direct else PARTS
    cuts = [lower, *items.split(lower, upper, parts)]
    if direct and upper == items.end:
        cuts[-1:] = items.taper(cuts[-2], upper, PART_MIN)  # what is new lies at the end
    return pairwise(cuts)


def _unnamed(items: ItemSet, span: Span, salt: bytes) -> Iterator[bytes]:
    names = set(span.items)
    return (item for item in items.between(span.lower, span.upper) if name_of(item, salt) not in names)


# -- the side that asks


class How(enum.Enum):
    """How a range that differs, or may, is asked about."""

    SPLIT = "split"  # in parts: that it differs is known
    WHOLE = "whole"  # by one fingerprint
    LISTED = "listed"  # it was small enough to list
    THEIRS = "theirs"  # it is small there, and not here


@dataclass(frozen=True, slots=True)
class _Open:
    lower: bytes
    upper: bytes
    how: How


class Initiator:
    """One session of the asking side over one set, which stays as it is meanwhile.

    `question` until it gives None; each answer to `receive`, or to `given` while `is_listing`. `limit`: the
    largest frame in bytes, either way. `differs`: whether it is known beforehand that the sets are not equal.
    `salt`: SALT_SIZE bytes that nobody knew before, for the names of a `direct` session.
    """

    def __init__(
        self,
        items: ItemSet,
        *,
        limit: int = FRAME_MAX,
        direct: bool = False,
        differs: bool = True,
        salt: bytes = b"",
        rounds_max: int = ROUNDS_MAX,
        open_max: int = OPEN_MAX,
    ) -> None:
        self.items = items
        self.limit = limit
        self.rounds = 0
        self.gave_up = False
        self.is_listing = False  # what was asked last is answered by `given`
        self._direct, self._salt = direct, salt
        assert len(salt) == SALT_SIZE * direct
        self._rounds_max, self._open_max = rounds_max, open_max
        self._fill = max(FRAME_MIN, limit // 8)  # bytes of the next question: about what an answer settles
        self._fill_names = limit  # likewise, of a question of names: what an answer has room for
        self._question = 0
        self._asked: list[_Open] = []
        self._open: deque[_Open] = deque()  # ascending
        self._lists: deque[_Open] = deque()  # `direct`: small ranges that differ, ascending when asked
        self.to_name = 0  # `direct`: items of ours in all such ranges so far, those that were named too
        self._given = b""  # the last of the items given in answer to the lists
        self._named = 0  # ranges in the question that it answers
        self._put_back([_Open(b"", items.end, How.SPLIT if differs else How.WHOLE)])

    def question(self) -> bytes | None:
        """The next frame to send, or None: all that differs was found, or `gave_up` after too many rounds."""
        assert not self._asked, "a question while another one is unanswered"
        if not self._open and not self._lists:
            return None
        if self.rounds == self._rounds_max:
            self.gave_up = True
            return None
        self.rounds += 1
        self.is_listing = not self._open
        if self.is_listing:
            self._lists = deque(sorted(self._lists, key=lambda entry: entry.lower))
            self._given = b""
        waiting = self._lists if self.is_listing else self._open
        writer = FrameWriter(self.items.width, self._fill_names if self.is_listing else self._fill)
        while waiting and self._ask(writer, waiting):
            pass
        assert self._asked, "a frame in which nothing fits"
        frame = writer.finish(self._asked[-1].upper)
        self._named = len(self._asked)
        self._question = len(frame)
        return frame

    def _ask(self, writer: FrameWriter, waiting: deque[_Open]) -> bool:
        """Put the first of the waiting ranges into the frame; False when it is full."""
        entry = waiting.popleft()
        lower, upper = entry.lower, entry.upper
        count = self.items.count(lower, upper)
        if not count or self.is_listing or (count <= LIST_MAX and entry.how is How.SPLIT):
            held = self.items.between(lower, upper)
            if self._direct:
                reached = writer.add_names(lower, upper, list(held), self._salt)
            else:
                reached = writer.add_items(lower, upper, held)
            if reached > lower:
                self._asked.append(replace(entry, upper=reached, how=How.LISTED))
            if reached < upper:
                waiting.appendleft(replace(entry, lower=reached))
            return reached == upper
        if entry.how is How.SPLIT:
            parts = [
                _Open(start, end, How.WHOLE) for start, end in _parts(self.items, lower, upper, self._direct)
            ]
            waiting.extendleft(reversed(parts))
            return True
        if entry.how is How.THEIRS:
            fitted = writer.add_list(lower, upper)
        else:
            fitted = writer.add_fingerprint(lower, upper, self.items.fingerprint(lower, upper))
        if not fitted:
            waiting.appendleft(entry)
            return False
        self._asked.append(entry)
        return True

    def receive(self, frame: bytes) -> list[bytes]:
        """An answer came: the items in it that we do not hold.

        Raises RemoteError (`oversize`, `bad_frame`, `unasked`, `no_progress`, `too_many_ranges`).
        """
        assert self._asked
        assert not self.is_listing
        most = answer_max(self._question, self.limit)
        spans = decode_frame(frame, width=self.items.width, size_max=most)
        asked, self._asked = self._asked, []
        reached = spans[-1].upper
        if reached > asked[-1].upper:
            raise RemoteError("an answer to more than was asked", code="unasked")
        if reached <= asked[0].lower:
            raise RemoteError("an answer that settles nothing", code="no_progress")
        found: list[bytes] = []
        narrowed: list[_Open] = []
        questions = iter(asked)
        entry = next(questions)
        for span in spans:
            if span.mode is Mode.SKIP:
                continue
            while entry.upper <= span.lower:
                entry = next(questions)
            if span.lower < entry.lower or span.upper > entry.upper:
                raise RemoteError("an answer about a range that was not asked about", code="unasked")
            if span.mode is Mode.ITEMS:
                found += (item for item in span.items if item not in self.items)
            elif span.mode is Mode.FINGERPRINT and entry.how is How.WHOLE:
                narrowed += self._narrowed(entry, span)
            else:
                raise RemoteError("a fingerprint in answer to a list, or no answer at all", code="unasked")
        self._rest(asked, reached, narrowed)
        return found

    def _narrowed(self, entry: _Open, span: Span) -> Iterator[_Open]:
        lower, upper = span.lower, span.upper
        if span.fingerprint in (self.items.fingerprint(lower, upper), NOTHING):
            return
        is_small = self._direct and (lower, upper) == (entry.lower, entry.upper)
        few = self.items.count(lower, upper) <= LIST_MAX
        yield _Open(lower, upper, How.THEIRS if is_small and not few else How.SPLIT)

    def _rest(self, asked: list[_Open], reached: bytes, narrowed: list[_Open]) -> None:
        """What an answer left open goes before what was not asked yet."""
        left = [
            replace(entry, lower=max(entry.lower, reached), how=_again(entry.how))
            for entry in asked
            if entry.upper > reached
        ]
        if left:
            self._fill = max(FRAME_MIN, self._question * (len(asked) - len(left)) // len(asked))
        else:
            self._fill = min(self.limit, 2 * self._fill)
        self._put_back([*narrowed, *left])
        if len(self._open) + len(self._lists) > self._open_max:
            raise RemoteError(f"more than {self._open_max} ranges that differ", code="too_many_ranges")

    def _put_back(self, entries: Sequence[_Open]) -> None:
        for entry in reversed(entries):
            count = self.items.count(entry.lower, entry.upper)
            if self._direct and count <= LIST_MAX:
                self._lists.appendleft(entry)
                self.to_name += count
            else:
                self._open.appendleft(entry)

    # -- the end of a `direct` session

    def given(self, items: Iterable[bytes]) -> None:
        """These came in answer to the lists. Raises RemoteError (`unasked`)."""
        assert self.is_listing
        for item in items:
            while self._asked and self._asked[0].upper <= item:
                self._asked.pop(0)
            if not self._asked or item < self._asked[0].lower or item <= self._given or item in self.items:
                raise RemoteError("something that the lists do not lack", code="unasked")
            self._given = item

    def given_all(self, *, cut: bool) -> None:
        """The answer is over; `cut`: there is more where it stopped. Raises RemoteError (`no_progress`)."""
        assert self.is_listing
        if cut and not self._given:
            raise RemoteError("an answer that settles nothing", code="no_progress")
        self._fill_names = min(self.limit, 2 * self._fill_names)
        if cut:
            named = self._named - len(self._asked) + 1
            self._fill_names = max(FRAME_MIN, self._question * named // self._named)
            rest = [replace(entry, lower=max(entry.lower, _next(self._given))) for entry in self._asked]
            self._lists.extendleft(entry for entry in reversed(rest) if entry.lower < entry.upper)
        self._asked = []

    def __repr__(self) -> str:
        return f"<Initiator rounds={self.rounds} open={len(self._open)} lists={len(self._lists)}>"


def _again(how: How) -> How:
    return How.SPLIT if how is How.LISTED else how


def _next(item: bytes) -> bytes:
    """The lowest bound above an item; not longer than the item, so that it can be said in a frame."""
    higher = item.rstrip(b"\xff")
    return higher[:-1] + bytes((higher[-1] + 1,)) if higher else item + b"\xff"
