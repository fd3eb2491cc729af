"""How far our network is from the published one, for the same weights.

    python benchmarks/parity.py --samples 8192

Tensors: the largest difference of each, in float32 on the CPU. Sampler: the published 4,096 codes of each case are
known by the means of their bits and of all products of two bits; ours are compared with them, both sides having
sampling error. Bits are correlated, so the proper statistic is the Mahalanobis distance of the means with the pooled
covariance (Hotelling's T² of two samples); the plain sum of squared z-scores stands beside it. Both have as many
degrees of freedom as there are bits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from scipy import stats
from tables import show
from torch import Tensor

from bigr_cli.core.heads import flip_loss
from bigr_cli.core.model import BinaryModel
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.published.convert import import_published

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "data" / "published"
INPUTS = ("bae.image", "gen.code", "gen.class", "gen.mask", "diff.x_t", "diff.t")


@dataclass(frozen=True)
class Published:
    """The published network, imported, what the published code computes with it, and with which settings."""

    model: BinaryModel
    expected: dict[str, Tensor]
    settings: dict[str, Any]

    @property
    def cases(self) -> list[str]:
        """The sampler settings of which there are marginals."""
        return [name for name, value in self.settings["sample"].items() if isinstance(value, dict)]


@dataclass(frozen=True)
class Agreement:
    """How well drawn codes agree with published marginals.

    `p_mean` and `p_pairs` are the chances of differences as large as these or larger, if both sides drew from the same
    distribution; for the pairs that of the largest z-score, times the number of pairs (Bonferroni).
    """

    bits: int
    chi_square: float
    mahalanobis: float
    p_mean: float
    largest_pair_z: float
    p_pairs: float
    covariance: float  # mean squared z-score of the covariances of two bits: 1 if the two sides agree


def load_published(fixtures: Path = FIXTURES) -> Published:
    """Import the published checkpoint in `fixtures` as a user would, and load it."""
    settings = json.loads((fixtures / "config.json").read_text())
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "published"
        import_published(
            fixtures / "binaryae_ema_1000.th",
            fixtures / "bigr_tiny.pt",
            heads=settings["generator"]["n_head"],
            image_size=settings["bae"]["img_size"],
            output=folder,
        )
        model, _ = load_model(folder)
    return Published(model, load_file(fixtures / "expected.safetensors"), settings)


def computed(published: Published) -> dict[str, Tensor]:
    """What our implementation computes, by the names and in the shapes of the published numbers.

    Every step takes the published numbers as its input, so that an error shows where it is made.
    """
    given, tokenizer, generator = published.expected, published.model.tokenizer, published.model.generator
    transcoder = generator.transcoder
    code, labels, mask = given["gen.code"], given["gen.class"], given["gen.mask"].bool()
    x_t, t = given["diff.x_t"], given["diff.t"]
    grid = given["bae.code"].shape[2:]

    def maps(codes: Tensor) -> Tensor:
        return codes.float().transpose(1, 2).unflatten(2, grid)  # (B, L, K) → (B, K, h, w)

    both = torch.full_like(labels, 1), torch.full_like(labels, 2)
    found = {
        "bae.encoder_out": tokenizer.encoder(given["bae.image"]),
        "bae.bit_prob": maps(tokenizer.bit_probabilities(given["bae.image"])),
        "bae.code": maps(tokenizer.encode(given["bae.image"])),
        "bae.decoded": tokenizer.decode(given["bae.code"].flatten(2).transpose(1, 2)),
        "gen.rope": generator.rope,
        "gen.cond": generator.condition(code, labels, mask),
        "gen.cond_interpolated": generator.condition(code, both, mask, ratios=(0.3, 0.7)),
        "diff.flip_logits": transcoder.flip_logits(x_t, t, given["gen.cond"].flatten(0, 1)),
        "diff.q_sample_prob": transcoder.schedule.noised(code.flatten(0, 1), t),
        "loss.per_bit": flip_loss(given["diff.flip_logits"], code.flatten(0, 1) != x_t),
        "loss.masked_mean": given["loss.per_bit"][mask.flatten()].mean()[None],
    }
    for layer in range(len(generator.blocks)):
        found[f"gen.hidden.{layer}"] = generator.hidden(code, labels, layer)
    for table in ("k", "b", "beta"):
        found[f"diff.{table}"] = getattr(transcoder.schedule, table)
    return found | reverse_step(published)


def reverse_step(published: Published) -> dict[str, Tensor]:
    """One guided step of the transcoder: item 0 is conditional, item 2 unconditional, both work on the same x_t."""
    given, transcoder, step = published.expected, published.model.generator.transcoder, published.settings["step"]
    cond = given["gen.cond"]
    x_t = given["diff.x_t"][: cond.shape[1]]
    t, s = torch.tensor([step["t"]]), torch.tensor([step["s"]])
    conditional, unconditional = (transcoder.flip_logits(x_t, t.expand(len(x_t)), cond[item]) for item in (0, 2))
    flip = (unconditional + step["guidance"] * (conditional - unconditional)).sigmoid()
    return {
        "step.x0_prob": torch.where(x_t > 0.5, 1 - flip, flip),
        "step.posterior_prob": transcoder.posterior(x_t, given["step.x0_prob"], t, s),
    }


def draw(published: Published, case: str, count: int, *, first_seed: int = 0, batch: int = 1024) -> Tensor:
    """Codes (N, L, K) with the settings of a case; the published code goes by confidence."""
    sampling, generator = published.settings["sample"], published.settings["generator"]
    settings = sampling[case]
    parts = []
    for seeds in torch.arange(first_seed, first_seed + count).split(batch):
        codes = published.model.sample_codes(
            torch.full_like(seeds, sampling["cls"]),
            seeds,
            steps=settings["num_iter"],
            timesteps=generator["infer_steps"],
            guidance=settings["cfg_scale"],
            guidance_schedule=settings["cfg_schedule"],
            gumbel=settings["gumbel_temp"],
            gumbel_schedule=settings["gumbel_schedule"],
            order="confidence",
        )
        parts.append(codes)
    return torch.cat(parts)


def agreement(published: Published, case: str, codes: Tensor) -> Agreement:
    """Compare drawn codes (N, L, K) with the marginals of a case."""
    mean = published.expected[f"sample.{case}.bit_mean"].flatten().double()
    pairs = published.expected[f"sample.{case}.bit_pair_mean"].double()
    x = codes.flatten(1).double()
    count, other, bits = len(x), published.settings["sample"]["n"], x.shape[1]
    total, error = count + other, 1 / count + 1 / other  # the variance of a difference of means is error · covariance
    difference = x.mean(0) - mean
    ours, theirs = torch.cov(x.T, correction=0), pairs - mean[:, None] * mean
    pooled = (count * ours + other * theirs) / (total - 2)
    hotelling = float(difference @ torch.linalg.solve(pooled, difference)) / error
    chi_square = float((difference**2 / pooled.diagonal()).sum()) / error

    above = torch.triu_indices(bits, bits, 1).unbind()
    products = x.T @ x / count
    both = ((count * products + other * pairs) / total)[above]
    largest = float(((products - pairs)[above] / (both * (1 - both) * error).sqrt()).abs().max())
    centred = x - x.mean(0)
    spread = (centred**2).T @ centred**2 / count - ours**2  # variance of a product of two centred bits
    covariance_z = (ours - theirs)[above] / (spread[above] * error).sqrt()
    return Agreement(
        bits=bits,
        chi_square=chi_square,
        mahalanobis=hotelling,
        p_mean=float(stats.f.sf(hotelling * (total - bits - 1) / (bits * (total - 2)), bits, total - bits - 1)),
        largest_pair_z=largest,
        p_pairs=min(1.0, float(2 * stats.norm.sf(largest)) * len(both)),
        covariance=float((covariance_z**2).mean()),
    )


def main() -> None:
    """Compute, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, default=FIXTURES, help="the published files and numbers")
    parser.add_argument("--samples", type=int, default=4096, help="drawn for each case; 0 leaves the sampler out")
    parser.add_argument("--seed", type=int, default=0, help="of the first sample (default 0)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of tables")
    options = parser.parse_args()
    published = load_published(options.fixtures)
    tensors: list[dict[str, object]] = []
    for name, value in computed(published).items():
        expected = published.expected[name]
        worst = float((value.double() - expected.double()).abs().max())
        tensors.append({"tensor": name, "shape": "×".join(map(str, expected.shape)), "largest difference": worst})
    show(tensors, as_json=options.json)
    if options.samples <= 0:
        return
    if not options.json:
        print()
    rows: list[dict[str, object]] = []
    for case in published.cases:
        codes = draw(published, case, options.samples, first_seed=options.seed)
        rows.append({"case": case, "samples": options.samples, **vars(agreement(published, case, codes))})
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
