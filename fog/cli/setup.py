"""`fog init`, `fog key`, `fog join`, `fog config`: a node's directory, before anything runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Column, Table

from domain.rules.execute import VERSION
from domain.rules.params import Params
from fog import config as configuration
from fog import founders, invite, keys
from fog.cli.session import Session, examples, session_of
from fog.cli.wallet import account_from
from fog.paths import write_private
from fog.quantities import credits_from, credits_text
from ledger import genesis as ledger_genesis
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.light import Anchor
from ledger.signing import SigningKey

Passphrase = Annotated[
    bool,
    typer.Option("--passphrase", help="Ask for a passphrase for the key (or set FOG_PASSPHRASE)."),
]


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "fog init",
            "fog init --name lab --credits 5000 --stake 2000 --param attempts_max=5",
            "fog init --founder 3f1c… --founder 77ab…=50000",
            "fog --data-dir /srv/fog init --passphrase",
        )
    )(init)
    app.command(epilog=examples("fog key", "fog key --json", "fog key --passphrase"))(key)
    app.command(
        epilog=examples(
            "fog join fog1aeba…", "fog join fog1aeba… --genesis genesis.cbor", "fog join fog1aeba… --fast"
        )
    )(join)
    app.command(epilog=examples("fog config", "FOG_API_PORT=9000 fog config", "fog config --json"))(config)


def init(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="Name of the network, for people.")] = "fog",
    credit: Annotated[
        str,
        typer.Option(
            "--credits", help="Credits that exist from the start: yours, or equal parts of founders."
        ),
    ] = "1000000",
    bonded: Annotated[
        str,
        typer.Option(
            "--stake",
            help="Credits beside those: your bond, which weighs against those of later validators.",
        ),
    ] = "100000",
    founder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[=STAKE]",
            help="A validator beside you, by what its `fog key` prints; its stake is yours unless given. "
            "May be repeated.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of the rules, NAME=NUMBER; may be repeated.")
    ] = None,
    passphrase: Passphrase = False,
) -> None:
    """Start a network: a key, a genesis with you (and other founders) as validators, and a data directory."""
    session = session_of(context)
    free, stake = credits_from(credit), _stake(bonded)
    others = founders.read(founder or [], stake, free)
    if not 1 <= len(name) <= 255:
        raise UsageError("a network's name has 1 to 255 characters", next_step="fog init --name lab")
    chosen = dict(_parameter(text) for text in param or [])
    _require_bonds(min((stake, *others.values())), chosen.get("bond_min", Params().bond_min))
    own = _prepare(session, wanted=passphrase)
    validators, accounts = founders.divide(own.public, stake, others, free)
    network = Genesis(
        v=1,
        name=name,
        created=time.time_ns() // 1_000_000,
        rules=VERSION,
        validators=validators,
        accounts=accounts,
        params=chosen,
    )
    _settle(session, network, {})
    mine = next(one.amount for one in accounts if one.account == own.public)
    held = f"{credits_text(mine)} credits are on your account, {credits_text(stake)} more are your stake."
    if others:
        held += (
            f"\n{len(validators)} validators: more than two thirds of the stake must be up for anything to "
            "become final.\nRun `fog node`, and send each other founder what `fog invite` prints."
        )
    _say_ready(session, network, own, held)


def key(context: typer.Context, passphrase: Passphrase = False) -> None:
    """Print this directory's public key, made now if there is none: what a founder needs of you."""
    session = session_of(context)
    session.home.make()
    public = _own_key(session, wanted=passphrase).public.hex()
    more = (
        ""
        if session.home.genesis.exists()
        else "\nSend it to whoever runs `fog init --founder`; then: fog join"
    )
    session.say({"data_dir": os.fspath(session.home.root), "account": public}, f"{public}{more}")


def join(
    context: typer.Context,
    line: Annotated[str, typer.Argument(metavar="INVITE", help="The line that `fog invite` printed.")],
    genesis: Annotated[
        Path | None, typer.Option(help="The network's genesis.cbor, when the invite is too short for it.")
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Begin with the state of now instead of executing everything since genesis, trusting the "
            "checkpoint that the invite names.",
        ),
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="HEIGHT:ID", help="The same, trusting this checkpoint instead."),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(help="Act for this account, which must delegate to the new key: 64 hex digits."),
    ] = None,
    passphrase: Passphrase = False,
) -> None:
    """Join the network of somebody who sent you an invite."""
    session = session_of(context)
    acts_for = None if account is None else account_from(account)
    invitation = invite.read(line)
    anchor = invitation.anchor if checkpoint is None else Anchor.parse(checkpoint)
    network = invitation.network() or _genesis_from(genesis, invitation)
    own = _prepare(session, wanted=passphrase)
    given: dict[str, Any] = {"network__bootstrap": invitation.addresses} if invitation.addresses else {}
    if acts_for is not None:
        given["identity__account"] = acts_for
    trusts = ""
    if fast or checkpoint is not None:
        write_private(session.home.start, b"" if anchor is None else str(anchor).encode())
        trusts = f"\nIt begins with the state of now, trusting {anchor or 'the validators of genesis'}."
    _settle(session, network, given)
    calls = ", ".join(invitation.addresses) or "nobody yet: set network.bootstrap, or rely on mDNS"
    seat = ""
    if any(validator.key == own.public for validator in network.validators):
        seat = f"\nYou are one of its {len(network.validators)} validators: keep this node running."
    _say_ready(session, network, own, f"It will call {calls}.{trusts}{seat}", acts_for)


