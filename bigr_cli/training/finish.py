"""What is measured when both stages are done: reconstructions, and how near samples are to training images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from bigr_cli import console
from bigr_cli.core.config import Guide
from bigr_cli.core.sampler import sample
from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.errors import RunError
from bigr_cli.training.config import GeneratorTraining
from bigr_cli.training.launch import open_recorded
from bigr_cli.training.metrics import best_value
from bigr_cli.training.nearest import nearest, write_pairs
from bigr_cli.training.page import NEAREST
from bigr_cli.zoo.loading import load_networks

_SAMPLES = 32
_HELD_OUT = 256


def finish(
    folder: Path, tokenizer: Path, generator: Path, training: GeneratorTraining, device: torch.device
) -> list[str]:
    """Measure the finished model of a folder, from the folders of both stages; returns a line for each result.

    Raises:
        RunError: the sheet of nearest images cannot be written.
        What opening the data raises.
    """
    psnr = best_value(tokenizer)
    notes = [] if psnr is None else [f"reconstructions of held-out images: {psnr:.1f} dB PSNR"]
    if training.data.source == "scenes":
        return notes
    network, config = load_networks(folder, device=str(device), dtype="float32")
    captions = training.generator.text is not None
    data = replace(training.data, flip=False, crop=1.0)
    source, held_out, _ = open_recorded(data, config.image_size, captions=captions, run=generator)
    guides: list[Guide] = [
        held_out.caption(n % len(held_out)) if captions else n % max(1, len(config.labels)) for n in range(_SAMPLES)
    ]
    seeds = torch.arange(_SAMPLES, device=network.generator.positions.device)
    with torch.inference_mode(), console.progress(None, "samples of the finished model"):
        codes = sample(network.generator, network.conditions(guides), seeds, config.sampling)
        samples = network.tokenizer.decode(codes).float().clamp(0, 1).cpu()
    batch = next(iter(all_batches(held_out, min(_HELD_OUT, len(held_out)))))
    found = nearest(samples, as_floats(batch.images), source)
    try:
        write_pairs(folder / NEAREST, samples, source, found)
    except OSError as error:
        raise RunError(f"{folder / NEAREST}: cannot be written: {error.strerror or error}") from error
    return [*notes, found.line()]
