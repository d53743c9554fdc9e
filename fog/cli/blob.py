"""`fog blob`: programs, inputs and results on this disk: what stays, and making room."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fog.blob_methods import BlobGc, BlobNamed, BlobsState
from fog.cli.session import examples, session_of
from fog.methods import Nothing
from fog.quantities import duration_from

blob = typer.Typer(
    help="Programs, inputs and results on this disk.", no_args_is_help=True, epilog=examples("fog blob list")
)

Name = Annotated[str, typer.Argument(metavar="CID", help="The blob's name: 59 characters, baf….")]

MIB = 1 << 20


def add_to(app: typer.Typer) -> None:
    app.add_typer(blob, name="blob")
    blob.command("list", epilog=examples("fog blob list", "fog blob list --json"))(list_)
    blob.command(epilog=examples("fog blob pin bafkrei…"))(pin)
    blob.command(epilog=examples("fog blob unpin bafkrei…"))(unpin)
    blob.command(epilog=examples("fog blob gc", "fog blob gc --unused 0s"))(gc)


def list_(context: typer.Context) -> None:
    """How much disk blobs use, how much of that must stay, and what you pinned."""
    session = session_of(context)
    state = session.ask_quietly(BlobsState, "blob.list", Nothing(), "asking the node")
    table = Table(show_header=False, box=None)
    table.add_row("used", f"{_mib(state.used)} of {_mib(state.limit)} MiB")
    table.add_row("must stay", f"{_mib(state.needed)} MiB: pinned, or still owed to somebody")
    for line in state.pinned:
        table.add_row("pinned", line.cid + ("" if line.here else "  (not all of it is here)"))
    session.say(state, table)


def pin(context: typer.Context, cid: Name) -> None:
    """Never remove this blob to make room; also one that is not here yet."""
    session = session_of(context)
    done = session.ask_quietly(BlobsState, "blob.pin", BlobNamed(cid=cid), "pinning")
    session.say(done, f"pinned; {_mib(done.needed)} MiB must stay now")


def unpin(context: typer.Context, cid: Name) -> None:
    """Let this blob go when room is needed."""
    session = session_of(context)
    done = session.ask_quietly(BlobsState, "blob.unpin", BlobNamed(cid=cid), "asking the node")
    session.say(done, f"not pinned any more; {_mib(done.needed)} MiB must stay now")


def gc(
    context: typer.Context,
    unused: Annotated[str, typer.Option(help="Only what was not used for so long.")] = "1h",
) -> None:
    """Remove what need not stay: a settled result may wait for its submitter, so not what is fresh."""
    session = session_of(context)
    params = BlobGc(unused_ms=duration_from(unused))
    done = session.ask_quietly(BlobsState, "blob.gc", params, "making room")
    session.say(done, f"{_mib(done.freed)} MiB are free again; {_mib(done.used)} MiB are left")


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f}"
