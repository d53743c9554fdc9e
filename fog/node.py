"""A node, put together from the parts: the only place where they all meet.

    store -> replica -> read models            what is already known, before anybody is spoken to
    host -> exchange -> bootstrap, mDNS        then the network; where our lane ends is learnt before we speak
    votes, worker, submitter                   then what this node does of its own
    API, control socket                        and how it is asked

Everything runs in one nursery: when a part breaks in a way that is our fault, the node stops rather than go
on with half of itself. The real clock, random numbers, signals and files come in here, for all that decides.

What must always hold: what is announced is durable; before we sign anything, in a network where we may have
met somebody, we heard where our lane ends (`fog.own_head`).
"""

from __future__ import annotations

import logging
import signal
import time
from contextlib import AsyncExitStack
from functools import partial
from random import SystemRandom
from typing import Final

import trio

from domain.compute import cgroups
from domain.compute.sandbox import open_sandbox
from domain.payloads import Payload
from domain.rules import FogRules, params
from domain.rules.acting import acts_in
from domain.work import Work
from fog import acquaintances, control, pruning
from fog.accuser import PATIENCE_S, Accuser
from fog.agenda import Agenda
from fog.bringing import Bringing
from fog.cosigning import Notes, outside
from fog.exchange import Exchange
from fog.fast_start import open_store
from fog.fleet import Own
from fog.fleet_handlers import FleetHandlers
from fog.gate import Gate
from fog.handlers import Handlers
from fog.harvest_record import RecordFile
from fog.harvesting import Harvesting, machine_of
from fog.live import Live
from fog.outbox import Outbox
from fog.own_head import OwnHead
from fog.paths import DataDir
from fog.pinning import pin_what_is_owed
from fog.replica_thread import ReplicaThread
from fog.results import Results
from fog.said import Said
from fog.seats import Seats
from fog.settings import RATE_KIB_S_MAX, Settings
from fog.share import Share, throttle
from fog.submitter import Submitter
from fog.tempo import Tempo
from fog.validating import Validating
from fog.worker import Worker
from fog.workflows import Workflows
from ledger.cid import Cid
from ledger.errors import FogError
from ledger.event import Event
from ledger.finality import Diverged
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.state import State
from ledger.store import Store
from network.blobs import BlockStore
from network.blobs_io import Blobs
from network.discovery import Bootstrap, Reunion
from network.fleet import Fleet
from network.host import open_host
from network.mdns import Mdns
from network.peer_exchange import PeerExchange
from projections import serve
from projections.api import create_app
from projections.reader import Reader
from projections.runner import Runner

log = logging.getLogger(__name__)

LEAVE_S: Final = 2.0
"""For taking the offer back before the node stops; a lease that is not given back runs out by itself."""


def run(home: DataDir, settings: Settings, key: SigningKey, *, verbose: bool, as_json: bool) -> None:
    """Run until SIGINT, SIGTERM or `fog stop`. Raises FogError when it cannot start or must not go on."""
    level = "DEBUG" if verbose else settings.log.level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    with home.locked():
        try:
            trio.run(Node(home, settings, key).run)
        except BaseExceptionGroup as group:
            raise _cause(group) from None


def now_ms() -> int:
    """The real clock, unix milliseconds."""
    return time.time_ns() // 1_000_000


