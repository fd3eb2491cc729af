"""Feature vectors of images: which ones are wanted, how they are computed, and their provenance in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bigr_cli.core.config import Prompt
from bigr_cli.errors import ImageError, ModelError, ModelFormatError, UsageError
from bigr_cli.plain_text import WHITE, Background
from bigr_cli.prompts import Label, name_of, prompt_of
from bigr_cli.runtime.memory import Batches
from bigr_cli.version import __version__
from bigr_cli.zoo.config import POOLS, ModelConfig, read_config
from bigr_cli.zoo.find import find_model, model_with_weights

if TYPE_CHECKING:
    from torch import Tensor

    from bigr_cli.core.model import BinaryModel

Pool = Literal["mean", "tokens", "codes", "grid2", "grid3", "grid4"]
CELLS: dict[str, int | None] = {**POOLS, "tokens": None}
"""Cells along a side whose tokens are averaged, by the pooling's name; None averages none."""
ALL = "all"


@dataclass(frozen=True)
class Wanted:
    """Which features of an image are wanted.

    Attributes:
        pool: "mean" over the tokens; "grid2" to "grid4": means over 2 × 2 to 4 × 4 cells of their grid, side by side;
            all "tokens"; or the "codes" themselves, packed.
        layers: the blocks whose output is taken, 0 is the first; none for codes.
        every: whether each layer has a row of its own along an axis. Without it, several are put side by side.
        label: the class, or text, under which the generator sees the image; None is none.
        label_name: its name.
        shape: of the features of one image.
    """

    pool: Pool
    layers: tuple[int, ...]
    every: bool
    label: Prompt
    label_name: str
    shape: tuple[int, ...]

    @property
    def layer(self) -> int | str | None:
        """The layer as it is asked for: a number, several ("4,6"), "all", or None for codes."""
        if not self.layers:
            return None
        if self.every:
            return ALL
        return self.layers[0] if len(self.layers) == 1 else ",".join(map(str, self.layers))

    @property
    def cells(self) -> int | None:
        """Cells along a side whose tokens are averaged; None averages none."""
        return CELLS[self.pool]

    def averaged(self, features: NDArray[Any]) -> NDArray[Any]:
        """Features (N, …) of one row of this kind, with all cells or tokens averaged: (N, layers · D)."""
        if self.cells is None:
            return features.mean(axis=-2)  # type: ignore[no-any-return]
        if self.cells == 1:
            return features
        apart = features.reshape(len(features), 1 if self.every else len(self.layers), self.cells**2, -1)
        return apart.mean(axis=2).reshape(len(features), -1)  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.pool == "codes" else np.float32)


def default_pool(config: ModelConfig) -> str:
    """How tokens are pooled where nothing else is asked for."""
    return "mean" if config.representation is None else config.representation.pool


