"""How well a tokenizer gives pictures back, picture by picture, with memory for a batch and no more."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bigr_cli import console
from bigr_cli.core.refine import refined
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.loading import as_floats
from bigr_cli.data.sources import SCENES
from bigr_cli.errors import RunError, UsageError
from bigr_cli.evaluation.extractors import Extractor
from bigr_cli.evaluation.fidelity import check_counts, check_finite, frechet_distance
from bigr_cli.evaluation.generation import Evaluator, versions
from bigr_cli.evaluation.image_sets import PictureSet, folder, scenes
from bigr_cli.evaluation.pretrained import LPIPS, lpips_at_hand
from bigr_cli.evaluation.reconstruction import BitCounts, psnr
from bigr_cli.imaging.grids import grid
from bigr_cli.runtime import memory
from bigr_cli.runtime.batches import Batches
from bigr_cli.zoo.config import TOKENIZER_FILE, ModelConfig

MANY = 5000  # scenes, unless another number is asked for
SHOWN = 16  # of the worst images
_AT_ONCE = 64
_EXCEEDED = 5  # the percentile that 95 % of the pictures exceed


@dataclass(frozen=True)
class Rebuilt:
    """What was measured of a tokenizer: figures, the values of every picture, use of the bits, and the worst pictures.

    `worst` has pairs of original and reconstruction (H, W, 3) uint8 with the PSNR, the lowest first.
    """

    figures: dict[str, float | None]
    psnr: list[float]
    counts: BitCounts
    worst: list[tuple[float, NDArray[np.uint8], NDArray[np.uint8]]]

    def sheet(self, columns: int = 8) -> Image.Image:
        """The worst pictures, each original above what came back."""
        pairs = [grid([Image.fromarray(one), Image.fromarray(two)], columns=1) for _, one, two in self.worst]
        return grid(pairs, columns=columns, labels=[f"{value:.1f} dB" for value, _, _ in self.worst])


@dataclass
class _Seen:
    """What is known of the pictures that have come through so far."""

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)
    before: list[Tensor] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)
    worst: list[tuple[float, int, NDArray[np.uint8], NDArray[np.uint8]]] = field(default_factory=list)


@torch.inference_mode()
def given_back(tokenizer: Tokenizer, images: Tensor, refine: int = 0) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) uint8 → what comes back, likewise, on the CPU, and the codes (B, L, K) in between."""
    given = as_floats(images.to(tokenizer.embed.device))
    codes = refined(tokenizer, given, tokenizer.bit_logits(given), refine)
    return tokenizer.decode(codes).clamp(0, 1).mul(255).round().byte().cpu(), codes.cpu()


def images_to_reconstruct(data: str, size: int, count: int | None) -> PictureSet:
    """The images of a folder, or unseen scenes, at a tokenizer's size; errors as `image_sets.folder`."""
    return scenes(size, count or MANY) if data == SCENES else folder(Path(data), count=count, resize=size)


def distance_extractor(evaluator: Evaluator, data: str, sets: Sequence[PictureSet]) -> Extractor | None:
    """What rFID is measured with; None, and a warning, where nothing was asked for and nothing is at hand."""
    try:
        extractor = evaluator.open(scenes=data == SCENES)
        for pictures in sets:
            extractor.check_size(pictures.width, pictures.height, pictures.what)
    except UsageError as error:
        if evaluator.asked:
            raise
        console.warn(f"rFID is left out: {error}")
        return None
    for pictures in sets:
        check_counts(("fid",), [(pictures.what, pictures.count)])
    return extractor


def lpips_of(device: torch.device, *, fetch: bool) -> Any:
    """LPIPS if its weights are here or may be fetched, or None."""
    return load_lpips(device) if fetch or lpips_at_hand() else None


def reconstruction_record(
    tokenizer: Tokenizer,
    config: ModelConfig,
    pictures: PictureSet,
    *,
    where: str,
    extractor: Extractor | None,
    lpips: Any,
    batch: int | None,
    refine: int | None,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[dict[str, Any], Rebuilt]:
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
        pictures,
        extractor=extractor,
        lpips=lpips,
        batch=batch or min(_AT_ONCE, memory.fitting(each, memory.free_memory(device))),
        shown=min(SHOWN, pictures.count),
        refine=refine,
        advance=advance,
    )
    by = None if extractor is None else {**extractor.about, "layer": extractor.layers["fid"]}
    record = {
        "model": config.name,
        "folder": where,
        "weights": config.sha256.get(TOKENIZER_FILE),
        "tokens": tokenizer.config.grid**2,
        "bits": tokenizer.config.bits,
        "refine": refine,
        **made.figures,
        "pictures": pictures.record(),
        "extractor": by,
        "lpips_by": None if lpips is None else f"torch-fidelity, {LPIPS}",
        "device": device.type,
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 3),
    }
    return record, made


