"""`/api/v1`: one endpoint a task, jobs with their progress, the model, the tasks, and the images that were given."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.serve import requests
from bigr_cli.serve.jobs import Job, Output
from bigr_cli.serve.openapi import openapi
from bigr_cli.serve.requests import Refused, body_of, displayed
from bigr_cli.zoo.find import list_models

if TYPE_CHECKING:
    from starlette.requests import Request

    from bigr_cli.serve.app import State
    from bigr_cli.serve.requests import TaskRequest

_PING = 15.0  # seconds after which a stream without news says that it is alive


def routes() -> list[Route]:
    """All of `/api/v1`."""
    return [
        Route("/api/v1/openapi.json", _openapi),
        Route("/api/v1/models", _models),
        Route("/api/v1/tasks", _tasks),
        Route("/api/v1/images", _images),
        Route("/api/v1/images/{index:int}", _image),
        Route("/api/v1/images/{index:int}/results", _save, methods=["POST"]),
        Route("/api/v1/display", _display, methods=["POST"]),
        Route("/api/v1/jobs", _jobs),
        Route("/api/v1/jobs/{job}", _job, methods=["GET", "DELETE"]),
        Route("/api/v1/jobs/{job}/events", _events),
        Route("/api/v1/jobs/{job}/images/{index:int}", _result),
        Route("/api/v1/{task}", _task, methods=["POST"]),
    ]


def state_of(request: Request) -> State:
    """What the endpoints share."""
    state: State = request.app.state.shared
    return state


async def _task(request: Request) -> Response:
    state, task = state_of(request), request.path_params["task"]
    if task not in state.operations:
        error = UnknownNameError("task", task, state.operations)
        raise Refused(404, "task", str(error), f"tasks are {', '.join(state.operations)}")
    raw = wants_raw(request)
    async with body_of(request, state.limits, state.budget) as (data, held):
        task_request, textual = await _task_request(request, task, data, state)
        del data
        job = await state.submit(task_request, held, textual=textual)
        del task_request
    if "respond-async" in request.headers.get("prefer", ""):
        headers = {"location": f"/api/v1/jobs/{job.id}", "preference-applied": "respond-async"}
        return JSONResponse(job.described(), status_code=202, headers=headers)
    await ended(request, state, job)
    return _raw(job) if raw else JSONResponse(answer(job))


async def _task_request(request: Request, task: str, data: bytes, state: State) -> tuple[TaskRequest, bool]:
    """The request in its form, and whether its fields are text."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == "application/json":
        return requests.from_json(task, await requests.read_json(data or b"{}")), False
    if kind == "multipart/form-data":
        return requests.from_form(task, *await requests.read_form(data, request.headers, state.limits)), True
    if kind.startswith("image/") or kind == "application/octet-stream":
        query = {key: request.query_params.getlist(key) for key in request.query_params}
        return requests.from_raw(task, data, query), True
    raise Refused(415, "type", f"{kind}: expected application/json, multipart/form-data or an image")


def wants_raw(request: Request) -> bool:
    """Whether the client asks for the file itself rather than for JSON."""
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    return any(part.startswith(("image/", "video/")) for part in accepted) and "application/json" not in accepted


async def ended(request: Request, state: State, job: Job) -> None:
    """Wait for a job; a client that hangs up does not want it any more."""
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            state.cancel(job)

        group.start_soon(watch)
        await job.wait()
        group.cancel_scope.cancel()
    state.jobs.tidy()
    if job.error is not None:
        raise job.error


def answer(job: Job) -> dict[str, Any]:
    """A job with its files."""
    found = job.described()
    for entry in found["images"]:
        entry["b64_json"] = base64.b64encode(result_of(job, entry["index"]).data).decode()
    return found


def result_of(job: Job, index: int) -> Output:
    """A finished result; Refused (404) if there is none of this number."""
    output = job.outputs[index] if 0 <= index < job.count else None
    if output is None:
        raise Refused(404, "image", f"job {job.id} has no image {index}")
    return output


def _raw(job: Job) -> Response:
    if job.count != 1:
        raise Refused(406, "accept", f"{job.count} images are no single file; ask for application/json")
    output = result_of(job, 0)
    headers = {"x-bigr-seed": str(output.seed), "content-disposition": "inline"}
    return Response(output.data, media_type=output.media_type, headers=headers)


