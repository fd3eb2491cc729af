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
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.core.transformer import Generator
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.arrays import to_images, to_tensor
from bigr_cli.imaging.recipe import Recipe
from bigr_cli.request import Job, Label
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.find import default_model, find_model
from bigr_cli.zoo.folder import load_model, load_tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# Called after each iteration with the batch's jobs, the iteration (from 0), codes (B, L, K) and what is masked (B, L).
Watcher = Callable[[Sequence[Job], int, "Tensor", "Tensor"], None]
Labels = Label | Sequence[Label]

_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16384, "mps": 4096}


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
) -> Model:
    """A model, ready to use.

    Args:
        name_or_dir: a model's name or folder; None is the default model.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16", for the generator; the tokenizer stays in float32.
        threads: how many CPU threads torch may use; None leaves that to torch.

    Raises:
        ModelError: there is no such model, or it is damaged.
        DeviceError: there is no such device or format here.
    """
    wanted = default_model() if name_or_dir is None else name_or_dir
    directory = find_model(wanted)
    devices.set_threads(threads)
    chosen = devices.select_device(device)
    kind = devices.select_dtype(dtype, chosen)
    network, config = load_model(directory, device=chosen, dtype=kind)
    if kind is not torch.float32:  # decoding is a small part of the work, and its rounding would be seen
        network.tokenizer = load_tokenizer(directory, device=chosen)[0]
    if directory == Path(wanted).expanduser():
        return Model(network, config, folder=str(wanted))
    return Model(network, config, name=directory.name)


class Model:
    """A tokenizer and a generator with their config, on a device."""

    def __init__(
        self, network: BinaryModel, config: ModelConfig, *, name: str | None = None, folder: str | None = None
    ) -> None:
        """`name` is what `load` finds it by, if it is not its config's; `folder` is where it is, if that was given."""
        self.network = network
        self.config = config
        self.name = name or config.name
        self.folder = folder

    @property
    def tokenizer(self) -> Tokenizer:
        """Pictures to codes and back, as tensors."""
        return self.network.tokenizer

    @property
    def generator(self) -> Generator:
        """The transformer and its transcoder."""
        return self.network.generator

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; empty if they have none."""
        return self.config.labels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.generator.positions.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the generator's weights."""
        return self.generator.positions.dtype

    def sample_codes(
        self, labels: Tensor | tuple[Tensor, ...], seeds: Tensor | Sequence[int], **options: Any
    ) -> Tensor:
        """Draw codes (B, L, K) bool, by the model's own settings where none are given.

        Arguments and errors are those of `BinaryModel.sample_codes`.
        """
        return self.network.sample_codes(labels, seeds, **(vars(self.config.sampling) | options))

    def label_index(self, label: Label) -> int:
        """The class that a name, a synonym or a number (as int or digits) means; see `request.label_index`."""
        return request.label_index(self.config, label)

    def settings(self, **sampling: Any) -> SamplingConfig:
        """The model's sampling defaults with these in their place; ConfigError if one is unknown or out of range."""
        return request.settings(self.config, sampling)

    def generate(
        self,
        labels: Labels,
        *,
        count: int = 1,
        seed: int | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """Pictures of these labels, `count` of each, as PIL images in their order.

        Args:
            labels: a label or several, each by name or number; None is no label.
            count: how many pictures of each.
            seed: of the first picture; picture i has seed + i. None draws one.
            batch_size: how many to draw at once; the pictures do not depend on it.
            sampling: settings of the sampler, such as `steps` and `guidance`, instead of the model's own.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: a setting, count or seed out of range.
        """
        pictures = self.generate_iter(labels, count=count, seed=seed, batch_size=batch_size, **sampling)
        return [picture.image for picture in pictures]

    def generate_iter(
        self,
        labels: Labels,
        *,
        count: int = 1,
        seed: int | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> Iterator[Picture]:
        """As `generate`, but each picture as soon as its batch is done. Errors are raised by this call itself."""
        wanted = [labels] if labels is None or isinstance(labels, str | int) else list(labels)
        jobs = request.plan(self.config, wanted, count=count, seed=seed)
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

        Raises:
            UsageError: the batch size is below 1.
        """
        size = self.batch_size() if batch_size is None else batch_size
        if size < 1:
            raise UsageError(f"batch_size: expected at least 1, got {size}")
        batches = (jobs[start : start + size] for start in range(0, len(jobs), size))
        return (picture for batch in batches for picture in self._batch(batch, settings, watch))

    def batch_size(self) -> int:
        """How many pictures are drawn at once if nothing else is asked for."""
        tokens = _TOKENS_AT_ONCE.get(self.device.type, _TOKENS_AT_ONCE["cpu"])
        return max(1, min(64, tokens // self.generator.config.tokens))

    def encode(self, images: Image | Sequence[Image] | Tensor) -> Tensor:
        """Pictures of the model's size, or (B, 3, H, W) in [0, 1] → codes (B, L, K) bool.

        Raises:
            ImageError: the pictures are not of the model's size.
        """
        if not isinstance(images, torch.Tensor):
            images = to_tensor(list(images) if isinstance(images, Sequence) else [images])
        size = self.config.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ImageError(f"images: expected (B, 3, {size}, {size}), got {tuple(images.shape)}")
        with torch.inference_mode():
            return self.tokenizer.encode(images.to(self.device, self.tokenizer.embed.dtype))

    def decode(self, codes: Tensor, masked: Tensor | None = None) -> list[Image]:
        """Codes (B, L, K) → pictures; the bits of tokens that are masked (B, L) count as undecided, 0.5.

        Raises:
            ValueError: they do not fit the model.
        """
        if masked is not None:
            codes = torch.where(masked[..., None], 0.5, codes.float())
        with torch.inference_mode():
            # One at a time, because a convolution may round differently in a larger batch.
            return [to_images(self.tokenizer.decode(one.to(self.device)[None]))[0] for one in codes]

    def recipe(self, settings: SamplingConfig, *, task: str, labels: Sequence[str], seed: int, **more: Any) -> Recipe:
        """The recipe of a picture made with this model; `more` are further fields of it."""
        shown = self.folder if self.folder and self.folder.isprintable() else None
        return Recipe(
            task=task,
            model=self.name,
            folder=shown,
            weights=self.config.sha256,
            labels=tuple(labels),
            seed=seed,
            sampling=settings,
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            **more,
        )

    def _batch(self, jobs: Sequence[Job], settings: SamplingConfig, watch: Watcher | None) -> Iterator[Picture]:
        start = time.perf_counter()
        codes = self.sample_codes(
            torch.tensor([job.class_index for job in jobs]),
            [job.seed for job in jobs],
            observe=(lambda i, codes, masked: watch(jobs, i, codes, masked)) if watch else None,
            **vars(settings),
        )
        images = self.decode(codes)
        seconds = (time.perf_counter() - start) / len(jobs)
        for job, image in zip(jobs, images, strict=True):
            yield Picture(image, job.label, job.index, job.seed, seconds)
