"""The ASGI application and the state that its endpoints share: the page, the interfaces, and errors as JSON."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bigr_cli import console, schema
from bigr_cli.editing.batched_sampling import Cancelled
from bigr_cli.errors import BigrError, ImageError, RunError, UsageError
from bigr_cli.files import reading, writing
from bigr_cli.imaging.files import write_bytes
from bigr_cli.serve import api, openai
from bigr_cli.serve.guard import Budget, Guard, Limits, error_body, refuse
from bigr_cli.serve.jobs import Job, Jobs, Order, QueueFull
from bigr_cli.serve.operation import Operation
from bigr_cli.serve.requests import Refused, TaskRequest, TooLarge
from bigr_cli.serve.worker import TimedOut, Worker
from bigr_cli.zoo.presets import sampling_settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bigr_cli.model import Model
    from bigr_cli.serve.requests import Held


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
    return JSONResponse(error_body(500, "internal", "failed inside; the server's messages say why"), status_code=500)


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
    code = {413: "too_large", 429: "queue_full", 409: "cancelled", 504: "timeout", 422: "invalid"}.get(status, "failed")
    body = error_body(status, code, " ".join(str(error).split()), hint)
    return JSONResponse(body, status_code=status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "there is nothing at this address", 405: "this address is not asked in that way"}.get(
        status, "refused"
    )
    return JSONResponse(error_body(status, str(status), text), status)


_MOST_TRIES = 1000


@dataclass
class Gallery:
    """Files by their place. Clients name them by number only, and never say where anything is written."""

    paths: Sequence[Path] = ()
    saved: dict[int, list[str]] = field(default_factory=dict)

    def described(self) -> list[dict[str, Any]]:
        """What clients are told of the images."""
        return [
            {"index": index, "name": path.name, "saved": self.saved.get(index, [])}
            for index, path in enumerate(self.paths)
        ]

    def read(self, index: int, most: int) -> tuple[str, bytes]:
        """The name and the bytes of a file.

        Raises:
            UsageError: there is none of this number, or it has more than `most` bytes.
            ImageError: it cannot be read.
        """
        path = self._path(index)
        with reading(path.name, ImageError):
            size = path.stat().st_size
            if size > most:
                raise UsageError(f"{path.name}: has {size:,} bytes, but at most {most:,} are taken")
            return path.name, path.read_bytes()

    def save(self, index: int, name: str, data: bytes) -> str:
        """Write a result beside its image; a name that is taken gets a number. The name of the file.

        Raises:
            UsageError: there is no image of this number.
            RunError: it cannot be written.
        """
        folder = self._path(index).parent
        stem, _, suffix = name.rpartition(".")
        for number in range(1, _MOST_TRIES):
            path = folder / (name if number == 1 else f"{stem}-{number}.{suffix}")
            with writing(path.name):
                try:
                    if path.is_file() and path.read_bytes() == data:
                        break
                    write_bytes(path, data)
                except UsageError:  # there is another file of this name
                    continue
            break
        else:
            raise RunError(f"{name}: there are {_MOST_TRIES - 1} files of this name")
        names = self.saved.setdefault(index, [])
        if path.name not in names:
            names.append(path.name)
        return path.name

    def _path(self, index: int) -> Path:
        if not 0 <= index < len(self.paths):
            raise UsageError(f"there is no image {index}; there are {len(self.paths)}")
        return self.paths[index]


@dataclass
class State:
    """The model with its worker, jobs and limits."""

    model: Model
    worker: Worker
    jobs: Jobs
    limits: Limits
    budget: Budget
    operations: Mapping[str, Operation]
    gallery: Gallery
    checking: CapacityLimiter  # how many uploads are decoded at the same time

    async def submit(self, task_request: TaskRequest, held: Held, *, textual: bool) -> Job:
        """Check a request and queue it.

        Raises:
            UsageError: it is not what the task takes.
            QueueFull: there is no room for it.
        """
        self.jobs.check_room()
        operation = self.operations[task_request.task]
        values = operation.fields.read(task_request.values, textual=textual)
        checked = TaskRequest(task_request.task, values, task_request.images, task_request.mask)
        order: Order = await anyio.to_thread.run_sync(operation.order, checked, limiter=self.checking)
        job = Job(order.task, order.count, order, asyncio.get_running_loop(), release=held.release)
        self.jobs.add(job)
        held.keep()
        self.worker.submit(job)
        return job

    def cancel(self, job: Job) -> None:
        """Give a job up."""
        self.worker.cancel(job)

    def described(self) -> dict[str, Any]:
        """The model that is loaded, as clients need to know it."""
        config = self.model.config
        generator = config.generator
        if generator is None:
            raise UsageError(f"{config.name}: is a tokenizer without a generator")
        return {
            "name": self.model.name,
            "image_size": config.image_size,
            "grid": generator.grid,
            "condition": generator.condition,
            "labels": list(config.labels) or [str(index) for index in range(generator.classes)],
            "presets": sorted(config.presets),
            "device": str(self.model.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "sampling": schema.to_mapping(sampling_settings(config)),
            "painting": schema.to_mapping(sampling_settings(config, painting=True)),
        }