class Node:
    def __init__(self, home: DataDir, settings: Settings, key: SigningKey) -> None:
        self._home = home
        self._settings = settings
        self._key = key
        self._ready = trio.Event()
        self._stop = trio.Event()

    async def run(self) -> None:
        async with AsyncExitStack() as parts:
            store, state = await open_store(self._home, self._settings, self._key, now_ms())
            parts.callback(store.close)
            await self._run(store, state, parts)

    async def _run(self, store: Store, state: State | None, parts: AsyncExitStack) -> None:
        home, settings, device = self._home, self._settings, self._key.public
        account = bytes.fromhex(settings.identity.account) or device
        replica = Replica.open(
            store,
            FogRules(),
            self._key,
            validator=True,
            interval_ms=settings.finality.checkpoint_interval_ms,
            state=state,
        )
        decides = Seats(replica.validators, device).decides
        ledger = ReplicaThread(replica, now_ms, device=device, account=account)
        runner = Runner(store)
        await trio.to_thread.run_sync(runner.catch_up)
        agenda = Agenda(Reader(store))
        work = Work(store.recorder("work"))
        socket = serve.listen(settings.api.host, settings.api.port) if settings.api.enabled else None

        host = await parts.enter_async_context(open_host(self._key.seed, settings.network.listen))
        exchange = await Exchange.open(host, ledger, flush_ms=settings.network.gossip_flush_ms)
        blocks = BlockStore(home.blobs, bytes_max=settings.blobs.cache_mib << 20)
        pin_what_is_owed(blocks, work)
        rates = settings.blobs
        blobs = Blobs(host, blocks, upload=bound(rates.upload_kib_s), download=bound(rates.download_kib_s))
        outbox = Outbox(ledger, work, device, decides=decides)
        exchange.on_equal(outbox.equal)
        has_others = bool(settings.network.bootstrap) or set(replica.validators.stakes) != {device}
        own_head = OwnHead(host, exchange, ledger, has_others=has_others)
        sandbox = await parts.enter_async_context(open_sandbox(home.modules, cgroups.claim()))

        async def say(payload: Payload) -> Event:
            await own_head.known()
            await self._ready.wait()
            event = await ledger.append(payload)
            await exchange.announce([event.wire])
            return event

        async def insist(*payloads: Payload) -> Event:
            await self._ready.wait()
            events = await ledger.room.wait_for(partial(ledger.append_all, payloads))
            await exchange.announce([event.wire for event in events])
            return events[-1]

        def peers() -> list[str]:
            return [link.peer for link in host.peers()]

        def addresses() -> list[str]:
            return list(settings.network.announce) or host.addresses()

        accuser = Accuser(ledger, account, insist, lambda: SystemRandom().uniform(0, PATIENCE_S))
        exchange.on_faults(accuser.forks, accuser.warrants)
        worker = harvesting = None
        if settings.worker.enabled:
            gate, looked_at = Gate(sandbox), machine_of(settings.harvest, sandbox)
            harvesting = Harvesting(settings.harvest, looked_at, gate, RecordFile(home.harvest), now_ms)
            share = Share(settings.worker, home.root, harvesting.memory_floor)
            worker = Worker(
                account,
                device,
                settings.worker,
                agenda,
                work,
                blobs,
                sandbox,
                home.work,
                insist,
                peers,
                now_ms,
                gate,
                share,
            )
        results = Results(blobs, peers)
        own_lane = Said(ledger, device)

        async def said(spec: Cid) -> Cid | None:
            await self._ready.wait()  # until then a peer may hold more of our lane than we do
            return await own_lane(spec)

        patience_s = settings.blobs.result_patience_ms / 1000
        bringing = Bringing(account, agenda, work, results, said, patience_s)
        submitter = Submitter(account, agenda, work, results, bringing, home.programs, say, now_ms)
        workflows = Workflows(
            agenda,
            work,
            blobs.store,
            home.programs,
            submitter,
            insist,
            said,
            now_ms,
        )
        witnesses = outside(settings.finality.witnesses)
        notes = Notes(ledger, self._key, home.cosigned, witnesses, settings.finality.witnesses_needed)
        started = now_ms()
        live = Live(ledger, host, worker, notes, harvesting, started=started)
        live.others["accused"] = accuser.counts
        live.others["blobs"] = blocks.counts
        live.mode = settings.ledger.mode
        api = None if socket is None else "http://{}:{}".format(*socket.getsockname()[:2])
        own = Own(settings.device, worker, harvesting, started)
        fleet = Fleet(host, own.report, lambda key: acts_in(replica.state, account, key))
        of_the_fleet = FleetHandlers(ledger, agenda, own.report, fleet.ask, lambda: live.status().time)
        handlers = Handlers(
            host,
            ledger,
            agenda,
            live,
            worker,
            submitter,
            say,
            addresses,
            api,
            work,
            workflows,
            blobs.store,
            harvesting,
            of_the_fleet,
        )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_signals)
            nursery.start_soon(fold, runner, ledger, agenda, live)
            nursery.start_soon(live.refresh)
            nursery.start_soon(
                pruning.run, ledger, settings.ledger.mode, params.of(replica.genesis).unbond_ms
            )
            await nursery.start(exchange.run)
            nursery.start_soon(blobs.run)
            given = settings.network.bootstrap
            reunion = Reunion(host, acquaintances.read(home.peers), held=given)
            nursery.start_soon(Bootstrap(host, given).run)
            nursery.start_soon(reunion.run)
            nursery.start_soon(acquaintances.keep, home.peers, host, reunion)
            nursery.start_soon(PeerExchange(host, addresses).run)
            if settings.network.mdns:
                nursery.start_soon(Mdns(host, replica.net).run)
            if socket is not None:
                answer = partial(serve.serve, create_app(Reader(store), live), socket, shutdown=self._stop)
                await nursery.start(answer)
            await nursery.start(
                partial(control.serve, afterwards={"stop": self._stop.set}), home.control, handlers.table()
            )
            is_alone = not settings.network.bootstrap and await ledger.call(outbox.is_alone)
            if is_alone and (not own_head.is_empty or own_head.is_just_founded(now_ms())):
                own_head.settle()
            else:
                await own_head.learn(unless=self._stop)
            if not own_head.is_known:  # it was stopped before it knew
                nursery.cancel_scope.cancel()
                return
            self._ready.set()
            await outbox.announce_unseen(exchange)
            nursery.start_soon(outbox.watch)
            nursery.start_soon(notes.run, settings.finality.witness_interval_ms)
            validating = Validating(host, exchange, ledger, accuser.faults)
            await nursery.start(validating.run)
            nursery.start_soon(accuser.run)
            usual_ms = settings.finality.checkpoint_interval_ms
            nursery.start_soon(Tempo(usual_ms, ledger, agenda, validating.look).run)
            if worker is not None and harvesting is not None:
                nursery.start_soon(harvesting.run)
                if settings.worker.cpu_percent < 100:
                    nursery.start_soon(throttle, worker.gate, sandbox, settings.worker.cpu_percent)
                nursery.start_soon(lend, worker, ledger, agenda)
            nursery.start_soon(bringing.run)
            nursery.start_soon(workflows.run)
            name, height = replica.genesis.name, replica.height
            log.info("node %s of network %s is up at height %d", host.peer_id, name, height)
            if not acts_in(replica.state, account, device):
                log.warning("%s may not act for %s yet: see `fog identity show`", device.hex(), account.hex())
            await self._stop.wait()
            log.info("stopping")
            if worker is not None:
                with trio.move_on_after(LEAVE_S):
                    await worker.withdraw()
            nursery.cancel_scope.cancel()

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._stop.set()


