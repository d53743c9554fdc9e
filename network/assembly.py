"""libp2p's parts put together, with every default that surprises replaced.

security      the stock list offers plaintext: here Noise alone
muxer         yamux alone, with pings that end a link when nothing comes back
tcp           watched by the kernel: a silent partition ends a link in seconds
auto-connect  dials peers it has heard of even with both watermarks at 0: here never
retries       none: who dials decides when to try again
one link      a peer; more, and every dial waits 250 ms
addresses     a wildcard is announced as the addresses of this machine; what peers observe is not used
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from libp2p import new_host
from libp2p.abc import ITransport
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.swarm import Swarm
from libp2p.rcmgr import ResourceLimits, ResourceManager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX

from network.links import Limits
from network.listening import expand
from network.muxer import LivingYamux, YamuxAlone
from network.transports.tcp import ImpatientTCP
from network.transports.websocket import WebSocket


class _NeverDials(AutoConnector):
    """In place of libp2p's: that one dials peers it has heard of even with both watermarks at 0."""

    async def maybe_connect(self) -> None:
        """Who is dialled is the caller's decision."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        """Nothing to do in the background."""


def build(seed: bytes, transports: Sequence[ITransport] | None, limits: Limits) -> tuple[BasicHost, Swarm]:
    """A host that is not running yet, and its swarm. `transports` None: TCP and WebSocket."""
    keys = create_new_key_pair(seed)
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    host = new_host(
        key_pair=keys,
        sec_opt={NOISE: noise},
        muxer_opt={TProtocol(YAMUX): LivingYamux},
        connection_config=ConnectionConfig(
            max_connections=limits.connections,
            high_watermark=limits.connections,
            min_connections=0,
            low_watermark=0,
            max_connections_per_peer=1,  # more, and every dial waits 250 ms
        ),
        resource_manager=ResourceManager(
            ResourceLimits(max_connections=2 * limits.connections, max_streams=64 * limits.connections),
            enable_metrics=False,
            enable_memory_limits=False,
            enable_circuit_breaker=False,
            enable_graceful_degradation=False,
        ),
        addrs_factory=expand,
        disable_identify_address_discovery=True,
        transports=[ImpatientTCP(), WebSocket()] if transports is None else transports,
    )
    assert isinstance(host, BasicHost)
    swarm = host.get_network()
    assert isinstance(swarm, Swarm)
    swarm.upgrader.muxer_multistream = YamuxAlone()
    swarm.auto_connector = _NeverDials(swarm)
    swarm.retry_config = RetryConfig(max_retries=0)  # who dials decides when to try again
    return host, swarm
