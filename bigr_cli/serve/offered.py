"""Which tasks are offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigr_cli.editing.request import EditRequest
from bigr_cli.serve.making import Editing, Generating, Interpolating

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.registry import Registry, Task
    from bigr_cli.serve.guard import Limits
    from bigr_cli.serve.operation import Operation


def offered(registry: Registry, model: Model, limits: Limits) -> dict[str, Operation]:
    """The operations by name: the built-in ones, and those of plugins whose request is an `EditRequest`."""
    found: dict[str, Operation] = {}
    for task in registry.tasks.values():
        operation = _operation(task, model, limits)
        if operation is not None:
            found[operation.name] = operation
    return found


def _operation(task: Task, model: Model, limits: Limits) -> Operation | None:
    name, help, origin = task.name, task.help, str(task.origin)
    if name == "generate":
        return Generating(name, help, origin, model, limits)
    if name == "interpolate":
        return Interpolating(name, help, origin, model, limits)
    kind = getattr(task.function, "request", None)
    if isinstance(kind, type) and issubclass(kind, EditRequest):
        return Editing(name, help, origin, model, limits, kind)
    return None