def bound(kib_s: int) -> int | None:
    """Bytes a second; None for the largest setting, which is more than a node can move."""
    return None if kib_s == RATE_KIB_S_MAX else kib_s << 10


async def lend(worker: Worker, ledger: ReplicaThread, agenda: Agenda) -> None:
    """Work for others, from when this device may act for its account. Until cancelled."""

    async def may() -> bool:
        return acts_in(ledger.replica.state, ledger.account, ledger.device)

    await agenda.until(may)
    await worker.run()


async def fold(runner: Runner, ledger: ReplicaThread, agenda: Agenda, live: Live) -> None:
    """Bring the read models up to each new checkpoint, and tell those who wait for it. Until cancelled."""
    seen = -1
    while True:
        seen = await ledger.advanced.after(seen)
        height = await ledger.room.wait_for(partial(trio.to_thread.run_sync, runner.catch_up))
        agenda.folded.advance()
        live.pulse.beat(height)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show for a node that ended: a fault of ours first, or else one that explains itself."""
    leaves: list[BaseException] = []
    queue: list[BaseException] = [group]
    while queue:
        inner = queue.pop()
        if isinstance(inner, BaseExceptionGroup):
            queue.extend(inner.exceptions)
        else:
            leaves.append(inner)
    for leaf in leaves:
        if isinstance(leaf, Diverged):
            return FogError(
                f"this node stopped, because it disagrees with what is final: {leaf}",
                code="diverged",
                next_step="audit an export of another node; if it is true, sync into a new directory",
            )
    explained = [leaf for leaf in leaves if isinstance(leaf, FogError)]
    if len(explained) == len(leaves):
        return explained[0]
    return leaves[0] if len(leaves) == 1 else group
