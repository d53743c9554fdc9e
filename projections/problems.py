"""Refusals as RFC 9457 problem documents: `type`, `title`, `status`, `detail`, and our public `code`.

Every error of the API has this one shape, whoever raised it. `code` is the word that receipts, metrics and
the command line use too; `detail` says what was wrong with which input, and what to do.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ledger.errors import FogError, RemoteError, UsageError

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:fog:problem:bad_cursor"])
    title: str = Field(examples=["Bad request"])
    status: int = Field(examples=[400])
    code: str = Field(examples=["bad_cursor"], description="A public word; the same everywhere in Fog.")
    detail: str = Field(
        examples=["'zz' is not a cursor of this list; use `next` of the previous page as it is"]
    )


TITLES: Final = {
    400: "Bad request",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    500: "Fault of this node",
    503: "Busy",
    504: "Too slow",
}

DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "A parameter or cursor is not valid."},
    503: {"model": Problem, "description": "Too many requests at once; try again."},
    504: {"model": Problem, "description": "The answer took too long."},
}
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem, "description": "No such thing as of this height."}
}


class NotHere(UsageError):
    """There is no such thing, as far as this node knows."""

    code = "not_found"


def response(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = {
        "type": f"urn:fog:problem:{code}",
        "title": TITLES.get(status, "Refused"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Give every kind of error its answer."""
    app.add_exception_handler(FogError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_a_fault)


async def _of_ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, FogError)
    if isinstance(error, NotHere):
        status = 404
    else:
        status = 400 if isinstance(error, UsageError | RemoteError) else 503
    detail = f"{error}; {error.next_step}" if error.next_step else str(error)
    return response(status, error.code, detail)


async def _of_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return response(400, "bad_parameter", f"{where}: {first['msg']}")


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return response(
            404, "no_such_page", f"nothing at {request.url.path}; /v1/openapi.json lists all there is"
        )
    if error.status_code == 405:
        detail = f"{request.method} is not possible: this API only reads; use the `fog` command to act"
        return response(405, "read_only", detail, dict(error.headers or {}))
    return response(error.status_code, "refused", str(error.detail))


async def _of_a_fault(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this answer, so the server logs it with its story."""
    return response(
        500, "fault", f"{type(error).__name__} while answering {request.url.path}; see the node's log"
    )