def measure_tokenizer(
    tokenizer: Tokenizer,
    pictures: PictureSet,
    *,
    extractor: Extractor | None,
    lpips: nn.Module | None,
    batch: int,
    shown: int,
    refine: int = 0,
    advance: Callable[[int], None],
) -> Rebuilt:
    """Encode and decode pictures of the tokenizer's size, and compare what comes back, rounded to 8 bits.

    Args:
        extractor: whose features the Fréchet distance is taken of; None leaves it out.
        lpips: as `load_lpips` gives it; None leaves it out.
        batch: pictures at once.
        shown: how many of the worst pictures are kept.
        refine: steps in which better codes than the encoder's are looked for.

    Raises:
        UsageError: there are too few pictures, or features are not finite.
    """
    device = tokenizer.embed.device
    network = extractor.network(("fid",), device) if extractor is not None else None
    if network is not None:
        check_counts(("fid",), [(pictures.what, pictures.count)])
    seen, counts, batches = _Seen(), BitCounts(tokenizer.config.bits), Batches(batch)
    with torch.inference_mode():
        for images in pictures.batches(batch):
            for some, (made, codes) in batches.run(images, lambda some: given_back(tokenizer, some, refine)):
                counts.add(codes)
                _compare(seen, some, made, shown)
                if lpips is not None:
                    seen.lpips += lpips(some.to(device), made.to(device)).flatten().double().tolist()
                if network is not None:
                    for found, part in ((seen.before, some), (seen.after, made)):
                        found.append(network(part.to(device))[0].float().cpu())
                advance(len(some))
    worst = [(-value, one, two) for value, _, one, two in sorted(seen.worst, reverse=True)]
    config = tokenizer.config
    figures: dict[str, float | None] = {
        "psnr": float(np.mean(seen.psnr)),
        "psnr_95": float(np.percentile(seen.psnr, _EXCEEDED)),
        "ssim": float(np.mean(seen.ssim)),
        "ssim_95": float(np.percentile(seen.ssim, _EXCEEDED)),
        "lpips": float(np.mean(seen.lpips)) if lpips is not None else None,
        "rfid": _distance(seen, pictures.what) if network is not None else None,
        "bits_per_pixel": config.grid**2 * config.bits / (pictures.width * pictures.height),
        **counts.usage(),
        **counts.correlation(),
    }
    return Rebuilt(figures, seen.psnr, counts, worst)


def load_lpips(device: torch.device) -> nn.Module:
    """torch-fidelity's LPIPS, for pairs of uint8 pictures; RunError if its weights cannot be fetched."""
    from torch_fidelity.utils import create_sample_similarity

    try:
        made: nn.Module = create_sample_similarity(LPIPS, cuda=False, verbose=False).to(device)
    except OSError as error:
        raise RunError(f"{LPIPS}: its weights could not be fetched ({error})") from error
    except (RuntimeError, EOFError) as error:
        raise UsageError(f"{LPIPS}: the weights in torch's cache are damaged ({error})") from error
    return made


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Structural similarity of two pictures (H, W, 3), with the window of the paper: a Gaussian of 1.5 pixels."""
    from skimage.metrics import structural_similarity

    window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(one, other, channel_axis=2, data_range=255, **window))


def _compare(seen: _Seen, images: Tensor, made: Tensor, shown: int) -> None:
    values = psnr(as_floats(made), as_floats(images)).tolist()
    pairs = [part.permute(0, 2, 3, 1).contiguous().numpy() for part in (images, made)]
    for value, one, two in zip(values, *pairs, strict=True):
        entry = (-value, -len(seen.psnr), one, two)  # the numbers differ, so no two arrays are compared
        (heapq.heappush if len(seen.worst) < shown else heapq.heappushpop)(seen.worst, entry)
        seen.psnr.append(value)
        seen.ssim.append(ssim(one, two))


def _distance(seen: _Seen, what: str) -> float:
    before, after = torch.cat(seen.before), torch.cat(seen.after)
    check_finite(before, f"{what}: features")
    check_finite(after, f"{what}: features of what came back")
    return frechet_distance(after.numpy(), before.numpy())
