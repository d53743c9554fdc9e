"""What a voter asks of its caller: the actions that `ledger.simplex` answers with.

The pure part signs nothing, sends nothing and writes nothing; it says what is to be done, in order, and the
caller (`ledger.voting`) does it. Nothing here holds state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ledger.cid import Cid
from ledger.evidence import VoteFault
from ledger.votes import Certificate, Phase


@dataclass(frozen=True, slots=True)
class Cast:
    """Sign this vote, make it durable, then send it; and let this voter `hear` it too."""

    slot: int
    phase: Phase
    checkpoint: Cid | None


@dataclass(frozen=True, slots=True)
class Propose:
    """We lead this slot: build on `parent` (None: on genesis), which `shown` shows to be notarized."""

    slot: int
    parent: Cid | None


@dataclass(frozen=True, slots=True)
class Judge:
    """Execute the proposal of this slot; when it gives its roots, call `judged`."""

    slot: int
    checkpoint: Cid


@dataclass(frozen=True, slots=True)
class Keep:
    """A notarize or skip certificate that is new here: make it durable."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Decision:
    """The checkpoint and all its ancestors are final; call `settle` when they are durable."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Lacking:
    """Certificates of slots from `slot` on are missing here: ask others what they hold."""

    slot: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Somebody contradicted itself."""

    fault: VoteFault


@dataclass(frozen=True, slots=True)
class Repeat:
    """Nothing came of what we said for a while: say it again."""


Action: TypeAlias = Cast | Propose | Judge | Keep | Decision | Lacking | Fault | Repeat
