"""Starting and stopping: the model, its worker, the socket, and uvicorn's HTTP/1.1 with time limits."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import h11
import uvicorn
from anyio import CapacityLimiter
from uvicorn.protocols.http.h11_impl import H11Protocol

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.registry import discover
from bigr_cli.serve.app import Gallery, State, application
from bigr_cli.serve.guard import Budget, Limits, is_loopback
from bigr_cli.serve.jobs import Jobs
from bigr_cli.serve.operations import offered
from bigr_cli.serve.worker import Worker

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from bigr_cli.model import Model


_MESSAGE = b"the request's headers took too long\n"
_TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_MESSAGE), _MESSAGE)
)
_LEAST = 64 * 2**10  # bytes that a client has to read in the time, or all that is left
_LEFT_OVER = 2**20  # bytes of a body that are still taken, unread, once its request is answered

_SHORTEST_TOKEN = 8
_CHECKERS = 2  # uploads that are decoded at the same time
_IDLE = 5  # seconds that an idle connection is kept
_GOODBYE = 3  # seconds that open connections get when the server ends


def protocol(seconds: float) -> type[H11Protocol]:
    """A protocol that closes connections whose headers are not there, or whose response is not read, in the time.

    Neither does it go on taking a body that was refused: a client may reuse the connection after a short rest of one.
    """

    class TimedProtocol(H11Protocol):
        _head: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None
        _left_over = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head = self.loop.call_later(seconds, self._too_slow)

        def data_received(self, data: bytes) -> None:
            if self._head is None and self._idle():
                self._head = self.loop.call_later(seconds, self._too_slow)
            super().data_received(data)
            if not self._idle():
                self._head = _cancelled(self._head)
            self._left_over = self._left_over + len(data) if self._refused() else 0
            if self._left_over > _LEFT_OVER:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head, self._reading = _cancelled(self._head), _cancelled(self._reading)
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reading()

        def resume_writing(self) -> None:
            self._reading = _cancelled(self._reading)
            super().resume_writing()

        def _watch_reading(self) -> None:
            waiting = self.transport.get_write_buffer_size()
            self._reading = self.loop.call_later(seconds, self._check_reading, waiting)

        def _check_reading(self, before: int) -> None:
            if self.transport.get_write_buffer_size() > before - _LEAST:
                self.transport.abort()
            else:
                self._watch_reading()

        def _idle(self) -> bool:
            """Whether no request is being answered."""
            cycle: Any = self.cycle
            return cycle is None or cycle.response_complete

        def _refused(self) -> bool:
            """Whether what comes belongs to a request that is answered already."""
            return self.cycle is not None and self._idle() and self.conn.their_state is h11.SEND_BODY

        def _too_slow(self) -> None:
            self._head = None
            if self._idle() and not self.transport.is_closing():
                self.transport.write(_TIMED_OUT)
                self.transport.close()

    return TimedProtocol


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """No timer, in the place of one that does not go off any more."""
    if timer is not None:
        timer.cancel()
    return None


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a server listens, and who may ask: those with the token, under these names besides the host's own."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    allowed: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii()):
            raise UsageError(f"--token: expected at least {_SHORTEST_TOKEN} letters, digits and signs of ASCII")
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"--host {self.host}: reaches beyond this machine, so --token has to say who may ask",
                hint='for example: BIGR_TOKEN="$(openssl rand -hex 16)" bigr serve --host ...',
            )


def bound(listening: Listening) -> socket.socket:
    """A socket that listens; UsageError if that place is taken or is none of this machine's."""
    host = listening.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, listening.port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"--host {host}: is no address of this machine ({error.strerror or error})") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise UsageError(
            f"cannot listen at {host}:{listening.port}: {error.strerror or error}", hint="--port 0 takes a free one"
        ) from error
    return found


def serve(
    load: Callable[[], Model],
    listening: Listening,
    limits: Limits,
    *,
    images: Sequence[Path] = (),
    batch_size: int | None = None,
    browser: bool = False,
    debug: bool = False,
) -> None:
    """Serve until interrupted.

    Args:
        load: loads the model; called once the socket listens, so that a port that is taken shows at once.
        listening: where, and for whom.
        limits: what is accepted at most.
        images: files to work through in the page.
        batch_size: how many images are sampled together; None is what pays on the device.
        browser: open the page.
        debug: show the traceback of a job that fails inside.

    Raises:
        UsageError: the place is taken.
    """
    with closing(bound(listening)) as taken:
        token = listening.token or secrets.token_urlsafe(32)
        state = opened(load(), limits, images=images, batch_size=batch_size, debug=debug)
        try:
            once = secrets.token_urlsafe(32) if browser else None
            app = application(state, token=token, host=listening.host, allowed=listening.allowed, once=once)
            console.result(_address(taken, listening, token=token))
            sys.stdout.flush()
            console.say("Ctrl-C ends it")
            if once is not None:  # beside the server, because some browsers come back when they are closed
                address = _address(taken, listening, once=once)
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            uvicorn.Server(configured(app, limits)).run(sockets=[taken])
        finally:
            state.worker.close()


def opened(
    model: Model,
    limits: Limits,
    *,
    images: Sequence[Path] = (),
    batch_size: int | None = None,
    debug: bool = False,
) -> State:
    """A model with a worker that runs, and nothing to do yet."""
    return State(
        model=model,
        worker=Worker(model, limits, batch_size=batch_size, debug=debug),
        jobs=Jobs(limits),
        limits=limits,
        budget=Budget(limits.held),
        operations=offered(discover(), model, limits),
        gallery=Gallery(tuple(images)),
        checking=CapacityLimiter(_CHECKERS),
    )


def configured(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    """uvicorn with time limits, and without anything that tells more than it has to."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what clients send is not shown on the terminal
    return uvicorn.Config(
        app,
        http=protocol(limits.receive),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_GOODBYE,
    )


def _address(taken: socket.socket, listening: Listening, **query: str) -> str:
    host, port = listening.host.strip("[]"), taken.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/?{urlencode(query)}"
