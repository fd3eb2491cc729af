"""How many bits a token should have: small tokenizers of 8, 16, 24 and 32 bits, and a small generator for each.

    python benchmarks/paper/bits.py

Tokenizers (`tokenizer.yaml`) from scratch and equally long, then generators (`generator.yaml`) on their codes. More
bits give images back better, and leave the generator more to learn. A repeat is another training of both.
"""

from __future__ import annotations

from typing import Any

import comparison
from comparison import QUALITY, TIME, TRAINING, Column, Row, images, report, trained_parser
from judging import SIZE, UNSEEN, answers, embeddings, real_images
from plotting import Panel
from reconstruction import fidelity, reconstruct
from small import SAMPLING, generator, tokenizer
from work import Work

from bigr_cli.data.sources import ScenesSource
from bigr_cli.evaluation.fidelity import frechet_distance

BITS = (8, 16, 24, 32)
PANELS = (
    Panel("bits", "psnr", "PSNR in dB, reconstructed", "bits per token"),
    Panel("bits", "given_back", "Fréchet distance, reconstructed", "bits per token"),
    Panel("bits", "frechet", "Fréchet distance, sampled", "bits per token"),
)


def main() -> None:
    """Train both for each number of bits, draw, measure and report."""
    made = trained_parser(__doc__)
    made.add_argument("--tokenizer-steps", type=int, help="of each tokenizer's training")
    made.add_argument("--rebuilt", type=int, default=512, help="images to reconstruct (default 512)")
    options = made.parse_args()
    work = Work(options.work)
    found: dict[int, list[Row]] = {bits: [] for bits in BITS}
    for seed in range(options.repeats):
        for bits in BITS:
            changes = {"tokenizer": {"bits": bits}}
            made_of, spent = tokenizer(work, f"bits-{bits}", changes, seed=seed, steps=options.tokenizer_steps)
            model, seconds = generator(work, f"on-{bits}", {"tokenizer": made_of}, seed=seed, steps=options.steps)
            reconstructed = reconstructions(work, model, options.rebuilt)
            drawn = images(work, model, SAMPLING, options, seed)
            found[bits].append({**reconstructed, **drawn, "tokenizer": spent, "training": seconds})
    columns = (
        Column("psnr", "PSNR in dB"),
        Column("given_back", "Fréchet distance, reconstructed"),
        Column("seen", "recognised in it, %"),
        *QUALITY,
        TIME,
        Column("tokenizer", "s to train the tokenizer", 0),
        TRAINING,
    )
    rows: list[dict[str, Any]] = [{"bits": bits, "repeats": repeats} for bits, repeats in found.items()]
    about = f"trainings of both, {options.count} images sampled, {options.rebuilt} reconstructed"
    report("bits", rows, columns, options, work, repeats=about, panels=PANELS)


def reconstructions(work: Work, model: str, count: int) -> Row:
    """How well a model's tokenizer gives unseen scenes back."""

    def measure() -> Row:
        opened = comparison.opened(model)
        originals, made, foreground, _ = reconstruct(opened.tokenizer, ScenesSource(SIZE, 0, UNSEEN, count), 64, 0)
        _, labels = real_images(count)
        return {
            "psnr": fidelity(originals, made, foreground)["psnr"],
            "given_back": frechet_distance(embeddings(made), embeddings(originals)),
            "seen": 100 * float((answers(made)["object"] == labels).double().mean()),
        }

    return work.measured("rebuilt", {"model": comparison.weights(model), "count": count}, measure)


if __name__ == "__main__":
    main()
