"""The largest sizes that a configuration may ask for.

They lie far above every published model's, and low enough that what follows from a config alone (a number of
parameters, a model without weights, a table of the schedule) is there in a moment, whoever wrote the config.
"""

import math

MOST_REFINE = 10_000  # steps of latent optimisation, as of the option

LARGEST = {
    # tokenizer
    "image_size": 16_384,
    "bits": 4_096,
    "channels": 16_384,
    "embedding": 65_536,
    "res_blocks": 64,
    "attention_heads": 1_024,
    # generator
    "grid": 1_024,
    "classes": 10_000_000,
    "layers": 512,
    "heads": 1_024,
    "dim": 65_536,
    "ffn_multiple": 65_536,
    "transcoder_layers": 512,
    "transcoder_width": 65_536,
    "diffusion_timesteps": 100_000,
    # reading of texts
    "tokens": 65_536,
    "width": 65_536,
    "group": 65_536,
    # sampling
    "steps": 100_000,
    "timesteps": 100_000,
    "rank_timesteps": 100_000,
    "last_timesteps": 100_000,
}
LEVELS = 12  # of a tokenizer, each half as large as the one before
BLOCKS = 64  # of one level


def whole(name: str, value: int, *, least: int = 1, most: int | None = None) -> str | None:
    """What is wrong with a whole number from a config, or None. Without `most` the limit is that of its name."""
    most = LARGEST.get(name) if most is None else most
    if value < least:
        return f"{name}: expected at least {least}, got {value}"
    return f"{name}: expected at most {most:,}, got {value:,}" if most is not None and value > most else None


def above_zero(name: str, value: float, most: float) -> str | None:
    """What is wrong with a number that should be finite, above 0 and at most `most`, or None."""
    fits = math.isfinite(value) and 0 < value <= most
    return None if fits else f"{name}: expected a number above 0 and at most {most:g}, got {value}"