def _job_of(request: Request) -> Job:
    job = state_of(request).jobs.get(request.path_params["job"])
    if job is None:
        raise Refused(404, "job", "there is no such job, or it is too long ago")
    return job


async def _jobs(request: Request) -> Response:
    return JSONResponse({"jobs": [job.described() for job in state_of(request).jobs.listed()]})


async def _job(request: Request) -> Response:
    job = _job_of(request)
    if request.method == "DELETE":
        state_of(request).cancel(job)
        with anyio.move_on_after(2.0):  # an iteration, mostly
            await job.wait()
    return JSONResponse(job.described(), status_code=200 if job.ended or request.method == "GET" else 202)


async def _result(request: Request) -> Response:
    output = result_of(_job_of(request), request.path_params["index"])
    data, kind = output.data, output.media_type
    if request.query_params.get("display") == "true" and kind == "image/tiff":
        state = state_of(request)
        data = await anyio.to_thread.run_sync(displayed, data, output.name, state.limits, limiter=state.checking)
        kind = "image/png"
    return Response(data, media_type=kind)


async def _events(request: Request) -> Response:
    return StreamingResponse(_stream(_job_of(request)), media_type="text/event-stream")


async def _stream(job: Job) -> AsyncIterator[str]:
    """Events `progress` with previews, and in the end `end` with the job; a slow client misses some of them."""
    job.watched += 1
    seen = [0] * job.count
    try:
        news = job.news()
        while True:
            try:
                with anyio.fail_after(_PING):
                    await anext(news)
            except TimeoutError:  # which ended the generator; a new one has news at once, so the stream stays alive
                news = job.news()
                continue
            except StopAsyncIteration:
                break
            yield _event("progress", progress(job, seen))
        yield _event("end", job.described())
    finally:
        job.watched -= 1


def progress(job: Job, seen: list[int]) -> dict[str, Any]:
    """How far a job is, with previews of what has changed since `seen`."""
    pieces = []
    for index, piece in enumerate(job.pieces):
        entry: dict[str, Any] = {"index": index, "run": piece.run, "iteration": piece.iteration, "steps": piece.steps}
        if piece.version != seen[index]:
            seen[index] = piece.version
            entry["previews"] = [
                {"box": shown.box, "b64_png": base64.b64encode(shown.png).decode()} for shown in piece.previews
            ]
        pieces.append(entry | {"done": job.outputs[index] is not None})
    return {"id": job.id, "state": job.state, "images": pieces}


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def _models(request: Request) -> Response:
    state = state_of(request)
    loaded = state.described()
    entries = await anyio.to_thread.run_sync(list_models)
    others = [{"name": one.name, "state": one.state, "loaded": one.name == loaded["name"]} for one in entries]
    return JSONResponse({"loaded": loaded, "models": others})


async def _tasks(request: Request) -> Response:
    found = [
        {"name": one.name, "help": one.help, "from": one.origin, "schema": one.schema}
        for one in state_of(request).operations.values()
    ]
    return JSONResponse({"tasks": found})


async def _openapi(request: Request) -> Response:
    return JSONResponse(openapi(state_of(request).operations.values()))


async def _images(request: Request) -> Response:
    return JSONResponse({"images": state_of(request).gallery.described()})


async def _image(request: Request) -> Response:
    state = state_of(request)
    name, data = await anyio.to_thread.run_sync(state.gallery.read, request.path_params["index"], state.limits.body)
    return Response(
        data, media_type="application/octet-stream", headers={"x-bigr-name": name.encode("ascii", "replace").decode()}
    )


async def _save(request: Request) -> Response:
    state = state_of(request)
    async with body_of(request, state.limits, state.budget) as (data, _):
        values = await requests.read_json(data)
    job, index = state.jobs.get(str(values.get("job"))), values.get("index", 0)
    if job is None or not isinstance(index, int):
        raise UsageError("expected the id of a job and the index of one of its images")
    output = result_of(job, index)
    name = await anyio.to_thread.run_sync(state.gallery.save, request.path_params["index"], output.name, output.data)
    return JSONResponse({"name": name}, status_code=201)


async def _display(request: Request) -> Response:
    state = state_of(request)
    async with body_of(request, state.limits, state.budget) as (data, _):
        name = request.query_params.get("name", "image.png")
        shown = await anyio.to_thread.run_sync(displayed, data, name, state.limits, limiter=state.checking)
    return Response(shown, media_type="image/png")
