"""What the server's endpoints share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio import CapacityLimiter

from bigr_cli import schema
from bigr_cli.errors import UsageError
from bigr_cli.serve.jobs import Job, Jobs
from bigr_cli.serve.limits import Budget, Limits
from bigr_cli.serve.operation import Operation
from bigr_cli.serve.orders import Asked, Order
from bigr_cli.serve.worker import Worker
from bigr_cli.settings import sampling_settings

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.serve.bodies import Held
    from bigr_cli.serve.gallery import Gallery


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

    async def submit(self, asked: Asked, held: Held, *, textual: bool) -> Job:
        """Check a request and queue it.

        Raises:
            UsageError: it is not what the task takes.
            QueueFull: there is no room for it.
        """
        self.jobs.check_room()
        operation = self.operations[asked.task]
        values = operation.fields.read(asked.values, textual=textual)
        checked = Asked(asked.task, values, asked.images, asked.mask)
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
