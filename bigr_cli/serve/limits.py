"""What a server accepts at most, so that its memory is bounded whatever comes."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


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
