"""What a running server holds: its model, jobs and limits, and the images that it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import CapacityLimiter

from bigr_cli import schema
from bigr_cli.errors import ImageError, RunError, UsageError
from bigr_cli.files import reading, writing
from bigr_cli.imaging.files import write_bytes
from bigr_cli.serve.guard import Budget, Limits
from bigr_cli.serve.jobs import Job, Jobs
from bigr_cli.serve.operation import Operation
from bigr_cli.serve.orders import Asked, Order
from bigr_cli.serve.worker import Worker
from bigr_cli.settings import sampling_settings

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.serve.bodies import Held


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
