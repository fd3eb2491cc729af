"""Paths from one label to another, and from one image to another, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

from bigr_cli.core.config import Prompt
from bigr_cli.core.familiarity import Look
from bigr_cli.core.held_out import Familiarity, together
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.tokenizer import refined
from bigr_cli.editing.batched_sampling import SampleRequest, SamplingCoroutine, derived_seed
from bigr_cli.editing.interpolate_request import PUBLISHED_SHARES, Interpolate
from bigr_cli.editing.repaint import likeliest_label, look_at, lowest, sample_request, seen_fit
from bigr_cli.imaging.arrays import decode_images, to_pixels, to_tensor
from bigr_cli.imaging.originals import Original

_RESAMPLED = 0.5  # of the tokens, halfway between two images
_STRENGTH = 0.25  # of the tokens, from one class to another
_GROWTH = 0.5  # near the first label, tokens are sampled much as they were: more of them make steps even


class Frames(list[Image.Image]):
    """Frames between images; `familiarity` is that of the keyframe least like what the model was trained on."""

    familiarity: Familiarity | None = None


@dataclass(frozen=True)
class Position:
    """A frame's position on a path: between keyframe `start` and the next, `share` of the way."""

    start: int
    share: float


def positions(keyframes: int, frames: int, *, loop: bool = False) -> list[Position]:
    """Evenly spaced positions from the first keyframe to the last, or, in a loop, back to just before the first.

    Raises:
        ValueError: fewer than two keyframes or frames.
    """
    if keyframes < 2 or frames < 2:
        raise ValueError(f"expected at least two stops and two frames, got {keyframes} and {frames}")
    legs = keyframes if loop else keyframes - 1
    found = []
    for index in range(frames):
        along = index * legs / (frames if loop else frames - 1)
        start = min(int(along), legs - 1)
        found.append(Position(start, along - start))
    return found


def between_labels(
    network: BinaryModel, labels: Sequence[Prompt], request: Interpolate, seed: int
) -> SamplingCoroutine[list[Image.Image]]:
    """Frames of the model's size from label to label.

    The first keyframe is sampled. Every other one is the first with a share of its tokens sampled again under its own
    label: those that this label makes less likely than the first's, and the ones next to them. What the labels have in
    common stays. On the path from keyframe to keyframe, ever more of the tokens in which both differ are sampled under
    the mixed labels, with the same random numbers for every frame; bits that flicker from frame to frame are smoothed
    by the temporal median.

    Args:
        network: tokenizer and generator.
        labels: two or more.
        request: how many frames, settings; `strength` is the share, from 0 to 1. None is 0.25 for classes and 1,
            everything, for texts, which say what is around an object too.
        seed: of every frame.
    """
    keyframes = yield from _keyframes(network, labels, request, seed)
    legs = [(one, (one + 1) % len(labels)) for one in range(len(labels) if request.loop else len(labels) - 1)]
    orders = [
        _order(network, (keyframes[one], keyframes[other]), (labels[one], labels[other]), seed) for one, other in legs
    ]
    path = positions(len(labels), request.count, loop=request.loop)
    requests = []
    for position in path:
        one, other = legs[position.start]
        masked = torch.zeros(len(keyframes[one]), dtype=torch.bool, device=keyframes[one].device)
        if position.share < 1:
            order = orders[position.start]
            masked[order[: round(position.share**_GROWTH * len(order))]] = True
        codes = keyframes[other] if position.share == 1 else keyframes[one]
        requests.append(
            SampleRequest(codes, masked, seed, request.sampling, labels[one], labels[other], position.share)
        )
    return _frames(network, (yield from _sampled(requests)), path, loop=request.loop)


