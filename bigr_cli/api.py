"""The package from Python: a model that is loaded once and asked many times.

model = bigr_cli.load("scenes-64")
images = model.generate("cat", count=4, seed=0)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bigr_cli import device as devices
from bigr_cli import request
from bigr_cli.batches import Batches
from bigr_cli.core.compiled import check_compiler, compile_networks
from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.representing import Representing
from bigr_cli.request import Job, Label
from bigr_cli.retouching import Retouching
from bigr_cli.zoo.find import default_model, find_model
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.spread import Spread

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# Called after each iteration with the batch's jobs, the iteration (from 0), codes (B, L, K) and what is masked (B, L).
Watcher = Callable[[Sequence[Job], int, "Tensor", "Tensor"], None]
Labels = Label | Sequence[Label]


@dataclass(frozen=True)
class Picture:
    """A picture that was generated: its label, its place in the request, its seed, and how long it took."""

    image: Image
    label: str
    index: int
    seed: int
    seconds: float


def load(
    name_or_dir: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    offload: bool = False,
    device_map: str | None = None,
    compile: bool = False,
) -> Model:
    """A model, ready to use.

    Args:
        name_or_dir: a model's name or folder; None is the default model.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto", "float32", "bfloat16", "float16" or "int8", for the generator; the tokenizer stays in float32.
        threads: how many CPU threads torch may use; None leaves that to torch.
        offload: keep the transformer's blocks outside of the device's memory, and bring each when it is its turn.
        device_map: "auto" does so with the blocks that have no room, and uses all GPUs.
        compile: have torch compile the generator for the GPU, which happens when it is first used.

    Raises:
        UsageError: two of `offload`, `device_map` and `compile` are given, or a `device_map` that there is not.
        ModelError: there is no such model, or it is damaged.
        DeviceError: there is no such device or format here, or it cannot compile.
    """
    wanted = default_model() if name_or_dir is None else name_or_dir
    directory = find_model(wanted)
    if device_map not in (None, "auto"):
        raise UsageError(f"device_map: expected auto, got {device_map!r}")
    if offload and device_map:
        raise UsageError("--offload and --device-map exclude each other")
    if compile and (offload or device_map):
        raise UsageError("--compile: layers that are kept elsewhere cannot be compiled")
    spread: Spread | None = "offload" if offload else "auto" if device_map else None
    devices.set_threads(threads)
    chosen = devices.select_device(device)
    if compile:
        check_compiler(chosen)
    kind = devices.select_dtype(dtype, chosen)
    if kind is torch.int8 and spread is not None:
        raise UsageError("int8 layers cannot be kept elsewhere", hint="--offload and --device-map take other formats")
    # Decoding is a small part of the work, and its rounding would be seen.
    network, config = load_model(directory, device=chosen, dtype=kind, tokenizer_dtype=torch.float32, spread=spread)
    if compile:
        compile_networks(network.generator)
    if directory == Path(wanted).expanduser():
        return Model(network, config, folder=str(wanted))
    return Model(network, config, name=directory.name)


class Model(Retouching, Representing):
    """A model that is loaded: pictures from labels, and what `Retouching` and `Representing` do with pictures."""

    def generate(
        self,
        labels: Labels,
        *,
        count: int = 1,
        seed: int | None = None,
        negative: Label = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """Pictures of these labels or texts, `count` of each, as PIL images in their order.

        Args:
            labels: a label or several, each by name or number, or texts if the model reads those; None is no label.
            count: how many pictures of each.
            negative: a label, or text, that guidance leads away from.
            seed: of the first picture; picture i has seed + i. None draws one.
            batch_size: how many to draw at once; the pictures do not depend on it.
            sampling: settings of the sampler, such as `steps` and `guidance`, instead of the model's own.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: a setting, count or seed out of range.
        """
        more: dict[str, Any] = {"negative": negative, "batch_size": batch_size, **sampling}
        pictures = self.generate_iter(labels, count=count, seed=seed, **more)
        return [picture.image for picture in pictures]

    def generate_iter(
        self,
        labels: Labels,
        *,
        count: int = 1,
        seed: int | None = None,
        negative: Label = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> Iterator[Picture]:
        """As `generate`, but each picture as soon as its batch is done. Errors are raised by this call itself."""
        wanted = [labels] if labels is None or isinstance(labels, str | int) else list(labels)
        jobs = request.plan(self.config, wanted, count=count, seed=seed, negative=negative)
        return self.make(jobs, self.settings(**sampling), batch_size=batch_size)

    def make(
        self,
        jobs: Sequence[Job],
        settings: SamplingConfig,
        *,
        batch_size: int | None = None,
        watch: Watcher | None = None,
    ) -> Iterator[Picture]:
        """The pictures of these jobs, batch by batch; `watch` is called after each iteration of the sampler.

        A batch that does not fit into memory is halved, with a warning, and so are those after it.

        Raises:
            UsageError: the batch size is below 1.
            RunError: there is too little memory for one picture. It comes with the first picture.
        """
        batches = Batches(self.batch_size() if batch_size is None else batch_size)
        return self._made(jobs, settings, batches, watch)

    def _made(
        self, jobs: Sequence[Job], settings: SamplingConfig, batches: Batches, watch: Watcher | None
    ) -> Iterator[Picture]:
        start = time.perf_counter()
        for batch, codes in batches.run(jobs, lambda batch: self._drawn(batch, settings, watch)):
            images = self.decode(codes)
            seconds = (time.perf_counter() - start) / len(batch)
            for job, image in zip(batch, images, strict=True):
                yield Picture(image, job.label, job.index, job.seed, seconds)
            start = time.perf_counter()

    def _drawn(self, jobs: Sequence[Job], settings: SamplingConfig, watch: Watcher | None) -> Tensor:
        return self.sample_codes(
            self.network.conditions([job.guide for job in jobs]),
            [job.seed for job in jobs],
            against=self.network.conditions([job.against for job in jobs]),
            observe=(lambda i, codes, masked: watch(jobs, i, codes, masked)) if watch else None,
            settings=settings,
        )
