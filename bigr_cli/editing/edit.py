"""Another label for a whole image, at a strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bigr_cli.core.familiarity import Look
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import SamplingCoroutine
from bigr_cli.editing.inpaint import Painted, joined
from bigr_cli.editing.repaint import Repainted, decode, encode, look_at, lowest, sample_request, seen_fit
from bigr_cli.editing.requests import STRENGTH, Edit
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import Window, cut, resized, touched_tokens


def edit_whole(network: BinaryModel, original: Original, request: Edit, seed: int) -> SamplingCoroutine[Painted]:
    """Sample a share of an image's tokens again under another label, those first that fit it least.

    The model sees the whole image in one window; pixels of tokens that are kept come back bit for bit.

    Args:
        network: tokenizer and generator.
        original: an image of any size and mode.
        request: the new label, the share of the tokens, from 0 (nothing) to 1 (everything), settings.
        seed: of the image.

    Raises:
        UnfamiliarError: as `look_at`.
    """
    config, (width, height) = network.tokenizer.config, original.size
    side = request.window or max(height, width)
    window = Window((width - side) // 2, (height - side) // 2, side)
    seen = touched_tokens(np.ones((height, width), dtype=bool), window, config.grid, beyond=False)
    shown = cut(original.seen(), window, config.image_size)  # not kept while others are sampled
    codes, look = encode(network, shown), Look(network)
    outside = torch.from_numpy(~seen.reshape(-1)).to(codes.device)
    look_at(look, shown, codes, request, ~outside)
    strength = STRENGTH if request.strength is None else request.strength
    count = round(strength * int((~outside).sum()))
    if count == 0:
        return Painted(original.image, request.label, familiarity=look.verdict)
    fit = seen_fit(network, codes, request.label, seed, outside)
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
