"""What a server accepts at most, and who may ask: the right Host, no foreign Origin, the token."""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


MIB = 2**20

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# How long a refused request's body is thrown away, so that the client reads why, and how much of it.
_DRAIN = 3.0  # seconds
_DRAINED = 256 * 2**20  # bytes
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
# What API responses may do in a browser: nothing. The page has a policy of its own.
NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a server.

    Attributes:
        body: bytes of one request's body.
        held: bytes of all bodies that are being received or belong to jobs that have not ended.
        pixels: of one uploaded image, and of one result.
        work: pixels of the images that are worked on at the same time.
        queue: jobs that wait or run.
        images: results of one job.
        seconds: from a job's start to its end.
        receive: seconds for a request to arrive, and for a client to take a piece of its response.
        kept: bytes of the results that are kept for clients to fetch.
        kept_jobs: jobs that have ended and are kept.
        connections: open at the same time.
    """

    body: int = 64 * MIB
    held: int = 512 * MIB
    pixels: int = 16_777_216
    work: int = 33_554_432
    queue: int = 64
    images: int = 64
    seconds: float = 600.0
    receive: float = 30.0
    kept: int = 256 * MIB
    kept_jobs: int = 256
    connections: int = 256


class Budget:
    """Bytes that several owners share; used from the event loop's thread alone."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0

    def take(self, count: int) -> bool:
        """Take so many bytes, if there are as many."""
        if self.used + count > self.total:
            return False
        self.used += count
        return True

    def release(self, count: int) -> None:
        """Hand so many bytes back."""
        self.used -= count


def is_loopback(host: str) -> bool:
    """Whether a server bound to this host is reachable from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that refuses requests which do not come from the server's own page or from who has the token."""

    def __init__(
        self, app: ASGIApp, *, token: str, host: str, allowed: Iterable[str] = (), once: str | None = None
    ) -> None:
        """What may be asked for, and by whom.

        Args:
            app: what answers.
            token: what clients have to know.
            host: what the server is bound to.
            allowed: further names under which it may be asked.
            once: leads from /?once=… to the page, a single time: a browser's command line shows its address to
                everybody on the machine, so it had better not be the token's.
        """
        self._once = once
        self._app, self._token = app, token.encode()
        self._names = {name.casefold() for name in (*_LOOPBACK, host.strip("[]"), *allowed)}
        # A name can be bound anew to another address, an address cannot.
        self._addresses = not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None and refusal[0] == 401 and self._takes_once(scope):
            await _redirect(hardened(send), "/?" + urlencode({"token": self._token.decode()}))
            return
        if refusal is not None:
            await refuse(scope, receive, hardened(send), *refusal)
            return
        await self._app(scope, receive, hardened(send))

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, code and message for a request that is not answered."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not self._knows(headers.get(b"host", "")):
            return 403, "host", "this server is not asked under that name; --allow-host NAME allows another"
        origin = headers.get(b"origin")
        site = headers.get(b"sec-fetch-site", "none")
        page = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        if origin is not None and not self._is_own(origin, headers[b"host"]):
            return 403, "origin", "requests from other sites' pages are refused"
        if site not in ("none", "same-origin") and not page:
            return 403, "origin", "requests from other sites' pages are refused"
        if not self._has_token(scope, headers, page):
            return 401, "token", "the token is missing or wrong; the address that bigr serve printed has it"
        return None

    def _takes_once(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("once", [""])[0]
        if self._once is None or scope["path"] != "/" or scope["method"] != "GET":
            return False
        if not secrets.compare_digest(given.encode(), self._once.encode()):
            return False
        self._once = None
        return True

    def _knows(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").casefold()
            urlsplit(f"//{host}").port  # noqa: B018 - raises ValueError for what is no port
        except ValueError:
            return False
        return name in self._names or (self._addresses and _is_address(name))

    def _is_own(self, origin: str, host: str) -> bool:
        parts = urlsplit(origin) if origin != "null" else urlsplit("")
        return parts.scheme in ("http", "https") and parts.netloc.casefold() == host.casefold()

    def _has_token(self, scope: Scope, headers: dict[bytes, str], page: bool) -> bool:
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if page and scheme.casefold() != "bearer":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        elif scheme.casefold() != "bearer":
            return False
        return secrets.compare_digest(given.strip().encode("latin-1", "replace"), self._token)


async def _redirect(send: Send, address: str) -> None:
    headers = [(b"location", address.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def hardened(send: Send) -> Send:
    """`send` with the headers in front of every response, unless it has its own."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            more = [(name, value) for name, value in (*_HEADERS, (b"content-security-policy", NOTHING))]
            fresh = [pair for pair in more if pair[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *fresh]}
        await send(message)

    return with_headers


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str, hint: str | None = None
) -> None:
    """Answer with an error, and let a body that was not read run into the void for a moment."""
    body = json.dumps(error_body(status, code, message, hint)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    names = {name for name, _ in scope["headers"]}
    unread = bool(names & {b"content-length", b"transfer-encoding"})
    if unread:
        headers.append((b"connection", b"close"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": unread})
    if unread:
        await drain(receive)
        await send({"type": "http.response.body", "body": b""})


def error_body(status: int, code: str, message: str, hint: str | None = None) -> dict[str, Any]:
    """An error as every answer has it, in the shape of OpenAI's."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"code": code, "message": message, "hint": hint, "type": kind}}


async def drain(receive: Receive) -> None:
    """Throw away what a client still sends, within limits."""
    drained = 0
    with anyio.move_on_after(_DRAIN):
        while drained < _DRAINED:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body"):
                return
            drained += len(message["body"])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