def mixtures(
    network: BinaryModel, labels: Sequence[Prompt], request: Interpolate, seed: int
) -> SamplingCoroutine[list[Image.Image]]:
    """Frames of the model's size from label to label, each sampled whole under mixed labels, and not smoothed.

    Arguments as in `between_labels`. With `mixed` "published" the shares are those of the published code, and every
    frame has random numbers of its own.
    """
    config = network.generator.config
    nothing = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    everything = torch.ones(config.tokens, dtype=torch.bool)
    published = request.mixed == "published"
    path = positions(len(labels), request.count, loop=request.loop)
    if published:
        path = [Position(0, share) for share in PUBLISHED_SHARES]
    requests = []
    for index, position in enumerate(path):
        one, other = labels[position.start], labels[(position.start + 1) % len(labels)]
        own = derived_seed(seed, index) if published else seed
        requests.append(SampleRequest(nothing, everything, own, request.sampling, one, other, position.share))
    return decode_images(network, (yield requests))


def between_images(
    network: BinaryModel, images: Sequence[Original], request: Interpolate, seed: int
) -> SamplingCoroutine[list[Image.Image]]:
    """Frames of the model's size from image to image.

    The bits in which two images differ are switched one after the other, the most certain first. What lies between
    is not an image that the model would make; so the tokens that it finds least likely are sampled again, the more of
    them the further both images are. Bits that flicker from frame to frame are smoothed by the temporal median.

    Args:
        network: tokenizer and generator.
        images: two or more.
        request: how many frames, settings, a label if all frames share one, or whether the label of each is
            guessed from the nearer of its images; `refine` steps of latent optimisation of the codes.
        seed: of every frame.

    Raises:
        UsageError: a class is to be guessed by a model that has none.
        UnfamiliarError: as `look_at`.
    """
    size = network.tokenizer.config.image_size
    weight = network.tokenizer.embed
    squares = [to_tensor([image.square(size)]).to(weight.device, weight.dtype) for image in images]
    with torch.inference_mode():
        logits = [network.tokenizer.bit_logits(square) for square in squares]
    codes = [refined(network.tokenizer, *each, request.refine or 0)[0] for each in zip(squares, logits, strict=True)]
    looks = [Look(network) for _ in images]
    for look, image, square, each in zip(looks, images, squares, logits, strict=True):
        look_at(look, to_pixels(square)[0], each[0] > 0, request, name=image.name)
    guided = [_guessed(network, each, request, seed) if request.guess else request for each in codes]
    requests, path = [], positions(len(images), request.count, loop=request.loop)
    for position in path:
        start, share, following = position.start, position.share, (position.start + 1) % len(images)
        near = guided[start if share < 0.5 else following]
        mixed = _switched(codes[start], codes[following], logits[start], logits[following], share)
        count = round(4 * share * (1 - share) * _RESAMPLED * len(mixed))
        requests.append(sample_request(mixed, _unlikely(network, mixed, count, near.label, seed), near, seed))
    frames = Frames(_frames(network, (yield from _sampled(requests)), path, loop=request.loop))
    frames.familiarity = together([look.verdict for look in looks])
    return frames


def temporal_median(codes: Tensor, fixed: Tensor, *, loop: bool = False) -> Tensor:
    """Codes of frames (F, L, K) in which no bit differs from both its neighbours in time, but in frames `fixed` (F,).

    It is the median of three frames, until nothing changes; in a loop the last frame comes before the first.
    """
    codes = codes.clone()
    still = fixed.to(codes.device)[:, None, None]
    for _ in range(len(codes)):  # a bit that alternates along the path takes half as many rounds
        before, after = codes.roll(1, dims=0), codes.roll(-1, dims=0)
        if not loop:
            before[0], after[-1] = codes[0], codes[-1]
        median = torch.where(before == after, before, codes)
        changed = torch.where(still, codes, median)
        if torch.equal(changed, codes):
            break
        codes = changed
    return codes


