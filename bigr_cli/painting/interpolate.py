"""Ways from one label to another, and from one picture to another, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bigr_cli.core.config import Guide
from bigr_cli.core.likelihood import seen_scores
from bigr_cli.core.model import BinaryModel
from bigr_cli.imaging.arrays import to_images
from bigr_cli.imaging.originals import Original
from bigr_cli.painting.asks import Ask, Painter
from bigr_cli.painting.repaint import Wish, decode, lowest

_REDRAWN = 0.5  # of the tokens, half of the way between two pictures


@dataclass(frozen=True)
class Place:
    """A frame's place on a way: between stop `start` and the next, `share` of the way."""

    start: int
    share: float


def places(stops: int, frames: int, *, loop: bool = False) -> list[Place]:
    """Evenly spaced places from the first stop to the last, or, in a loop, back to just before the first.

    Raises:
        ValueError: fewer than two stops or frames.
    """
    if stops < 2 or frames < 2:
        raise ValueError(f"expected at least two stops and two frames, got {stops} and {frames}")
    legs = stops if loop else stops - 1
    found = []
    for index in range(frames):
        along = index * legs / (frames if loop else frames - 1)
        start = min(int(along), legs - 1)
        found.append(Place(start, along - start))
    return found


def between_labels(
    network: BinaryModel, labels: Sequence[Guide], frames: int, wish: Wish, *, loop: bool = False
) -> Painter[list[Image.Image]]:
    """Frames of the model's size from label to label: mixed embeddings, and the same random numbers for every frame.

    Bits that flicker from frame to frame are steadied; the stops are the pictures that the model draws of them.
    """
    config = network.generator.config
    nothing = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    everything = torch.ones(config.tokens, dtype=torch.bool)
    asks = []
    way = places(len(labels), frames, loop=loop)
    for place in way:
        one, other = labels[place.start], labels[(place.start + 1) % len(labels)]
        asks.append(Ask(nothing, everything, wish.seed, wish.settings, label=one, other=other, ratio=place.share))
    drawn = yield asks
    stops = torch.tensor([place.share in (0, 1) for place in way])
    return _decoded(network, steadied(drawn, stops, loop=loop))


def between_pictures(
    network: BinaryModel, pictures: Sequence[Original], frames: int, wish: Wish, *, loop: bool = False
) -> Painter[list[Image.Image]]:
    """Frames of the model's size from picture to picture.

    The bits in which two pictures differ are switched one after the other, the most certain first. What lies between
    is not a picture that the model would make; so the tokens that it finds least likely are drawn again, the more of
    them the further both pictures are.
    """
    size = network.tokenizer.config.image_size
    logits = [_logits(network, picture.square(size)) for picture in pictures]
    codes = [logit > 0 for logit in logits]
    asks: list[Ask] = []
    fixed: dict[int, Tensor] = {}
    for number, place in enumerate(places(len(pictures), frames, loop=loop)):
        following = (place.start + 1) % len(pictures)
        mixed = _switched(codes[place.start], codes[following], logits[place.start], logits[following], place.share)
        redrawn = _unlikely(network, mixed, round(4 * place.share * (1 - place.share) * _REDRAWN * len(mixed)), wish)
        if bool(redrawn.any()):
            asks.append(Ask(mixed, redrawn, wish.seed, wish.sampling, label=wish.label))
        else:
            fixed[number] = mixed
    drawn = iter((yield asks)) if asks else iter(())
    return _decoded(network, [fixed[number] if number in fixed else next(drawn) for number in range(frames)])


def steadied(codes: Tensor, fixed: Tensor, *, loop: bool = False) -> Tensor:
    """Codes of frames (F, L, K) in which no bit differs from both its neighbours in time, but in frames `fixed` (F,).

    It is the median of three frames, until nothing changes; in a loop the last frame comes before the first.
    """
    codes = codes.clone()
    still = fixed.to(codes.device)[:, None, None]
    for _ in range(len(codes)):  # a bit that alternates along the way takes half as many turns
        before, after = codes.roll(1, dims=0), codes.roll(-1, dims=0)
        if not loop:
            before[0], after[-1] = codes[0], codes[-1]
        median = torch.where(before == after, before, codes)
        changed = torch.where(still, codes, median)
        if torch.equal(changed, codes):
            break
        codes = changed
    return codes


def _logits(network: BinaryModel, image: Image.Image) -> Tensor:
    weight = network.tokenizer.embed
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255)[None]
    with torch.inference_mode():
        logits = network.tokenizer.bit_logits(pixels.to(weight.device, weight.dtype))[0]
    return logits.float().clone()


def _switched(one: Tensor, other: Tensor, one_logits: Tensor, other_logits: Tensor, share: float) -> Tensor:
    """The codes (L, K) with a share of the bits in which they differ as in the other ones."""
    differ = (one ^ other).flatten()
    certain = torch.minimum(one_logits.abs(), other_logits.abs()).flatten().masked_fill(~differ, -torch.inf)
    switched = torch.zeros_like(differ)
    switched[certain.argsort(descending=True, stable=True)[: round(share * int(differ.sum()))]] = True
    return one ^ switched.view_as(one)


def _unlikely(network: BinaryModel, codes: Tensor, count: int, wish: Wish) -> Tensor:
    """The `count` tokens (L,) that the model finds least likely beside the others."""
    nothing = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    if count == 0:
        return nothing
    seeds = torch.tensor([wish.seed], device=codes.device)
    fit = seen_scores(network.generator, codes[None], network.conditions([wish.label]), nothing[None], seeds)[0]
    return lowest(fit, count)


def _decoded(network: BinaryModel, codes: Sequence[Tensor] | Tensor) -> list[Image.Image]:
    return [to_images(torch.from_numpy(decode(network, one).transpose(2, 0, 1))[None])[0] for one in codes]
