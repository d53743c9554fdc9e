"""Finality: which checkpoint may follow which, and the proof that a run of them is final.

    link   a checkpoint and the certificate that shows its parent, which it names as `cert`: that more than
           two thirds notarized the parent, or that it is final. The first checkpoint of an epoch names a
           finality certificate, so the chain itself proves the end of every epoch
    run    links, each the child of the one before, and one finality certificate for the last: it makes all of
           them final

The certificate that shows the parent fixes what must be equal everywhere although no two nodes hold the same
votes: ledger time and the beacon.

Knows checkpoints, certificates, stakes and epochs. Does not know what a cut holds, what executing it gives,
how anything travels or what time it is.

What must always hold: what `check_shown` and `check_final` accept was signed by quorums of the right epochs
and follows its parent; anything they refuse with RemoteError proves nothing against anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ledger import validators as sets
from ledger import votes
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.execution import Context
from ledger.genesis import Genesis
from ledger.state import State
from ledger.validators import ValidatorSet
from ledger.votes import Ballot, Certificate, Phase

_BEACON: Final = b"fogledger/v1/beacon\n"


class Diverged(AssertionError):
    """A quorum finalised what this node, doing the same work, finds wrong. The node stops and says so loudly.

    Either this node's disk, memory or program is at fault, or more than a third of the stake is.
    `checkpoint` and `certificate` are the evidence.
    """

    def __init__(self, message: str, checkpoint: Checkpoint, certificate: Certificate) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint
        self.certificate = certificate


class Last(NamedTuple):
    """The newest final checkpoint and the certificate that makes it final."""

    checkpoint: Checkpoint
    final: Certificate


def parse_link(checkpoint: bytes, shown: bytes, *, net: Cid) -> tuple[Checkpoint, bytes]:
    """Bytes -> a checkpoint whose `cert` names `shown`. Nothing is verified but that.

    Raises RemoteError with the codes of `parse_checkpoint`, or `bad_certificate`.
    """
    parsed = parse_checkpoint(checkpoint, net=net)
    if (parsed.cert is None) != (shown == b"") or (parsed.cert is not None and Cid.of(shown) != parsed.cert):
        raise RemoteError(
            f"height {parsed.height} comes without the certificate that it names", code="bad_certificate"
        )
    return parsed, shown


def check_shown(
    child: Checkpoint, shown: bytes, parent: Checkpoint | None, validators: ValidatorSet | None, length: int
) -> Certificate | None:
    """The certificate that shows the parent of `child`. `validators` are those of the parent's epoch.

    Raises RemoteError (`bad_certificate`, `bad_schema`, …) when it does not.
    """
    if parent is None or validators is None:
        if shown:
            raise RemoteError("genesis needs no certificate", code="bad_certificate")
        return None
    certificate = votes.parse_certificate(shown, net=parent.net, validators=validators)
    _check_about(certificate, parent)
    if certificate.phase == Phase.SKIP or (
        sets.is_last_of_epoch(parent.height, length) and certificate.phase != Phase.FINALIZE
    ):
        raise RemoteError(
            f"height {child.height} needs another certificate of its parent", code="bad_certificate"
        )
    return certificate


def check_final(last: Checkpoint, final: bytes, validators: ValidatorSet) -> Certificate:
    """The certificate that makes `last` final. Raises RemoteError (`bad_certificate`, …)."""
    certificate = votes.parse_certificate(final, net=last.net, validators=validators)
    _check_about(certificate, last)
    if certificate.phase != Phase.FINALIZE:
        raise RemoteError("not a finality certificate", code="bad_certificate")
    return certificate


def check_vouched(last: Checkpoint, final: bytes, known: ValidatorSet) -> None:
    """That a quorum of these validators signed `last` as final, whoever else did in its epoch.

    Raises RemoteError (`bad_certificate`, …).
    """
    certificate = votes.parse_certificate_shape(final, net=last.net)
    votes.check_vouched(certificate, known)
    _check_about(certificate, last)
    if certificate.phase != Phase.FINALIZE:
        raise RemoteError("not a finality certificate", code="bad_certificate")


def _check_about(certificate: Certificate, checkpoint: Checkpoint) -> None:
    if certificate.checkpoint != checkpoint.id or certificate.epoch != checkpoint.epoch:
        raise RemoteError("the certificate is for another checkpoint", code="bad_certificate")
    if certificate.slot < checkpoint.slot:
        raise RemoteError("the certificate is older than its checkpoint", code="bad_certificate")


def follows(
    genesis: Genesis, parent: Checkpoint | None, shown: Certificate | None, state: State
) -> dict[str, object]:
    """Those fields of the next checkpoint that its parent decides. `state` is the one after the parent."""
    height = 1 if parent is None else parent.height + 1
    epoch = sets.epoch_of(height, sets.epoch_length(genesis))
    return {
        "net": genesis.net,
        "epoch": epoch,
        "height": height,
        "parent": None if parent is None else parent.id,
        "cert": None if shown is None else shown.id,
        "T": ledger_time(genesis, parent, shown, state),
        "vnext": sets.validators_of(state, epoch + 1).id,
    }


def misfits(proposed: Checkpoint, expected: Mapping[str, object], parent: Checkpoint | None) -> list[str]:
    """Names of the fields that are not as expected; `slot` when it does not lie above the parent's."""
    wrong = [name for name, value in expected.items() if getattr(proposed, name) != value]
    if parent is not None and parent.epoch == proposed.epoch and proposed.slot <= parent.slot:
        wrong.append("slot")
    return wrong


def ledger_time(genesis: Genesis, parent: Checkpoint | None, shown: Certificate | None, state: State) -> int:
    """T of the next checkpoint (unix ms): max(T of parent + 1, median of the vote times in `shown`).

    So the ledger's clock lags by one checkpoint, and no single clock of a minority moves it.
    """
    if parent is None or shown is None:
        return genesis.created + 1
    stakes = sets.validators_of(state, parent.epoch).stakes
    return max(parent.T + 1, weighted_median(shown.votes, stakes))


def weighted_median(given: Sequence[Ballot], stakes: Mapping[bytes, int]) -> int:
    """The smallest vote time (unix ms) with at least half of the voting stake at or before it."""
    total = sum(stakes[ballot.by] for ballot in given)
    weight = 0
    for ballot in sorted(given, key=lambda ballot: ballot.ts):
        weight += stakes[ballot.by]
        if 2 * weight >= total:
            return ballot.ts
    raise AssertionError("a certificate without votes")


def next_context(
    genesis: Genesis, parent: Checkpoint | None, shown: Certificate | None, state: State
) -> Context:
    """What rules may know while they execute the checkpoint after `parent`.

    The beacon hashes the certificate that shows the parent: its signatures exist only once the parent was
    voted for. (A leader chooses which votes it shows, so it can choose among a few beacons; nobody can
    foresee them.)
    """
    seed = genesis.net if shown is None else shown.encode()
    height = 1 if parent is None else parent.height + 1
    time = ledger_time(genesis, parent, shown, state)
    return Context(genesis.net, height, time, hashlib.sha256(_BEACON + seed).digest())