def _keyframes(
    network: BinaryModel, labels: Sequence[Prompt], request: Interpolate, seed: int
) -> SamplingCoroutine[list[Tensor]]:
    """The codes (L, K) of the image that each label is."""
    config, share = network.generator.config, _share(network, request.strength)
    nothing = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    everything = torch.ones(config.tokens, dtype=torch.bool)
    (first,) = yield [SampleRequest(nothing, everything, seed, request.sampling, label=labels[0])]
    requests = []
    for label in labels[1:]:
        count = 0 if label == labels[0] else round(share * config.tokens)
        unfit = lowest(_gain(network, first, labels[0], label, seed), count)
        requests.append(SampleRequest(first, _grown(unfit, config.grid), seed, request.sampling, label=label))
    return [first, *(yield from _sampled(requests))]


def _share(network: BinaryModel, strength: float | None) -> float:
    config = network.generator.config
    if config.attention == "causal":
        return 1.0  # it does not say how tokens fit those behind them
    return strength if strength is not None else _STRENGTH if config.condition == "class" else 1.0


def _order(network: BinaryModel, codes: tuple[Tensor, Tensor], labels: tuple[Prompt, Prompt], seed: int) -> Tensor:
    """The numbers of the tokens in which two codes (L, K) differ, those first that fit the other label least."""
    differ = (codes[0] ^ codes[1]).any(dim=1)
    gain = _gain(network, codes[0], *labels, seed).masked_fill(~differ, torch.inf)
    return gain.argsort(stable=True)[: int(differ.sum())]


def _gain(network: BinaryModel, codes: Tensor, label: Prompt, other: Prompt, seed: int) -> Tensor:
    """How much likelier each token (L,) is under another label; the last ones least if the model cannot say."""
    if network.generator.config.attention == "causal":
        return -torch.arange(len(codes), device=codes.device, dtype=torch.float32)
    return seen_fit(network, codes, other, seed) - seen_fit(network, codes, label, seed)


def _grown(tokens: Tensor, grid: int) -> Tensor:
    """Tokens (L,) bool and those next to them, diagonally too."""
    return max_pool2d(tokens.view(1, grid, grid).float(), 3, stride=1, padding=1).flatten() > 0


def _sampled(requests: Sequence[SampleRequest]) -> SamplingCoroutine[list[Tensor]]:
    """The codes of each request; those that mask nothing need no sampling."""
    wanted = [bool(request.masked.any()) for request in requests]
    needed = [request for request, samples in zip(requests, wanted, strict=True) if samples]
    sampled = iter((yield needed)) if needed else iter(())
    return [next(sampled) if samples else one.codes for one, samples in zip(requests, wanted, strict=True)]


def _switched(one: Tensor, other: Tensor, one_logits: Tensor, other_logits: Tensor, share: float) -> Tensor:
    """The codes (L, K) with a share of the bits in which they differ as in the other ones."""
    differ = (one ^ other).flatten()
    certain = torch.minimum(one_logits.abs(), other_logits.abs()).flatten().masked_fill(~differ, -torch.inf)
    switched = torch.zeros_like(differ)
    switched[certain.argsort(descending=True, stable=True)[: round(share * int(differ.sum()))]] = True
    return one ^ switched.view_as(one)


def _guessed(network: BinaryModel, codes: Tensor, request: Interpolate, seed: int) -> Interpolate:
    """The request, with the class that codes (L, K) are most likely of."""
    nothing = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    return replace(request, label=likeliest_label(network, codes, nothing, seed))


def _unlikely(network: BinaryModel, codes: Tensor, count: int, label: Prompt, seed: int) -> Tensor:
    """The `count` tokens (L,) that the model finds least likely beside the others."""
    if count == 0:
        return torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    return lowest(seen_fit(network, codes, label, seed), count)


def _frames(
    network: BinaryModel, codes: Sequence[Tensor], path: Sequence[Position], *, loop: bool
) -> list[Image.Image]:
    """Frames of codes (L, K), smoothed but for the keyframes themselves."""
    fixed = torch.tensor([position.share in (0, 1) for position in path])
    smooth = temporal_median(torch.stack(tuple(codes)), fixed, loop=loop)
    return decode_images(network, smooth)
