"""Another label for a whole picture, at a strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bigr_cli.core.model import BinaryModel
from bigr_cli.imaging.blending import Blend
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import Window, cut, resized, touched_tokens
from bigr_cli.painting.asks import Ask, Painter
from bigr_cli.painting.inpaint import Painted, joined
from bigr_cli.painting.repaint import Repainted, Wish, decode, encode, lowest, seen_fit


def edit_whole(
    network: BinaryModel, original: Original, strength: float, wish: Wish, *, how: Blend = "poisson"
) -> Painter[Painted]:
    """Redraw a share of a picture's tokens under another label, those first that fit it least.

    The model sees the whole picture in one window; pixels of tokens that are kept come back bit for bit.

    Args:
        network: tokenizer and generator.
        original: a picture of any size and mode.
        strength: share of the tokens, from 0 (nothing) to 1 (everything).
        wish: the new label, perhaps the old one to be led away from, seed, settings.
        how: how the paint is joined to the picture.
    """
    config, (width, height) = network.tokenizer.config, original.size
    side = wish.window or max(height, width)
    window = Window((width - side) // 2, (height - side) // 2, side)
    seen = touched_tokens(np.ones((height, width), dtype=bool), window, config.grid, beyond=False)
    codes = encode(network, cut(original.seen(), window, config.image_size))  # not kept while others are sampled
    outside = torch.from_numpy(~seen.reshape(-1)).to(codes.device)
    count = round(strength * int((~outside).sum()))
    if count == 0:
        return Painted(original.image, wish.label)
    fit = seen_fit(network, codes, wish.label, wish.seed, outside)
    redrawn = lowest(fit.masked_fill(outside, torch.inf), count)
    box = (window.x, window.y, window.side)
    asked = Ask(codes, redrawn | outside, wish.seed, wish.sampling, label=wish.label, against=wish.against, box=box)
    drawn = yield [replace(asked, held=2 * original.stored_bytes)]
    shown = resized(decode(network, drawn[0]), side, side)
    pixels = original.seen()
    made = pixels.copy()  # beside the changed tokens too as the model has it, for the blending to compare
    made[window.clipped(height, width)] = shown[window.inside(height, width)]
    mask = np.zeros((height, width), dtype=np.float32)
    cells = np.arange(side) * config.grid // side
    changed = redrawn.view(config.grid, config.grid).cpu().numpy()[cells[:, None], cells]
    mask[window.clipped(height, width)] = changed[window.inside(height, width)]
    return Painted(joined(original, pixels, Repainted(made), mask, how, opaque=False), wish.label)
