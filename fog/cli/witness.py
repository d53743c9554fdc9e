"""`fog witness`: cosign other people's checkpoints, so that they cannot tell two people two things."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fog import keys
from fog.cli.proof import read_genesis
from fog.cli.session import examples, session_of
from ledger.errors import RemoteError, UsageError

LISTEN = "127.0.0.1:7421"


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "fog witness --genesis genesis.cbor",
            "fog witness --listen 0.0.0.0:7421 --name example.org/witness --trust bafyrei…/3b6a…29",
        )
    )(witness)


def witness(
    context: typer.Context,
    trust: Annotated[
        list[str] | None, typer.Option(help="NET/KEY: a network, and the one validator of it. Repeat.")
    ] = None,
    genesis: Annotated[
        list[Path] | None,
        typer.Option(help="A network's genesis.cbor: its validators decide by quorum. Repeat."),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT to serve on; port 0 lets the system choose.")
    ] = LISTEN,
    name: Annotated[str, typer.Option(help="Its name in signatures (else from its key).")] = "",
) -> None:
    """Run a witness in the foreground until Ctrl-C: it cosigns only what continues what it cosigned."""
    session = session_of(context)
    from fog import witness as running  # a server that no other command needs
    from ledger.notes import VerifierKey, witness_key
    from projections import serve

    if not trust and not genesis:
        raise UsageError(
            "a witness of no network", code="bad_trust", next_step="give --genesis FILE, or --trust NET/KEY"
        )
    logs = running.trusted(trust or [], [read_genesis(file) for file in genesis or []])
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65_535:
        raise UsageError(f"{listen!r} is not HOST:PORT", code="bad_address", next_step=f"such as {LISTEN}")
    home = session.home.witness
    passphrase = None
    if home.key.exists() and keys.is_encrypted(home.key):
        passphrase = session.known_passphrase()
    key = running.secret_key(home, passphrase)
    known = witness_key(name or f"witness/{key.public.hex()[:16]}", key.public)
    try:
        VerifierKey.parse(str(known))
    except RemoteError as error:
        raise UsageError(
            f"{name!r} cannot be a name",
            code="bad_name",
            next_step="no spaces, no +; such as example.org/witness",
        ) from error
    sock = serve.listen(host, int(port))
    where = "http://{}:{}".format(*sock.getsockname()[:2])
    session.say(
        {"key": str(known), "url": where, "logs": sorted(logs)},
        f"A witness of {len(logs)} network(s). In a validator's fog.toml:",
        f'  finality.witnesses = ["{known} {where}"]',
    )
    running.run(home, known.name, key, logs, sock)
