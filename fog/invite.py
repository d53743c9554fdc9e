"""An invite: one printable line that lets another machine join a network.

    fog1…      body of the line (`fog.lines`): DAG-CBOR {v, net, genesis bytes or null, addresses}, and once
               something is final the inviter's last checkpoint, {height, id}

It carries the genesis object itself while that is small, because whoever joins needs it before they can
check anything. A larger one must travel as a file beside the invite; its hash, the network's id, is in the
invite either way. An invite is no secret: it gives addresses, not rights.

Every refusal is a UsageError (`bad_invite`) that says what to do.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fog import lines
from ledger import canonical, genesis
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.light import Anchor
from ledger.types import Positive

PREFIX = "fog1"
GENESIS_INLINE_MAX = 1024  # bytes; more would make the line a page
ADDRESSES_MAX = 8
ADDRESS_SIZE_MAX = 256
BODY_SIZE_MAX = GENESIS_INLINE_MAX + ADDRESSES_MAX * (ADDRESS_SIZE_MAX + 3) + 128  # 3, 128: framing
LINE_SIZE_MAX = lines.size_max(PREFIX, BODY_SIZE_MAX)

Address = Annotated[str, Meta(min_length=2, max_length=ADDRESS_SIZE_MAX, pattern=r"^/[!-~]+\Z")]


class Final(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint that the inviter holds for final."""

    height: Positive
    id: Cid


class Invite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an invite says. `genesis` is None when the object is too large to be carried along.

    Addresses are multiaddresses of nodes that were up, each ending in `/p2p/<peer id>`.
    """

    v: Annotated[int, Meta(ge=1, le=1)]
    net: Cid
    genesis: Annotated[bytes, Meta(max_length=GENESIS_INLINE_MAX)] | None
    addresses: Annotated[tuple[Address, ...], Meta(max_length=ADDRESSES_MAX)]
    checkpoint: Final | None = None

    @property
    def anchor(self) -> Anchor | None:
        """What whoever joins may begin from, if it trusts who invited it."""
        return None if self.checkpoint is None else Anchor(self.checkpoint.height, self.checkpoint.id)

    def network(self) -> Genesis | None:
        """The genesis object, if it came along."""
        return None if self.genesis is None else genesis.parse(self.genesis)


def make(network: Genesis, addresses: list[str], checkpoint: Anchor | None = None) -> str:
    """The line for a network, the (at most 8) addresses to call, and a final checkpoint.

    Raises UsageError (`bad_address`).
    """
    data = network.encode()
    inline = data if len(data) <= GENESIS_INLINE_MAX else None
    try:
        fields = {"v": 1, "net": Cid.of(data), "genesis": inline, "addresses": addresses}
        if checkpoint is not None:
            fields["checkpoint"] = {"height": checkpoint.height, "id": checkpoint.id}
        invite = canonical.shape(Invite, fields)
    except RemoteError as error:
        raise UsageError(
            f"these addresses cannot go into an invite: {error}",
            code="bad_address",
            next_step=f"give at most {ADDRESSES_MAX} multiaddresses like /ip4/192.0.2.7/tcp/7419/p2p/12D3…",
        ) from error
    return lines.write(PREFIX, canonical.encode(invite))


def read(line: str) -> Invite:
    """Raises UsageError (`bad_invite`) and nothing else, whatever was pasted."""
    body = lines.read(line, PREFIX, "an invite", BODY_SIZE_MAX, _bad)
    try:
        invite = canonical.decode_as(Invite, body, size_max=BODY_SIZE_MAX)
        network = invite.network()
    except RemoteError as error:
        raise _bad(f"made by another version or by something else: {error}") from error
    if network is not None and network.net != invite.net:
        raise _bad("it names one network and carries the genesis object of another")
    return invite


def _bad(message: str) -> UsageError:
    return UsageError(
        f"not a usable invite: {message}",
        code="bad_invite",
        next_step="copy the whole line again from `fog invite` on the other machine",
    )
