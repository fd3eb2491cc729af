"""The OpenAPI document, made from the fields of the tasks' requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bigr_cli.version import __version__

if TYPE_CHECKING:
    from bigr_cli.serve.operation import Operation

_ERRORS = {
    "400": "The body is no JSON, or no form.",
    "401": "The token is missing or wrong.",
    "403": "The request is for another host, or from another site.",
    "408": "The body took too long to arrive.",
    "413": "Too many bytes or pixels.",
    "422": "A field or a file is not what the task takes.",
    "429": "The queue is full.",
    "500": "The job failed.",
}
_JOB = {"name": "job", "in": "path", "required": True, "schema": {"type": "string"}}
_INDEX = {"name": "index", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}


def openapi(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document as plain data."""
    paths: dict[str, Any] = {f"/api/v1/{one.name}": {"post": _task(one)} for one in operations}
    paths |= {
        "/api/v1/models": {"get": _get("The model that is loaded, and those that are installed.")},
        "/api/v1/tasks": {"get": _get("The tasks, with the schemas of their requests.")},
        "/api/v1/jobs": {"get": _get("The jobs that wait, run, or have ended a while ago.")},
        "/api/v1/jobs/{job}": {
            "get": _get("A job.", _JOB),
            "delete": _get("Cancel a job; it ends with the sampler's iteration.", _JOB),
        },
        "/api/v1/jobs/{job}/events": {"get": _get("Progress as server-sent events.", _JOB, kind="text/event-stream")},
        "/api/v1/jobs/{job}/images/{index}": {"get": _get("A result's file.", _JOB, _INDEX, kind="image/png")},
        "/v1/models": {"get": _get("As OpenAI's clients ask for it.")},
        "/v1/images/generations": {"post": _openai("application/json", _GENERATION)},
        "/v1/images/edits": {"post": _openai("multipart/form-data", _EDIT)},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "bigr serve", "version": __version__},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Job": _RESULT, "Error": _ERROR},
        },
        "security": [{"token": []}],
        "paths": paths,
    }


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """The schema of an object; `required` has names with spaces between."""
    return {"type": "object", "required": required.split(), "properties": properties}


def _of(kind: str | list[str], description: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind} | ({"description": description} if description else {}) | more


_TEXT, _WHOLE, _NUMBER, _BOOLEAN = map(_of, ("string", "integer", "number", "boolean"))
_ERROR = _object(
    "error", error=_object("code message", code=_TEXT, message=_TEXT, hint=_of(["string", "null"]), type=_TEXT)
)
_FAMILIARITY = _of(
    "object",
    "How the image compares with those that the model was trained on.",
    properties={
        "psnr": _of("number", "Of its reconstruction, in dB."),
        "likelihood": _of(["number", "null"], "Of its tokens, in nats a bit."),
        "unfamiliar": _BOOLEAN,
        "warning": _TEXT,
    },
)
_IMAGE = _object(
    "index name media_type seed label recipe",
    index=_WHOLE,
    name=_TEXT,
    media_type=_TEXT,
    bytes=_WHOLE,
    seed=_WHOLE,
    label=_TEXT,
    command=_of(["string", "null"], "The command that makes these bytes."),
    recipe=_of("object"),
    score=_NUMBER,
    familiarity=_FAMILIARITY,
    b64_json=_of("string", contentEncoding="base64"),
)
_RESULT = _object(
    "id task state count done images",
    id=_TEXT,
    task=_TEXT,
    state=_of("string", enum=["queued", "running", "done", "failed", "cancelled"]),
    count=_WHOLE,
    done=_WHOLE,
    seconds=_of(["number", "null"]),
    error=_of(["object", "null"]),
    images=_of("array", items=_IMAGE),
)
_GENERATION = _object(
    "prompt",
    prompt=_TEXT,
    model=_TEXT,
    n=_of("integer", minimum=1, maximum=10),
    size=_TEXT,
    response_format=_of("string", enum=["b64_json", "url"]),
    stream=_BOOLEAN,
    partial_images=_of("integer", minimum=0, maximum=3),
    seed=_of("integer", "Not one of OpenAI's fields."),
)
_EDIT = _object(
    "prompt image",
    **_GENERATION["properties"],
    image=_of("string", format="binary"),
    mask=_of("string", "What is transparent in it is repainted.", format="binary"),
)


def _task(operation: Operation) -> dict[str, Any]:
    schema = operation.schema
    form = {**schema, "properties": {name: _form_part(name, one) for name, one in schema["properties"].items()}}
    content = {"application/json": {"schema": schema}}
    if "image" in schema["properties"] or "images" in schema["properties"]:
        content["multipart/form-data"] = {"schema": form}
    if "image" in schema["properties"]:
        content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
    prefer = {
        "name": "Prefer",
        "in": "header",
        "description": "respond-async: answer at once with the job.",
        "schema": {"type": "string", "enum": ["respond-async"]},
    }
    return {
        "operationId": operation.name,
        "summary": operation.help,
        "parameters": [prefer],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": _response("The results.", "application/json", {"$ref": "#/components/schemas/Job"}),
            "202": _response("The job.", "application/json", {"$ref": "#/components/schemas/Job"}),
            **_errors(),
        },
    }


def _form_part(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "string", "format": "binary"} if name in ("image", "mask") else schema


def _openai(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": "As OpenAI's clients ask for it.",
        "requestBody": {"required": True, "content": {kind: {"schema": schema}}},
        "responses": {"200": _response("created, and data with b64_json.", "application/json", {"type": "object"})}
        | _errors(),
    }


def _get(summary: str, *parameters: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    shape = {"type": "object"} if kind == "application/json" else {"type": "string"}
    found: dict[str, Any] = {"summary": summary, "responses": {"200": _response(summary, kind, shape)} | _errors("401")}
    return found | ({"parameters": list(parameters)} if parameters else {})


def _errors(*statuses: str) -> dict[str, Any]:
    return {
        status: _response(text, "application/json", {"$ref": "#/components/schemas/Error"})
        for status, text in _ERRORS.items()
        if not statuses or status in statuses
    }


def _response(description: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}
