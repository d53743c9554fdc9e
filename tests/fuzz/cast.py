"""Who signs in the corpus: one network, a few keys, so that what was edited can be signed again."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any, Final

import cbrrr

from ledger.cid import Cid
from ledger.signing import SigningKey

NET: Final = Cid.of(b"the network that the fuzzer lives in")

SIGNERS: Final = [SigningKey(hashlib.sha256(b"signer %d" % number).digest()) for number in range(4)]
KEYS: Final = {key.public: key for key in SIGNERS}


def opened(data: Any) -> Any:
    """CBOR -> value without the rules of ours; None where even the decoder gives up."""
    try:
        return cbrrr.decode_dag_cbor(data, cid_ctor=Cid)
    except (ValueError, OverflowError, TypeError, RecursionError):
        return None


def closed(value: Any) -> bytes:
    return cbrrr.encode_dag_cbor(value, cid_type=Cid)


def signer(by: Any, rng: Random) -> SigningKey:
    """Who has this key, or anybody."""
    key = KEYS.get(by) if isinstance(by, bytes) else None
    return key or SIGNERS[int(rng.random() * len(SIGNERS))]
