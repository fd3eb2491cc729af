"""`/v1/images/generations` and `/v1/images/edits`, as OpenAI's clients call them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import anyio
from PIL import Image
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bigr_cli.data.images import read_header
from bigr_cli.errors import UsageError
from bigr_cli.imaging.files import encode_image
from bigr_cli.prompts import reads_text
from bigr_cli.serve.api import ended, progress, state_of
from bigr_cli.serve.requests import Refused, TaskRequest, Upload, body_of, opened, read_form, read_json

if TYPE_CHECKING:
    from starlette.requests import Request

    from bigr_cli.serve.app import State
    from bigr_cli.serve.guard import Limits
    from bigr_cli.serve.jobs import Job

_MOST = 10
# What OpenAI's own models know and this one has no use for; accepted, because clients send it unasked.
_IGNORED = ("user", "quality", "style", "background", "moderation", "output_format", "output_compression")
_IGNORED_EDIT = (*_IGNORED, "input_fidelity")
_OWN = ("prompt", "model", "n", "size", "response_format", "stream", "partial_images", "seed")


def routes() -> list[Route]:
    """What OpenAI's clients ask for."""
    return [
        Route("/v1/models", _models),
        Route("/v1/images/generations", _generations, methods=["POST"]),
        Route("/v1/images/edits", _edits, methods=["POST"]),
    ]


async def _models(request: Request) -> Response:
    name = state_of(request).model.name
    return JSONResponse({"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "bigr"}]})


async def _generations(request: Request) -> Response:
    state = state_of(request)
    async with body_of(request, state.limits, state.budget) as (data, held):
        values = await read_json(data)
        wanted = _Wanted(values, _IGNORED, state)
        side = state.model.config.image_size
        wanted.check_size({(side, side)})
        job = await state.submit(
            TaskRequest("generate", {**wanted.fields, "prompts": [wanted.prompt]}), held, textual=False
        )
    return await _answered(request, state, job, wanted, "image_generation")


async def _edits(request: Request) -> Response:
    state = state_of(request)
    async with body_of(request, state.limits, state.budget) as (data, held):
        fields, files = await read_form(data, request.headers, state.limits)
        values: dict[str, Any] = {key: value[-1] for key, value in fields.items()}
        for key in ("n", "partial_images", "seed"):
            if str(values.get(key, "")).isdigit():
                values[key] = int(values[key])
        values["stream"] = str(values.get("stream", "false")).lower() == "true"
        wanted = _Wanted(values, _IGNORED_EDIT, state)
        task_request, size = await anyio.to_thread.run_sync(
            _edit, wanted, files, state.model.config, state.limits, limiter=state.checking
        )
        wanted.check_size({size})
        job = await state.submit(task_request, held, textual=False)
    return await _answered(request, state, job, wanted, "image_edit")


class _Wanted:
    """The fields of a request, checked."""

    def __init__(self, values: Mapping[str, Any], ignored: tuple[str, ...], state: State) -> None:
        unknown = [key for key in values if key not in (*_OWN, *ignored)]
        if unknown:
            raise UsageError(f"{unknown[0]}: is no field of this endpoint")
        self.prompt = values.get("prompt")
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise UsageError("prompt: expected text")
        name = values.get("model")
        if name not in (None, "", state.model.name):
            raise Refused(
                404, "model_not_found", f"the model {name!r} is not loaded", f"this server has {state.model.name}"
            )
        self.count = values.get("n") or 1
        if not isinstance(self.count, int) or isinstance(self.count, bool) or not 1 <= self.count <= _MOST:
            raise UsageError(f"n: expected 1 to {_MOST}, got {values.get('n')!r}")
        self.shape = values.get("response_format") or "b64_json"
        if self.shape not in ("b64_json", "url"):
            raise UsageError(f"response_format: expected b64_json or url, got {self.shape!r}")
        self.stream, self.partial = bool(values.get("stream")), values.get("partial_images") or 0
        self._size = values.get("size")
        self.fields = {"count": self.count} | ({} if values.get("seed") is None else {"seed": values["seed"]})

    def check_size(self, sizes: set[tuple[int, int]]) -> None:
        """Raises UsageError for a size that is none of these."""
        known = [f"{width}x{height}" for width, height in sizes]
        if self._size not in (None, "", "auto", *known):
            raise UsageError(f"size: expected auto or {', '.join(known)}, got {self._size!r}")


def _edit(
    wanted: _Wanted, files: list[tuple[str, Upload]], config: Any, limits: Limits
) -> tuple[TaskRequest, tuple[int, int]]:
    """The task for an edit: with a mask, what is transparent in it is painted; without, the whole image is edited."""
    images, masks = [one for key, one in files if key == "image"], [one for key, one in files if key == "mask"]
    if len(images) != 1 or len(masks) > 1:
        raise UsageError(f"expected one image and at most one mask, got {len(images)} and {len(masks)}")
    original = opened(images[0], limits)
    word = "text" if reads_text(config) else "class"
    values = {**wanted.fields, word: wanted.prompt}
    if not masks:
        alpha = original.alpha()
        if alpha is not None and (alpha < 1).any():
            return TaskRequest("inpaint", {**values, "mask_alpha": True}, images), original.size
        return TaskRequest("edit", values, images), original.size
    mask = opened(masks[0], limits)
    alpha = mask.alpha()
    if alpha is None:
        raise UsageError("mask: has no transparency; what is to be painted is transparent in it")
    levels = Image.fromarray(((1 - alpha) * 255).round().astype("uint8"))
    white = Upload(encode_image(levels, "PNG"), masks[0].name)
    return TaskRequest("inpaint", values, images, white), original.size


async def _answered(request: Request, state: State, job: Job, wanted: _Wanted, kind: str) -> Response:
    if wanted.stream:
        return StreamingResponse(_stream(state, job, wanted, kind), media_type="text/event-stream")
    await ended(request, state, job)
    data = []
    for output in job.outputs:
        if output is not None:
            text = base64.b64encode(output.data).decode()
            shown = (
                {"b64_json": text} if wanted.shape == "b64_json" else {"url": f"data:{output.media_type};base64,{text}"}
            )
            data.append({**shown, "seed": output.seed, "command": output.command})
    return JSONResponse({"created": int(time.time()), "data": data})


async def _stream(state: State, job: Job, wanted: _Wanted, kind: str) -> AsyncIterator[str]:
    """Events as OpenAI's: as many partial images as were asked for, then each finished one."""
    job.watched += 1
    sent, seen, size = 0, [0] * job.count, state.model.config.image_size
    common = {"background": "opaque", "output_format": "png", "quality": "auto", "size": f"{size}x{size}"}
    try:
        async for _ in job.news():
            shown = [one for entry in progress(job, seen)["images"] for one in entry.get("previews", ())]
            if shown and sent < wanted.partial:
                event = {"partial_image_index": sent, "b64_json": shown[0]["b64_png"]}
                yield _event(f"{kind}.partial_image", {**common, **event})
                sent += 1
        if job.error is not None:
            yield _event("error", {"error": {"message": str(job.error), "code": "failed"}})
        for output in job.outputs:
            if output is not None:
                text = base64.b64encode(output.data).decode()
                usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
                width, height = read_header(output.data).size
                done = {**common, "size": f"{width}x{height}", "b64_json": text, "usage": usage, "seed": output.seed}
                yield _event(f"{kind}.completed", done)
    finally:
        job.watched -= 1
        if not job.ended:
            state.cancel(job)


def _event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, 'created_at': int(time.time()), **data})}\n\n"
