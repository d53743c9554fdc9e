"""The read-only HTTP API: everything anyone can ask, as of a named checkpoint.

    /                 the dashboard, one page without outside resources
    /v1/…             JSON; see /v1/openapi.json for all of it

Puts together the endpoints, the errors, the page and a guard around them. Knows no SQL and no rule.

What must always hold, whatever a reader sends: the answer is JSON of a documented shape, a problem document,
or text of a documented kind; it comes within REQUEST_DEADLINE_S; and nothing in the node changes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from importlib import resources
from typing import Any, Final

import trio
from fastapi import FastAPI
from starlette.responses import HTMLResponse

from projections import endpoints_node, endpoints_proofs, endpoints_shared, problems
from projections.asking import Asker
from projections.live import LiveView
from projections.reader import Reader

REQUEST_DEADLINE_S: Final = 10  # a page takes milliseconds; a rebuild or a slow disk may hold it up
REQUESTS_MAX: Final = 64  # at once, without streams; each waits for one of a few threads
LOOPBACK_HOSTS: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

DESCRIPTION: Final = """
Read-only. Every value is `final` unless it says otherwise, and names the checkpoint that set it.

Except for those tagged *this node*, endpoints give the same answer on every node that is at the same height.
Amounts, prices and fuel are strings of decimal digits (up to 2^63-1); money is in micro-credits (1 credit =
1,000,000). With `proof=1` an answer carries what it takes to check it offline (`fog proof check`). Lists come
in pages: pass `next` as `after`. Errors are RFC 9457 problem documents with a `code`.
"""


def create_app(reader: Reader, live: LiveView, *, hosts: Collection[str] | None = LOOPBACK_HOSTS) -> FastAPI:
    """The application, to be run by `projections.serve` (or any ASGI server on trio).

    `hosts` are the names it answers to; None: any. On loopback a list keeps web pages, which can point a
    name of their own at 127.0.0.1, from reading the API through the user's browser.
    """
    app = FastAPI(
        title="Fog",
        version="1",
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    asker = Asker(reader, live)
    app.include_router(endpoints_node.router(asker))
    app.include_router(endpoints_shared.router(asker))
    app.include_router(endpoints_proofs.router(asker))
    _install_dashboard(app)
    problems.install(app)
    app.add_middleware(Guard, hosts=hosts)
    return app


def _install_dashboard(app: FastAPI) -> None:
    page = resources.files("projections").joinpath("dashboard.html").read_text("utf-8")
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
    )
    headers = {"content-security-policy": policy, "x-content-type-options": "nosniff"}

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def dashboard() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)


class Guard:
    """Around every request: the name it was sent to, how many at once, how long at most."""

    def __init__(self, app: App, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts
        self._running = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/v1/stream":  # a stream lasts, and bounds itself
            refusal = self._wrong_host(scope)
        else:
            refusal = self._wrong_host(scope) or self._too_many()
        if refusal is not None:
            await problems.response(*refusal)(scope, receive, send)
        elif scope["type"] != "http" or scope["path"] == "/v1/stream":
            await self._app(scope, receive, send)
        else:
            await self._within_deadline(scope, receive, send)

    async def _within_deadline(self, scope: Message, receive: Receive, send: Send) -> None:
        began = False

        async def noting(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        self._running += 1
        try:
            with trio.move_on_after(REQUEST_DEADLINE_S) as deadline:
                await self._app(scope, receive, noting)
        finally:
            self._running -= 1
        if deadline.cancelled_caught and not began:
            late = problems.response(
                504, "too_slow", f"no answer within {REQUEST_DEADLINE_S} s; ask for less"
            )
            await late(scope, receive, send)

    def _wrong_host(self, scope: Message) -> tuple[int, str, str] | None:
        if self._hosts is None or scope["type"] == "lifespan":
            return None
        named = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        host = named.rpartition(":")[0] if ":" in named.rpartition("]")[2] else named
        if host.lower() in self._hosts:
            return None
        return 403, "wrong_host", f"this node does not answer to {named[:100]!r}; use http://localhost"

    def _too_many(self) -> tuple[int, str, str] | None:
        if self._running < REQUESTS_MAX:
            return None
        return 503, "busy", f"{REQUESTS_MAX} requests are being answered; try again"

    def __repr__(self) -> str:
        return f"<Guard running={self._running}/{REQUESTS_MAX}>"