def config(context: typer.Context) -> None:
    """Show every setting, its effective value, and where that came from."""
    session = session_of(context)
    effective = session.configuration()
    table = Table(
        *[Column(name, overflow="fold") for name in ("setting", "value", "from", "variable")], box=None
    )
    rows = {}
    for one in configuration.every_key():
        value = msgspec.json.encode(effective.value(one)).decode()
        table.add_row(one.path, value, effective.origins[one.path], one.variable)
        rows[one.path] = {"value": effective.value(one), "origin": effective.origins[one.path]}
    session.say(rows, table)


def _stake(text: str) -> int:
    stake = credits_from(text)
    if stake == 0:
        raise UsageError("a validator without stake decides nothing", next_step="fog init --stake 100000")
    return stake


def _require_bonds(smallest: int, least: int) -> None:
    """A founder with less than `bond_min` would give way to the first stranger who has as much."""
    if smallest < least:
        raise UsageError(
            f"a stake of {credits_text(smallest)} credits, where a bond has at least {credits_text(least)}",
            code="bond_too_small",
            next_step=f"give more stake, or --param bond_min={smallest}",
        )


def _parameter(text: str) -> tuple[str, int]:
    """`NAME=NUMBER`, of a parameter that the rules have and within its range. Raises UsageError."""
    name, _, number = text.partition("=")
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        raise UsageError(f"{text!r} is not NAME=NUMBER", next_step="fog init --param attempts_max=5")
    try:
        msgspec.convert({name: int(number)}, Params)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"--param {text}: {error}",
            code="bad_params",
            next_step=f"the rules have {', '.join(Params.__struct_fields__)}: docs/configuration.md",
        ) from error
    return name, int(number)


def _prepare(session: Session, *, wanted: bool) -> SigningKey:
    """The directory and the device key. A key that is there already is kept: it is an identity."""
    session.home.require_no_network()
    session.home.make()
    return _own_key(session, wanted=wanted)


def _own_key(session: Session, *, wanted: bool) -> SigningKey:
    if session.home.key.exists():
        encrypted = keys.is_encrypted(session.home.key)
        return keys.load(session.home.key, passphrase=session.known_passphrase() if encrypted else None)
    return keys.create(session.home.key, passphrase=session.new_passphrase(wanted=wanted))


def _settle(session: Session, network: Genesis, given: dict[str, Any]) -> None:
    """Settings first, genesis last: once it is there, the directory is complete."""
    home = session.home
    if not home.config.exists():
        write_private(home.config, configuration.template(**given).encode())
    else:
        for name, value in given.items():
            setting = name.replace("__", ".")
            session.remark(
                f"{home.config} is kept as it is; set in it:  {setting} = {configuration.toml_text(value)}"
            )
    write_private(home.genesis, network.encode())


def _genesis_from(path: Path | None, invitation: invite.Invite) -> Genesis:
    if path is None:
        raise UsageError(
            "this network's genesis object is too large for an invite",
            code="genesis_needed",
            next_step="get genesis.cbor from who invited you, then: fog join INVITE --genesis genesis.cbor",
        )
    try:
        network = ledger_genesis.parse(path.read_bytes())
    except (OSError, RemoteError) as error:
        raise UsageError(
            f"{path} is not a genesis object: {error}",
            code="bad_genesis",
            next_step="get genesis.cbor from who invited you",
        ) from error
    if network.net != invitation.net:
        raise UsageError(
            f"{path} is of network {network.net}, the invite is for {invitation.net}",
            code="other_network",
            next_step="get genesis.cbor from who invited you",
        )
    return network


def _say_ready(
    session: Session, network: Genesis, own: SigningKey, more: str, acts_for: str | None = None
) -> None:
    device = own.public.hex()
    said: dict[str, str | int] = {
        "data_dir": os.fspath(session.home.root),
        "name": network.name,
        "net": str(network.net),
        "account": acts_for or device,
        "validators": len(network.validators),
    }
    if acts_for is not None:
        said["device"] = device
        more += f"\nthe account must let this key act for it: fog identity delegate {device}"
    session.say(
        said,
        f"Network {network.name!r} ({network.net})\nyour account  {said['account']}\n"
        f"in  {session.home.root}\n{more}\nnext: fog node",
    )