def wanted_features(
    config: ModelConfig, *, layer: int | str | None = None, pool: str | None = None, label: Label = None
) -> Wanted:
    """What these settings mean for a model.

    Args:
        layer: the number of a block, 0 is the first, several with commas ("4,6"), or "all"; None is the model's
            default, or the middle one.
        pool: "mean", "tokens", "codes", "grid2", "grid3" or "grid4"; None is the model's default, or the mean.
        label: by name or number; None is no label.

    Raises:
        UsageError: there is no such layer or pool, the model has fewer tokens than the pool has cells, or a layer or
            label is given for codes, which have none.
        UnknownNameError: there is no such label.
    """
    kinds: tuple[Pool, ...] = get_args(Pool)
    pool = default_pool(config) if pool is None else pool
    kind = next((each for each in kinds if each == pool), None)
    if kind is None:
        raise UsageError(f"pool: expected {', '.join(kinds)}, got {pool!r}")
    prompt = prompt_of(config, label)
    generator = config.generator
    if generator is None:  # prompt_of has raised the error already; this is for the type checker
        raise UsageError(f"{config.name}: has no generator")
    if kind == "codes":
        if layer is not None or prompt is not None:
            raise UsageError("codes come from the tokenizer: they have no layer and no label")
        return Wanted(
            "codes", (), False, prompt, name_of(config, prompt), (-(-generator.tokens * generator.bits // 8),)
        )
    cells, every = CELLS[kind], layer == ALL
    if cells is not None and cells > generator.grid:
        raise UsageError(
            f"pool: {kind} needs {cells} × {cells} tokens, {config.name} has {generator.grid} × {generator.grid}"
        )
    if layer is None and config.representation is not None:
        layer = config.representation.layer
    layers = tuple(range(generator.layers)) if every else _numbers(layer, generator.layers)
    width = generator.dim * (1 if every else len(layers))
    inner = (generator.tokens, width) if cells is None else (cells * cells * width,)
    return Wanted(
        pool=kind,
        layers=layers,
        every=every,
        label=prompt,
        label_name=name_of(config, prompt),
        shape=(generator.layers, *inner) if every else inner,
    )


def embed_batch(network: BinaryModel, images: Tensor, wanted: Wanted) -> NDArray[Any]:
    """(B, 3, H, W) images in [0, 1], of the model's size → their features (B, *wanted.shape).

    Raises:
        ValueError: the images are not of the model's size.
        ModelError: features are not finite.
    """
    import torch

    from bigr_cli.core.representation import layer_features, packed

    with torch.inference_mode():
        weight = network.tokenizer.embed
        codes = network.tokenizer.encode(images.to(weight.device, weight.dtype))
        if wanted.pool == "codes":
            return packed(codes)
        labels = network.conditions([wanted.label] * len(codes))
        found = layer_features(network.generator, codes, labels, wanted.layers, cells=wanted.cells)
        features: NDArray[Any] = (found if wanted.every else side_by_side(found)).cpu().numpy()
    finite = np.isfinite(features).reshape(*features.shape[: 1 + wanted.every], -1).all(axis=-1)  # (B,) or (B, layers)
    if not finite.all():
        layer = int(np.argwhere(~finite)[:, 1].min()) if wanted.every else wanted.layer
        raise ModelError(f"layer {layer}: features are not finite", hint="--dtype float32 has a larger range")
    return features


def side_by_side(layers: Tensor) -> Tensor:
    """Features of several layers (B, layers, …, D) as one: (B, …, layers · D)."""
    import torch

    return layers[:, 0] if layers.shape[1] == 1 else torch.cat(tuple(layers.unbind(1)), dim=-1)


def embed_images(
    network: BinaryModel,
    images: Any,
    wanted: Wanted,
    batches: Batches,
    background: Background = WHITE,
    advance: Callable[[int], None] = lambda count: None,
) -> NDArray[Any]:
    """The features (N, *wanted.shape) of originals or PIL images, or of (N, 3, H, W) in [0, 1], batch by batch.

    `advance` is told how many more are done.

    Raises:
        UsageError: there is no image.
        ImageError: a tensor is not of the model's size.
    """
    import torch

    from bigr_cli.imaging.arrays import originals, to_tensor

    if len(images) == 0:
        raise UsageError("images: expected at least one image, got none")
    size = network.tokenizer.config.image_size

    def embedded(some: Any) -> NDArray[Any]:
        if not isinstance(some, torch.Tensor):
            some = to_tensor([one.square(size) for one in originals(some, background)])
        elif some.shape[1:] != (3, size, size):
            raise ImageError(f"images: expected (N, 3, {size}, {size}), got {tuple(some.shape)}")
        features = embed_batch(network, some, wanted)
        advance(len(some))
        return features

    return np.concatenate([made for _, made in batches.run(images, embedded)])


def _numbers(layer: int | str | None, count: int) -> tuple[int, ...]:
    """The layers as numbers, rising; the middle one if it is None."""
    if layer is None:
        from bigr_cli.core.representation import middle_layer

        return (middle_layer(count),)
    texts = [text.strip() for text in str(layer).split(",")]
    if not all(text.isascii() and text.isdigit() and len(text) < 6 and int(text) < count for text in texts):
        raise UsageError(f"layer: expected 0 to {count - 1} or all, or several such as 0,{count - 1}; got {layer}")
    numbers = tuple(sorted(map(int, texts)))
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"layer: names a block twice: {layer}")
    return numbers


@dataclass(frozen=True, kw_only=True)
class FeatureProvenance:
    """The model by name (and by folder, if it was given so), the SHA-256 of its weights, and which features of it."""

    model: str
    folder: str | None
    weights: dict[str, str]
    layer: int | str | None
    pool: str
    label: str
    version: str = __version__

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def wanted(self, config: ModelConfig) -> Wanted:
        """The same features, of an image yet to come."""
        return wanted_features(config, layer=self.layer, pool=self.pool, label=self.label)

    def find(self, source: str, model: str | None = None) -> tuple[str, ModelConfig]:
        """The model, as `load` takes it, with its config.

        Args:
            source: the file that asks for it, for messages.
            model: the one that the user insists on.

        Raises:
            ModelError: that one has other weights, or the model is not here.
        """
        found = model or model_with_weights(self.model, self.folder, self.weights)
        if found is not None:
            config = read_config(find_model(found))
            if not model or config.sha256 == self.weights:
                return found, config
            raise ModelError(f"{source}: was made with {self.model}, whose weights are not those of {model}")
        other = next((name for name in (self.folder, self.model) if name and _is_there(name)), None)
        if other:
            raise ModelError(f"{source}: was made with {self.model}, whose weights are not those of {other}")
        raise ModelError(f"{source}: was made with {self.model}, which is not here", hint="--model says where it is")


def _is_there(name: str) -> bool:
    try:
        return find_model(name).is_dir()
    except UsageError:
        return False


def provenance_of(wanted: Wanted, config: ModelConfig, name: str, folder: str | None) -> FeatureProvenance:
    """What is said of features of a model that is called `name`."""
    return FeatureProvenance(
        model=name,
        folder=folder,
        weights=dict(config.sha256),
        layer=wanted.layer,
        pool=wanted.pool,
        label=wanted.label_name,
    )


def parse_provenance(text: str, source: str) -> FeatureProvenance:
    """Read it from JSON; ModelFormatError, naming `source`, if it is not what `to_json` writes."""
    try:
        found: dict[str, Any] = json.loads(text)
        made = FeatureProvenance(**found)
        fits = isinstance(made.weights, dict) and isinstance(made.layer, int | str | None)
        fits = fits and all(isinstance(digest, str) for digest in made.weights.values())
        fits = fits and all(isinstance(each, str) for each in (made.model, made.pool, made.label, made.folder or ""))
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFormatError(f"{source}: does not say what it was made with ({str(error)[:200]})") from error
    if not fits:
        raise ModelFormatError(f"{source}: what it says of how it was made cannot be read")
    return made
