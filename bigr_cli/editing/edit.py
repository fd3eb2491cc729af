"""Another label for a whole image, at a strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bigr_cli.core.config import Guide
from bigr_cli.core.familiarity import Look
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import SamplingCoroutine
from bigr_cli.editing.class_masks import label_ratios, shown_ratios
from bigr_cli.editing.inpaint import Painted, joined
from bigr_cli.editing.repaint import Repainted, decode, look_at, lowest, sample_request, see_whole, seen_fit
from bigr_cli.editing.requests import STRENGTH, UNSURE_STRENGTH, Edit
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import resized


def edit_whole(
    network: BinaryModel, original: Original, request: Edit, seed: int, *, was: Guide = None
) -> SamplingCoroutine[Painted]:
    """Sample a share of an image's tokens again under another label, those first that show what it was.

    The model sees the whole image in one window; pixels of tokens that are kept come back bit for bit.

    Args:
        network: tokenizer and generator.
        original: an image of any size and mode.
        request: the new label, the share of the tokens, from 0 (nothing) to 1 (everything), settings.
        seed: of the image.
        was: the label that the image shows, if that is known. Otherwise it is guessed; where it cannot be, those tokens
            come first that fit the new label least.

    Raises:
        UnfamiliarError: as `look_at`.
    """
    config, (width, height) = network.tokenizer.config, original.size
    view, look = see_whole(network, original, request.window), Look(network)
    window, codes, outside, side = view.window, view.codes, view.outside, view.window.side
    look_at(look, view.shown, codes, request, ~outside)
    ratios = shown_ratios(network, view) if was is None else label_ratios(network, view, was)
    usual = UNSURE_STRENGTH if ratios is None else STRENGTH
    count = round((usual if request.strength is None else request.strength) * int((~outside).sum()))
    if count == 0:
        return Painted(original.image, request.label, familiarity=look.verdict)
    if ratios is None:
        fit = seen_fit(network, codes, request.label, seed, outside)
    else:
        fit = -torch.from_numpy(ratios).flatten().to(codes.device)
    masked = lowest(fit.masked_fill(outside, torch.inf), count)
    wanted = sample_request(codes, masked | outside, request, seed, window)
    sampled = yield [replace(wanted, held=2 * original.stored_bytes)]
    shown = resized(decode(network, sampled[0]), side, side)
    pixels = original.seen()
    made = pixels.copy()  # beside the changed tokens too as the model has it, for the blending to compare
    made[window.clipped(height, width)] = shown[window.inside(height, width)]
    mask = np.zeros((height, width), dtype=np.float32)
    cells = np.arange(side) * config.grid // side
    changed = masked.view(config.grid, config.grid).cpu().numpy()[cells[:, None], cells]
    mask[window.clipped(height, width)] = changed[window.inside(height, width)]
    painted = joined(original, pixels, Repainted(made), mask, request.blend, opaque=False)
    return Painted(painted, request.label, familiarity=look.verdict)
