"""The model: what `bigr_cli.load` gives, and all that commands and Python code do with it.

model = bigr_cli.load("scenes-64")
images = model.generate("cat", count=4, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bigr_cli import prompts
from bigr_cli.core.condition import Labels
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.core.transformer import Generator
from bigr_cli.editing import in_memory
from bigr_cli.editing.request import Request
from bigr_cli.editing.requests import Edit, Enrich, Inpaint, Outpaint
from bigr_cli.generation import Job, Picture, Watcher, generated, plan
from bigr_cli.imaging.coding import decode_images, encode_images
from bigr_cli.prompts import Label
from bigr_cli.recipe import Recipe
from bigr_cli.runtime import memory
from bigr_cli.runtime.batches import Batches
from bigr_cli.runtime.int8 import is_int8
from bigr_cli.settings import sampling_settings
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.find import default_model, find_model
from bigr_cli.zoo.loading import load_networks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    Images = Image | Sequence[Image]
    Mask = Image | NDArray[Any] | str | Path | None


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
    placing: dict[str, Any] = {"offload": offload, "device_map": device_map, "compile": compile}
    network, config = load_networks(directory, device=device, dtype=dtype, threads=threads, **placing)
    if directory == Path(wanted).expanduser():
        return Model(network, config, folder=str(wanted))
    return Model(network, config, name=directory.name)


class Model:
    """A tokenizer and a generator with their config, on a device. Images in and out are PIL images."""

    def __init__(
        self, network: BinaryModel, config: ModelConfig, *, name: str | None = None, folder: str | None = None
    ) -> None:
        """`name` is what `load` finds it by, if it is not its config's; `folder` is where it is, if that was given."""
        self.network, self.config = network, config
        self.name, self.folder = name or config.name, folder

    @property
    def tokenizer(self) -> Tokenizer:
        """Images to codes and back, as tensors."""
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
        """The number format of the generator's weights; int8 is that of its large layers."""
        return torch.int8 if is_int8(self.generator) else self.generator.positions.dtype

    def generate(
        self, labels: Label | Sequence[Label], *, count: int = 1, seed: int | None = None, **options: Any
    ) -> list[Image]:
        """Images of these labels or texts, `count` of each, in their order.

        Args:
            labels: a label or several, each by name or number, or texts if the model reads those; None is no label.
            count: how many images of each.
            seed: of the first image; image i has seed + i. None draws one.
            options: `negative`, a label or text that guidance leads away from; `batch_size`, how many to sample at
                once, on which the images do not depend; settings of the sampler, such as `steps` and `guidance`,
                instead of the model's own.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: a setting, count or seed out of range.
        """
        return [picture.image for picture in self.generate_iter(labels, count=count, seed=seed, **options)]

    def generate_iter(
        self,
        labels: Label | Sequence[Label],
        *,
        count: int = 1,
        seed: int | None = None,
        negative: Label = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> Iterator[Picture]:
        """As `generate`, but each image as soon as its batch is done. Errors are raised by this call itself."""
        wanted = [labels] if labels is None or isinstance(labels, str | int) else list(labels)
        jobs = plan(self.config, wanted, count=count, seed=seed, negative=negative)
        return self.make(jobs, self.settings(**sampling), batch_size=batch_size)

    def make(
        self,
        jobs: Sequence[Job],
        settings: SamplingConfig,
        *,
        batch_size: int | None = None,
        watch: Watcher | None = None,
    ) -> Iterator[Picture]:
        """The images of these jobs, batch by batch; `watch` is called after each iteration of the sampler.

        A batch that does not fit into memory is halved, with a warning, and so are those after it; RunError, with the
        first image, if one alone does not fit. UsageError if the batch size is below 1.
        """
        batches = Batches(self.batch_size() if batch_size is None else batch_size)
        return generated(self.network, jobs, settings, batches, watch)

    def inpaint(self, image: Images, mask: Mask | Sequence[Mask] = None, **options: Any) -> list[Image]:
        """The image with its masked part painted anew; the rest comes back bit for bit.

        Args:
            image: of any size and mode, or several, which are sampled together.
            mask: of the same size, an image (white repaints), a file of one, or an array (H, W), bool, from 0 to 1, or
                levels; for several images one for all or one each. Instead, or besides, `mask_box`, `mask_alpha` and so
                on, as the command takes them.
            options: fields of the request (here `Inpaint`) or options of the command; settings of the sampler instead
                of the model's own; `count`, the number of variants of each image, of which variant i has seed + i;
                `seed`, of which None draws one; `batch_size`, on which the images do not depend.

        Returns:
            The variants of the first image, then those of the second, and so on.

        Raises:
            UsageError: a mask of another size, a setting, count or seed out of range; UnknownNameError: a label.
        """
        return self._edited(Inpaint, image, mask=mask, **options)

    def outpaint(self, image: Images, **options: Any) -> list[Image]:
        """The image on a canvas larger by `left`, `right`, `top`, `bottom`, or to `aspect` or `size`; see `inpaint`."""
        return self._edited(Outpaint, image, **options)

    def edit(self, image: Images, label: Label, mask: Mask | Sequence[Mask] = None, **options: Any) -> list[Image]:
        """The image with what is masked as another label; without a mask, with a share of all its tokens sampled anew.

        `strength` is the share, `from_label` what it was; see `inpaint` and `Edit`.
        """
        return self._edited(Edit, image, label=label, mask=mask, **options)

    def enrich(self, image: Images, **options: Any) -> list[Image]:
        """The image with its detail sampled anew, `scale` times larger; see `inpaint` and `Enrich`."""
        return self._edited(Enrich, image, **options)

    def interpolate(
        self, stops: Sequence[Label] | Sequence[Image], *, batch_size: int | None = None, **options: Any
    ) -> list[Image]:
        """Frames of the model's size along the path from label to label, or from image to image.

        Args:
            stops: two or more labels, or as many images.
            batch_size: how many frames to sample at once.
            options: fields of `Interpolate`, such as `frames`; settings of the sampler instead of the model's own;
                `seed`, of every frame, of which None draws one.
        """
        size = self.batch_size() if batch_size is None else batch_size
        return in_memory.interpolated(self.network, self.config, stops, batch_size=size, **options)

    def request(self, kind: type[Request], **options: Any) -> Request:
        """A request of this class, as the methods make it of their options; it can `paint`."""
        return in_memory.build(kind, self.config, options)

    def _edited(self, kind: type[Request], image: Images, *, batch_size: int | None = None, **more: Any) -> list[Image]:
        size = self.batch_size() if batch_size is None else batch_size
        return in_memory.edited(self.network, self.config, kind, image, batch_size=size, **more)

    def embed(
        self,
        images: Images | Tensor,
        layer: int | str | None = None,
        pool: str = "mean",
        label: Label = None,
        *,
        batch_size: int | None = None,
    ) -> NDArray[Any]:
        """The features of images, one row each.

        Args:
            images: of any size and mode, of which the middle square is taken, scaled to the model's size; or
                (N, 3, H, W) in [0, 1] of that size.
            layer: the block whose output is taken, 0 is the first, or "all"; None is the model's default or the middle.
            pool: "mean" over the tokens, all "tokens", or the "codes", one bit a bit.
            label: under which the generator sees them; None is no label.
            batch_size: how many to look at once.

        Returns:
            For D numbers a token: (N, D) float32 for "mean", (N, L, D) float32 for "tokens", each with an axis for the
            layers after the first if `layer` is "all"; (N, ⌈L·K / 8⌉) uint8 for "codes".

        Raises:
            UsageError: no such layer or pool, or no image. UnknownNameError: no such label. ImageError: wrong size.
        """
        from bigr_cli.representation.features import embed_images, wanted_features

        wanted = wanted_features(self.config, layer=layer, pool=pool, label=label)
        batches = Batches(self.coding_batch_size() if batch_size is None else batch_size)
        given = images if isinstance(images, torch.Tensor | Sequence) else [images]
        return embed_images(self.network, given, wanted, batches, self.config.ground)

    def encode(self, images: Images | Tensor, *, refine: int = 0) -> Tensor:
        """Images of the model's size, or (B, 3, H, W) in [0, 1] → codes (B, L, K) bool.

        `refine` steps of latent optimisation make codes that reconstruct the images better; see `core.refine`.
        ImageError if the images are not of the model's size.
        """
        return encode_images(self.network, images, refine=refine, background=self.config.ground)

    def decode(self, codes: Tensor, masked: Tensor | None = None) -> list[Image]:
        """Codes (B, L, K) → images; the bits of tokens that are masked (B, L) count as undecided, 0.5."""
        return decode_images(self.network, codes, masked)

    def sample_codes(self, labels: Labels, seeds: Tensor | Sequence[int], **options: Any) -> Tensor:
        """Sample codes (B, L, K) bool, by the model's own settings where none are given.

        Arguments and errors are those of `BinaryModel.sample_codes`.
        """
        return self.network.sample_codes(labels, seeds, **({"settings": self.config.sampling} | options))

    def label_index(self, label: Label) -> int:
        """The class that a name, a synonym or a number (as int or digits) means; see `prompts.label_index`."""
        return prompts.label_index(self.config, label)

    def settings(self, *, painting: bool = False, **sampling: Any) -> SamplingConfig:
        """The model's sampling defaults with these in their place; ConfigError if one is unknown or out of range.

        Where `painting`, the defaults are those for parts of an image that is given.
        """
        return sampling_settings(self.config, sampling, painting=painting)

    def batch_size(self) -> int:
        """How many images are sampled at once if nothing else is asked for: as many as pay and fit into memory."""
        return memory.sampling_batch_size(self.tokenizer.config, self.generator.config, self.dtype, self.device)

    def coding_batch_size(self) -> int:
        """How many images are encoded, and looked at by the generator, at once if nothing else is asked for."""
        return memory.coding_batch_size(self.tokenizer.config, self.generator.config, self.dtype, self.device)

    def drawing(self, seed: int, *, drawn: bool) -> str:
        """What commands say when they begin: the model, where and in which numbers it computes, and the first seed."""
        numbers = f"{self.device} in {str(self.dtype).removeprefix('torch.')}"
        return f"{self.name} on {numbers}, seed {seed}{' (drawn)' if drawn else ''}"

    def recipe(self, settings: SamplingConfig, *, task: str, labels: Sequence[str], seed: int, **more: Any) -> Recipe:
        """The recipe of an image made with this model; `more` are further fields of it."""
        shown = self.folder if self.folder and self.folder.isprintable() else None
        return Recipe(
            task=task,
            model=self.name,
            folder=shown,
            weights=self.config.sha256,
            labels=tuple(labels),
            condition=self.generator.config.condition,
            seed=seed,
            sampling=settings,
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            **more,
        )
