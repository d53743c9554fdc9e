"""`fog node`, `fog stop`, `fog status`, `fog peers`, `fog invite`, `fog demo`: a node that runs."""

from __future__ import annotations

import typer
from rich.table import Table

from fog import keys, methods
from fog.cli.session import Session, examples, session_of
from fog.methods import Nothing, Status
from fog.quantities import credits_text, duration_text
from ledger.signing import SigningKey


def add_to(app: typer.Typer) -> None:
    app.command(epilog=examples("fog node", "FOG_WORKER_SLOTS=4 fog node --verbose"))(node)
    app.command(epilog=examples("fog stop"))(stop)
    app.command(epilog=examples("fog status", "fog status --json"))(status)
    app.command(epilog=examples("fog peers"))(peers)
    app.command(epilog=examples("fog invite", "fog invite --json"))(invite)
    app.command(epilog=examples("fog demo", "fog demo --json"))(demo)


def node(context: typer.Context) -> None:
    """Run the node in the foreground until Ctrl-C, `fog stop` or SIGTERM."""
    session = session_of(context)
    session.home.require_set_up()
    settings = session.configuration().settings
    key = load_key(session)
    from fog import node as running_node  # a second of imports that no other command needs

    running_node.run(session.home, settings, key, verbose=session.verbose, as_json=session.json)


def stop(context: typer.Context) -> None:
    """Ask the running node to stop; it finishes what it is writing."""
    session = session_of(context)
    reply = session.ask_quietly(Nothing, "stop", Nothing(), "stopping")
    session.say(reply, "The node is stopping.")


def status(context: typer.Context) -> None:
    """What the node knows: height, peers, who must be up for anything to become final."""
    session = session_of(context)
    state = session.ask_quietly(Status, "status", Nothing(), "asking the node")
    session.say(state, _status_table(state), finality_text(state))


def peers(context: typer.Context) -> None:
    """The nodes this one is connected to."""
    session = session_of(context)
    found = session.ask_quietly(methods.Peers, "peers", Nothing(), "asking the node")
    table = Table("peer", "address", "direction", "since", box=None)
    for peer in found.peers:
        table.add_row(
            peer.peer_id,
            peer.address,
            peer.direction,
            duration_text(peer.connected_ms // 1000 * 1000),
        )
    session.say(found, table if found.peers else "No peers. `fog invite` prints a line for others.")


def invite(context: typer.Context) -> None:
    """Print the line with which another machine joins: `fog join LINE`."""
    session = session_of(context)
    invitation = session.ask_quietly(methods.Invitation, "invite", Nothing(), "asking the node")
    if not invitation.carries_genesis:
        session.remark(f"Send {session.home.genesis} along: fog join LINE --genesis genesis.cbor")
    if not invitation.addresses:
        session.remark("The node has no address that others can reach: set network.announce.")
    session.say(invitation, invitation.line)


def demo(context: typer.Context) -> None:
    """Four nodes on this machine: a payment, a checked job, an audit. Touches no node of yours."""
    session = session_of(context)
    from fog import demo as show  # brings every part of the program along

    show.run(session.out, as_json=session.json, verbose=session.verbose)


def load_key(session: Session) -> SigningKey:
    path = session.home.key
    return keys.load(path, passphrase=session.known_passphrase() if keys.is_encrypted(path) else None)


def _trust_text(worker: methods.WorkerState) -> str:
    """How often its runs are checked, and what it answers with."""
    if not worker.enabled:
        return ""
    bond = f"{credits_text(worker.bond)} credits set aside for a run" if worker.bond else "no bond"
    if not worker.bond:
        return f"every run is checked: {bond}; {worker.streak} agreed in a row"
    percent = -(-worker.check_ppm // 10_000)
    return f"{percent} % of its runs are checked, or what {bond} call for; {worker.streak} agreed in a row"


ABSTAINS = {
    "": "",
    "asking": "\nthis validator casts no vote yet: more than two thirds of the stake must first be here and"
    " say what it voted before: itself included, or without it if its disk is new. If they never will be, see"
    " `fog stake forget --help`",
    "alone": "\nthis validator casts no vote in the open slot, and nobody else can end it: its disk is older"
    " than what it voted there. Put back its data directory as it was last, or see `fog stake forget --help`",
    "lost": "\nthis validator casts no vote in the open slot: it lost what its disk held, and may have voted"
    " there. It will when others have ended that slot. If they cannot without it: put back its data directory"
    " as it was last, or see `fog stake forget --help`",
}
"""By what `FinalityState.abstains` says; `alone`: `lost` where there is no other validator."""


def finality_text(state: Status) -> str:
    """Who decides, how many may fail, and who must be up."""
    seats, here = state.finality.validators, any(seat.here for seat in state.finality.validators)
    names = ", ".join(account[:16] for account in state.finality.needed)
    need = f"must be up: {names}" if names else "no single validator must be up"
    still = state.finality.standstill
    halted = ""
    if still is not None:
        silent = [seat.account[:16] for seat in seats if seat.account not in still.heard]
        halted = (
            f"\nhalted: nothing becomes final; only {still.weight} of {still.total} stake is heard,"
            f" and more than two thirds are needed; silent: {', '.join(silent) or 'nobody'}"
        )
    abstains = state.finality.abstains
    halted += ABSTAINS["alone" if abstains == "lost" and len(seats) == 1 else abstains]
    return (
        f"finality: {state.finality.kind}, {len(seats)} validator{'s' * (len(seats) > 1)}"
        f"{' (this node is one)' if here else ''}; f = {state.finality.tolerates} may fail; {need}{halted}"
    )


def _status_table(state: Status) -> Table:
    table = Table(show_header=False, box=None)
    worker = state.worker
    rows = {
        "network": f"{state.name} ({state.net})",
        "account": state.account,
        "device": "" if state.device in (None, state.account) else state.device,
        "peer id": state.peer_id,
        "listening": "\n".join(state.addresses) or "nowhere",
        "api": state.api or "off",
        "up": duration_text(state.uptime_ms // 1000 * 1000),
        "peers": str(state.peers),
        "height": f"{state.height} final",
        "keeps": state.mode + (f", from height {state.since} on" if state.since else ""),
        "events": f"{state.events}, of which {state.unordered} wait for a checkpoint",
        "worker": f"{worker.busy} of {worker.slots} slots busy, {credits_text(worker.price)} credits a Gfuel"
        if worker.enabled
        else "off",
        "why": worker.why,
        "trust": _trust_text(worker),
        "doing": "\n".join(worker.doing),
        "used": f"{duration_text(worker.cpu_ms // 1000 * 1000)} of processor time in {worker.shards} shards,"
        f" at most {worker.memory_peak >> 20} MiB at once"
        if worker.shards
        else "",
        "walls": ", ".join(worker.walls),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table
