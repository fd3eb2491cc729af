"""uvicorn's HTTP/1.1, with a time limit for clients that send or read slowly."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_MESSAGE = b"the request's headers took too long\n"
_TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_MESSAGE), _MESSAGE)
)
_LEAST = 64 * 2**10  # bytes that a client has to read in the time, or all that is left
_LEFT_OVER = 2**20  # bytes of a body that are still taken, unread, once its request is answered


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
