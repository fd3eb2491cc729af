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


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "hint": {"type": ["string", "null"]},
                "type": {"type": "string"},
            },
        }
    },
}
_RESULT = {
    "type": "object",
    "required": ["id", "task", "state", "count", "done", "images"],
    "properties": {
        "id": {"type": "string"},
        "task": {"type": "string"},
        "state": {"type": "string", "enum": ["queued", "running", "done", "failed", "cancelled"]},
        "count": {"type": "integer"},
        "done": {"type": "integer"},
        "seconds": {"type": ["number", "null"]},
        "error": {"type": ["object", "null"]},
        "images": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "name", "media_type", "seed", "label", "recipe"],
                "properties": {
                    "index": {"type": "integer"},
                    "name": {"type": "string"},
                    "media_type": {"type": "string"},
                    "bytes": {"type": "integer"},
                    "seed": {"type": "integer"},
                    "label": {"type": "string"},
                    "command": {"type": ["string", "null"], "description": "The command that makes these bytes."},
                    "recipe": {"type": "object"},
                    "score": {"type": "number"},
                    "familiarity": {
                        "type": "object",
                        "description": "How the image compares with those that the model was trained on.",
                        "properties": {
                            "psnr": {"type": "number", "description": "Of its reconstruction, in dB."},
                            "likelihood": {"type": ["number", "null"], "description": "Of its tokens, in nats a bit."},
                            "unfamiliar": {"type": "boolean"},
                            "warning": {"type": "string"},
                        },
                    },
                    "b64_json": {"type": "string", "contentEncoding": "base64"},
                },
            },
        },
    },
}
_GENERATION = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string"},
        "model": {"type": "string"},
        "n": {"type": "integer", "minimum": 1, "maximum": 10},
        "size": {"type": "string"},
        "response_format": {"type": "string", "enum": ["b64_json", "url"]},
        "stream": {"type": "boolean"},
        "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
        "seed": {"type": "integer", "description": "Not one of OpenAI's fields."},
    },
}
_EDIT = {
    **_GENERATION,
    "required": ["prompt", "image"],
    "properties": {
        **_GENERATION["properties"],  # type: ignore[dict-item]
        "image": {"type": "string", "format": "binary"},
        "mask": {"type": "string", "format": "binary", "description": "What is transparent in it is repainted."},
    },
}


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
