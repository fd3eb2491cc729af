"""How well a tokenizer reconstructs images, image by image, with memory for a batch and no more."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bigr_cli import console
from bigr_cli.core.tokenizer import Tokenizer, refined
from bigr_cli.data.loading import as_floats
from bigr_cli.data.sources import SCENES
from bigr_cli.errors import RunError, UsageError
from bigr_cli.evaluation.extractors import LPIPS, Extractor, lpips_at_hand
from bigr_cli.evaluation.fidelity import check_counts
from bigr_cli.evaluation.generation import Evaluator, versions
from bigr_cli.evaluation.image_sets import ImageSet, folder, scenes
from bigr_cli.evaluation.reconstruction import RECONSTRUCTION, BitCounts, ReconstructionMetric
from bigr_cli.imaging.montage import grid
from bigr_cli.runtime import memory
from bigr_cli.runtime.memory import Batches
from bigr_cli.zoo.config import TOKENIZER_FILE, ModelConfig

MANY = 5000  # scenes, unless another number is asked for
SHOWN = 16  # of the worst images
_AT_ONCE = 64
ALL = tuple(RECONSTRUCTION.values())
_ORDER = "psnr"  # the metric by which images are the worst


@dataclass(frozen=True)
class Reconstructions:
    """What was measured of a tokenizer: figures, the values of every image, use of the bits, and the worst images.

    `worst` has pairs of original and reconstruction (H, W, 3) uint8 with the PSNR, the lowest first.
    """

    figures: dict[str, float | None]
    psnr: list[float]
    counts: BitCounts
    worst: list[tuple[float, NDArray[np.uint8], NDArray[np.uint8]]]

    def sheet(self, columns: int = 8) -> Image.Image:
        """The worst images, each original above its reconstruction."""
        pairs = [grid([Image.fromarray(one), Image.fromarray(two)], columns=1) for _, one, two in self.worst]
        return grid(pairs, columns=columns, labels=[f"{value:.1f} dB" for value, _, _ in self.worst])


@dataclass
class Seen:
    """What metrics have kept of the images that have come through so far, and `what` they are called in messages."""

    what: str
    counts: BitCounts
    values: dict[str, list[Any]] = field(default_factory=dict)
    worst: list[tuple[float, int, NDArray[np.uint8], NDArray[np.uint8]]] = field(default_factory=list)


@dataclass(frozen=True)
class Pairs:
    """A batch of images and their reconstructions, (B, 3, H, W) uint8 each, and the networks that compare them."""

    given: Tensor
    made: Tensor
    device: torch.device
    lpips: nn.Module | None
    network: nn.Module | None

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both as (B, H, W, 3)."""
        given, made = (part.permute(0, 2, 3, 1).contiguous().numpy() for part in (self.given, self.made))
        return given, made

    def through_lpips(self) -> Tensor:
        """LPIPS of each pair; ValueError without the network."""
        if self.lpips is None:
            raise ValueError("pairs: there is no LPIPS")
        found: Tensor = self.lpips(self.given.to(self.device), self.made.to(self.device))
        return found

    def features(self) -> tuple[Tensor, Tensor]:
        """Features (B, D) of the images and of the reconstructions; ValueError without an extractor."""
        if self.network is None:
            raise ValueError("pairs: there is no extractor")
        given, made = (self.network(part.to(self.device))[0].float().cpu() for part in (self.given, self.made))
        return given, made


@torch.inference_mode()
def reconstructed(tokenizer: Tokenizer, images: Tensor, refine: int = 0) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) uint8 → reconstructions, likewise, on the CPU, and the codes (B, L, K) in between."""
    given = as_floats(images.to(tokenizer.embed.device))
    codes = refined(tokenizer, given, tokenizer.bit_logits(given), refine)
    return tokenizer.decode(codes).clamp(0, 1).mul(255).round().byte().cpu(), codes.cpu()


def images_to_reconstruct(data: str, size: int, count: int | None) -> ImageSet:
    """The images of a folder, or unseen scenes, at a tokenizer's size; errors as `image_sets.folder`."""
    return scenes(size, count or MANY) if data == SCENES else folder(data, count=count, resize=size)


def distance_extractor(
    evaluator: Evaluator,
    data: str,
    sets: Sequence[ImageSet],
    metrics: Sequence[ReconstructionMetric] = ALL,
    *,
    asked: bool = False,
) -> Extractor | None:
    """What the metrics that compare features take them from; None if there is no such metric.

    None too, and a warning, where neither the metrics were `asked` for nor an extractor, and none is at hand.
    """
    if all(metric.needs != "features" for metric in metrics):
        return None
    try:
        extractor = evaluator.open(scenes=data == SCENES)
        for image_set in sets:
            extractor.check_size(image_set.width, image_set.height, image_set.what)
    except UsageError as error:
        if asked or evaluator.asked:
            raise
        console.warn(f"rFID is left out: {error}")
        return None
    for image_set in sets:
        check_counts(("fid",), [(image_set.what, image_set.count)])
    return extractor


def lpips_of(
    device: torch.device, metrics: Sequence[ReconstructionMetric] = ALL, *, fetch: bool, asked: bool = False
) -> Any:
    """LPIPS if a metric needs it and its weights are here or may be fetched; UsageError where it was asked for."""
    if all(metric.needs != "lpips" for metric in metrics):
        return None
    if fetch or lpips_at_hand():
        return load_lpips(device)
    if asked:
        raise UsageError("lpips: its weights are not here", hint="--fetch-weights downloads them")
    return None


