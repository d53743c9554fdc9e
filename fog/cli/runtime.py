"""`fog runtime`: what programs can be written in here, and compiling the interpreter before it is needed."""

from __future__ import annotations

import typer
from rich.table import Table

from fog.cli.session import examples, session_of
from fog.quantities import duration_text

runtime = typer.Typer(
    help="What programs can be written in.", no_args_is_help=True, epilog=examples("fog runtime show")
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(runtime, name="runtime")
    runtime.command(epilog=examples("fog runtime show", "fog runtime show --json"))(show)
    runtime.command(epilog=examples("fog runtime warm"))(warm)


def show(context: typer.Context) -> None:
    """The kinds of programs that can be submitted from this machine, and what is missing for the others."""
    import trio

    from fog import runtimes  # the sandbox and the compilers, which take a while to load

    session = session_of(context)
    found = trio.run(runtimes.look)
    table = Table("kind", "", "what", "to install", box=None)
    for one in found.runtimes:
        table.add_row(one.kind, "ready" if one.ready else "missing", one.what, one.remedy)
    session.say(found, table)


def warm(context: typer.Context) -> None:
    """Compile the Python interpreter for this node's worker now; its first script then starts at once."""
    import trio

    from fog import runtimes

    session = session_of(context)
    session.home.require_set_up()
    with session.spinner("compiling the interpreter, once: about a minute"):
        done = trio.run(runtimes.warm, session.home.modules)
    how = "compiled" if done.compiled else "it was here already"
    session.say(done, f"ready: {how}, {duration_text(done.took_ms // 1000 * 1000)}")
