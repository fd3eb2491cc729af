"""Ways from one label to another, and from one picture to another, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

from bigr_cli.core.config import Guide
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.refine import refined
from bigr_cli.imaging.arrays import to_images, to_tensor
from bigr_cli.imaging.originals import Original
from bigr_cli.painting.asks import Ask, Painter
from bigr_cli.painting.repaint import Wish, decode, likeliest_label, lowest, seen_fit

_REDRAWN = 0.5  # of the tokens, half of the way between two pictures
_STRENGTH = 0.25  # of the tokens, from one class to another
_GROWTH = 0.5  # near the first label, tokens are drawn much as they were: more of them make steps even


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
    network: BinaryModel,
    labels: Sequence[Guide],
    frames: int,
    wish: Wish,
    *,
    strength: float | None = None,
    loop: bool = False,
) -> Painter[list[Image.Image]]:
    """Frames of the model's size from label to label.

    The first stop is drawn. Every other one is the first with a share of its tokens drawn again under its own label:
    those that this label makes less likely than the first's, and the ones next to them. What the labels have in
    common stays. On the way from stop to stop, ever more of the tokens in which both differ are drawn under the mixed
    labels, with the same random numbers for every frame; bits that flicker from frame to frame are steadied.

    Args:
        network: tokenizer and generator.
        labels: two or more.
        frames: how many, two or more.
        wish: seed and settings.
        strength: the share, from 0 to 1. None is 0.25 for classes and 1, everything, for texts, which say what is
            around an object too.
        loop: whether the way leads back to the first label.
    """
    stops = yield from _stops(network, labels, wish, _share(network, strength))
    legs = [(stop, (stop + 1) % len(labels)) for stop in range(len(labels) if loop else len(labels) - 1)]
    orders = [_order(network, stops[one], stops[other], labels[one], labels[other], wish) for one, other in legs]
    way = places(len(labels), frames, loop=loop)
    asks = []
    for place in way:
        one, other = legs[place.start]
        masked = torch.zeros(len(stops[one]), dtype=torch.bool, device=stops[one].device)
        if place.share < 1:
            masked[orders[place.start][: round(place.share**_GROWTH * len(orders[place.start]))]] = True
        codes = stops[other] if place.share == 1 else stops[one]
        asks.append(Ask(codes, masked, wish.seed, wish.settings, labels[one], labels[other], place.share))
    return _film(network, (yield from _drawn(asks)), way, loop=loop)


def between_pictures(
    network: BinaryModel,
    pictures: Sequence[Original],
    frames: int,
    wish: Wish,
    *,
    guess: bool = False,
    refine: int = 0,
    loop: bool = False,
) -> Painter[list[Image.Image]]:
    """Frames of the model's size from picture to picture.

    The bits in which two pictures differ are switched one after the other, the most certain first. What lies between
    is not a picture that the model would make; so the tokens that it finds least likely are drawn again, the more of
    them the further both pictures are. Bits that flicker from frame to frame are steadied.

    Args:
        network: tokenizer and generator.
        pictures: two or more.
        frames: how many, two or more.
        wish: seed and settings, and a label if one is to guide all frames.
        guess: have each frame guided by the class under which the model finds the nearer of its pictures likeliest.
        refine: steps in which codes are looked for that show the pictures better than the encoder's.
        loop: whether the way leads back to the first picture.

    Raises:
        UsageError: a class is to be guessed by a model that has none.
    """
    size = network.tokenizer.config.image_size
    squares = [_tensor(network, picture.square(size)) for picture in pictures]
    with torch.inference_mode():
        logits = [network.tokenizer.bit_logits(square) for square in squares]
    codes = [refined(network.tokenizer, *each, refine)[0] for each in zip(squares, logits, strict=True)]
    wishes = [_guided(network, each, wish) if guess else wish for each in codes]
    asks, way = [], places(len(pictures), frames, loop=loop)
    for place in way:
        following = (place.start + 1) % len(pictures)
        near = wishes[place.start if place.share < 0.5 else following]
        mixed = _switched(codes[place.start], codes[following], logits[place.start], logits[following], place.share)
        redrawn = _unlikely(network, mixed, round(4 * place.share * (1 - place.share) * _REDRAWN * len(mixed)), near)
        asks.append(Ask(mixed, redrawn, near.seed, near.sampling, label=near.label))
    return _film(network, (yield from _drawn(asks)), way, loop=loop)


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


def _stops(network: BinaryModel, labels: Sequence[Guide], wish: Wish, share: float) -> Painter[list[Tensor]]:
    """The codes (L, K) of the picture that each label is."""
    config = network.generator.config
    nothing = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    everything = torch.ones(config.tokens, dtype=torch.bool)
    (first,) = yield [Ask(nothing, everything, wish.seed, wish.settings, label=labels[0])]
    asks = []
    for label in labels[1:]:
        count = 0 if label == labels[0] else round(share * config.tokens)
        unfit = lowest(_gain(network, first, labels[0], label, wish), count)
        asks.append(Ask(first, _grown(unfit, config.grid), wish.seed, wish.settings, label=label))
    return [first, *(yield from _drawn(asks))]


def _share(network: BinaryModel, strength: float | None) -> float:
    config = network.generator.config
    if config.attention == "causal":
        return 1.0  # it does not say how tokens fit those behind them
    return strength if strength is not None else _STRENGTH if config.condition == "class" else 1.0


def _order(network: BinaryModel, codes: Tensor, goal: Tensor, label: Guide, other: Guide, wish: Wish) -> Tensor:
    """The numbers of the tokens in which two codes (L, K) differ, those first that fit the other label least."""
    differ = (codes ^ goal).any(dim=1)
    gain = _gain(network, codes, label, other, wish).masked_fill(~differ, torch.inf)
    return gain.argsort(stable=True)[: int(differ.sum())]


def _gain(network: BinaryModel, codes: Tensor, label: Guide, other: Guide, wish: Wish) -> Tensor:
    """How much likelier each token (L,) is under another label; the last ones least if the model cannot say."""
    if network.generator.config.attention == "causal":
        return -torch.arange(len(codes), device=codes.device, dtype=torch.float32)
    return seen_fit(network, codes, other, wish.seed) - seen_fit(network, codes, label, wish.seed)


def _grown(tokens: Tensor, grid: int) -> Tensor:
    """Tokens (L,) bool and those next to them, diagonally too."""
    return max_pool2d(tokens.view(1, grid, grid).float(), 3, stride=1, padding=1).flatten() > 0


def _drawn(asks: Sequence[Ask]) -> Painter[list[Tensor]]:
    """The codes of each ask; those that ask for nothing need no draw."""
    wanted = [bool(ask.masked.any()) for ask in asks]
    needed = [ask for ask, draws in zip(asks, wanted, strict=True) if draws]
    drawn = iter((yield needed)) if needed else iter(())
    return [next(drawn) if draws else ask.codes for ask, draws in zip(asks, wanted, strict=True)]


def _tensor(network: BinaryModel, image: Image.Image) -> Tensor:
    weight = network.tokenizer.embed
    return to_tensor([image]).to(weight.device, weight.dtype)


def _switched(one: Tensor, other: Tensor, one_logits: Tensor, other_logits: Tensor, share: float) -> Tensor:
    """The codes (L, K) with a share of the bits in which they differ as in the other ones."""
    differ = (one ^ other).flatten()
    certain = torch.minimum(one_logits.abs(), other_logits.abs()).flatten().masked_fill(~differ, -torch.inf)
    switched = torch.zeros_like(differ)
    switched[certain.argsort(descending=True, stable=True)[: round(share * int(differ.sum()))]] = True
    return one ^ switched.view_as(one)


def _guided(network: BinaryModel, codes: Tensor, wish: Wish) -> Wish:
    """The wish, with the class that codes (L, K) are most likely of."""
    nothing = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    return replace(wish, label=likeliest_label(network, codes, nothing, wish.seed))


def _unlikely(network: BinaryModel, codes: Tensor, count: int, wish: Wish) -> Tensor:
    """The `count` tokens (L,) that the model finds least likely beside the others."""
    if count == 0:
        return torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    return lowest(seen_fit(network, codes, wish.label, wish.seed), count)


def _film(network: BinaryModel, codes: Sequence[Tensor], way: Sequence[Place], *, loop: bool) -> list[Image.Image]:
    """Frames of codes (L, K), steadied but for those that are the stops themselves."""
    met = torch.tensor([place.share in (0, 1) for place in way])
    steady = steadied(torch.stack(tuple(codes)), met, loop=loop)
    return [to_images(torch.from_numpy(decode(network, one).transpose(2, 0, 1))[None])[0] for one in steady]