def reconstruction_record(
    tokenizer: Tokenizer,
    config: ModelConfig,
    image_set: ImageSet,
    *,
    where: str,
    extractor: Extractor | None,
    lpips: Any,
    batch: int | None,
    refine: int | None,
    metrics: Sequence[ReconstructionMetric] = ALL,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[dict[str, Any], Reconstructions]:
    """How well a tokenizer reconstructs images: the figures with everything that they depend on, and all measured.

    Args:
        where: its model's folder or name.
        batch: images at once; None is as many as fit.
        refine: steps of latent optimisation; None is what the model's config says.
    """
    began, device = time.perf_counter(), tokenizer.embed.device
    refine = config.refine if refine is None else refine
    each = memory.refining_bytes(config.tokenizer) if refine else memory.coding_bytes(config.tokenizer)
    made = measure_tokenizer(
        tokenizer,
        image_set,
        extractor=extractor,
        lpips=lpips,
        batch=batch or min(_AT_ONCE, memory.fitting(each, memory.free_memory(device))),
        shown=min(SHOWN, image_set.count),
        refine=refine,
        metrics=metrics,
        advance=advance,
    )
    record = {
        "model": config.name,
        "folder": where,
        "weights": config.sha256.get(TOKENIZER_FILE),
        "tokens": tokenizer.config.grid**2,
        "bits": tokenizer.config.bits,
        "refine": refine,
        **made.figures,
        "pictures": image_set.record(),
        "extractor": extractor and {**extractor.provenance, "layer": extractor.layers["fid"]},
        "lpips_by": None if lpips is None else f"torch-fidelity, {LPIPS}",
        "device": device.type,
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 3),
    }
    return record, made


def measure_tokenizer(
    tokenizer: Tokenizer,
    image_set: ImageSet,
    *,
    extractor: Extractor | None,
    lpips: nn.Module | None,
    batch: int,
    shown: int,
    refine: int = 0,
    metrics: Sequence[ReconstructionMetric] = ALL,
    advance: Callable[[int], None],
) -> Reconstructions:
    """Encode and decode images of the tokenizer's size, and compare the reconstructions, rounded to 8 bits.

    Args:
        extractor: whose features the Fréchet distance is taken of; None leaves it out.
        lpips: as `load_lpips` gives it; None leaves it out.
        batch: images at once.
        shown: how many of the worst images are kept.
        refine: steps of latent optimisation, from the encoder's codes.
        metrics: which figures; those of a metric whose network is None are None.

    Raises:
        UsageError: there are too few images, or features are not finite.
    """
    device, config = tokenizer.embed.device, tokenizer.config
    network = extractor.network(("fid",), device) if extractor is not None else None
    if network is not None:
        check_counts(("fid",), [(image_set.what, image_set.count)])
    without = {name for name, found in (("lpips", lpips), ("features", network)) if found is None}
    known = [metric for metric in metrics if metric.needs not in without]
    seen, batches = Seen(image_set.what, BitCounts(config.bits)), Batches(batch)
    with torch.inference_mode():
        for images in image_set.batches(batch):
            for some, (made, codes) in batches.run(images, lambda some: reconstructed(tokenizer, some, refine)):
                seen.counts.add(codes)
                _compare(seen, Pairs(some, made, device, lpips, network), known, shown)
                advance(len(some))
    worst = [(-value, one, two) for value, _, one, two in sorted(seen.worst, reverse=True)]
    figures: dict[str, float | None] = {
        "bits_per_pixel": config.grid**2 * config.bits / (image_set.width * image_set.height)
    }
    for metric in metrics:
        missing = metric.needs in without
        figures |= {one.key: None for one in metric.columns} if missing else metric.whole(seen)
    return Reconstructions(figures, seen.values[_ORDER], seen.counts, worst)


def load_lpips(device: torch.device) -> nn.Module:
    """torch-fidelity's LPIPS, for pairs of uint8 images; RunError if its weights cannot be fetched."""
    from torch_fidelity.utils import create_sample_similarity

    try:
        made: nn.Module = create_sample_similarity(LPIPS, cuda=False, verbose=False).to(device)
    except OSError as error:
        raise RunError(f"{LPIPS}: its weights could not be fetched ({error})") from error
    except (RuntimeError, EOFError) as error:
        raise UsageError(f"{LPIPS}: the weights in torch's cache are damaged ({error})") from error
    return made


def _compare(seen: Seen, pairs: Pairs, metrics: Sequence[ReconstructionMetric], shown: int) -> None:
    """What each metric keeps of a batch; the PSNR always, by which the worst pairs are known."""
    by_name = {_ORDER: RECONSTRUCTION[_ORDER]} | {metric.name: metric for metric in metrics}
    found = {name: list(metric.each(pairs)) for name, metric in by_name.items() if metric.each is not None}
    start = len(seen.values.get(_ORDER, ()))
    for number, (value, one, two) in enumerate(zip(found[_ORDER], *pairs.arrays(), strict=True), start):
        entry = (-value, -number, one, two)  # the numbers differ, so no two arrays are compared
        (heapq.heappush if len(seen.worst) < shown else heapq.heappushpop)(seen.worst, entry)
    for name, values in found.items():
        seen.values.setdefault(name, []).extend(values)
