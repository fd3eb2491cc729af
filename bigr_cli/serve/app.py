"""The ASGI application: the page, the interfaces, and errors as JSON."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bigr_cli import console
from bigr_cli.editing.batched_sampling import Cancelled
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.serve import api, openai
from bigr_cli.serve.bodies import Refused
from bigr_cli.serve.guard import Guard, refuse
from bigr_cli.serve.jobs import QueueFull
from bigr_cli.serve.orders import TooLarge
from bigr_cli.serve.worker import TimedOut

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bigr_cli.serve.state import State

_PAGE = "page.html"
_INLINE = re.compile(r"<(script|style)[^>]*>(.*?)</\1>", re.DOTALL)
_STATUSES: tuple[tuple[type[BigrError], int], ...] = (
    (TooLarge, 413),
    (QueueFull, 429),
    (Cancelled, 409),
    (TimedOut, 504),
    (UsageError, 422),
    (BigrError, 500),
)


def application(
    state: State, *, token: str, host: str, allowed: Iterable[str] = (), once: str | None = None
) -> ASGIApp:
    """The application, behind its guard, whose arguments these are."""
    app = Starlette(
        routes=[Route("/", _page), Route("/favicon.ico", _no_icon), *api.routes(), *openai.routes()],
        exception_handlers={BigrError: _bigr_error, HTTPException: _http_error, Refused: _refused, Exception: _failed},
    )
    app.state.shared = state
    return Guard(app, token=token, host=host, allowed=allowed, once=once)


class _Refusal:
    """An answer to a request whose body was perhaps not read to its end."""

    def __init__(self, refusal: Refused) -> None:
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal
        await refuse(scope, receive, send, refusal.status, refusal.code, str(refusal), refusal.hint)


async def _refused(request: Request, error: Exception) -> Any:
    return _Refusal(cast("Refused", error))


async def _failed(request: Request, error: Exception) -> Response:
    """What was not foreseen is told to whoever runs the server, and to nobody else."""
    console.error(f"{request.method} {request.url.path}: {type(error).__name__}: {error}")
    message = "failed inside; the server's messages say why"
    return JSONResponse({"error": {"code": "internal", "message": message, "type": "server_error"}}, status_code=500)


@cache
def _page_and_policy() -> tuple[bytes, str]:
    """The page, and the policy that lets a browser run what is in it and nothing else."""
    page = files("bigr_cli.serve").joinpath(_PAGE).read_text(encoding="utf-8")
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    policy = (
        f"default-src 'none'; script-src {' '.join(hashes['script'])}; style-src {' '.join(hashes['style'])}; "
        "img-src blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return page.encode(), policy


async def _page(request: Request) -> Response:
    page, policy = _page_and_policy()
    headers = {"content-security-policy": policy}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204)


async def _bigr_error(request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    hint = error.hint if isinstance(error, BigrError) else None
    headers = {"retry-after": "5"} if status == 429 else None
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = {413: "too_large", 429: "queue_full", 409: "cancelled", 504: "timeout", 422: "invalid"}.get(status, "failed")
    body = {"error": {"code": code, "message": _one_line(str(error)), "hint": hint, "type": kind}}
    return JSONResponse(body, status_code=status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "there is nothing at this address", 405: "this address is not asked in that way"}.get(
        status, "refused"
    )
    return JSONResponse({"error": {"code": str(status), "message": text, "type": "invalid_request_error"}}, status)


def _one_line(text: str) -> str:
    return " ".join(text.split())
