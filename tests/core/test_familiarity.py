from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bigr_cli.core.familiarity import FEWEST, Look, held_out_statistics, summary
from bigr_cli.core.held_out import Familiarity, HeldOut, compare, together
from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import ConfigError

USUAL = HeldOut(images=100, psnr=(26.0, 29.0), likelihood=(-0.4, -0.3))
IMAGES = torch.rand(FEWEST, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


def looking(network: BinaryModel, usual: HeldOut | None) -> Look:
    network.held_out = usual
    look = Look(network)
    network.held_out = None
    return look


def test_the_statistics_are_quantiles_of_each_images_own_measures(tiny_network: BinaryModel) -> None:
    found = held_out_statistics(tiny_network, IMAGES.split(10))
    with torch.no_grad():
        made = tiny_network.tokenizer.decode(tiny_network.tokenizer.encode(IMAGES)).clamp(0, 1)
    each = [psnr(one, other) for one, other in zip(made, IMAGES, strict=True)]
    assert found is not None
    assert found.images == FEWEST
    assert np.allclose(found.psnr, np.quantile(each, [0.01, 0.5]), atol=1e-3)
    assert found.likelihood is not None
    assert found.likelihood[0] < found.likelihood[1] < 0
    assert held_out_statistics(tiny_network, [IMAGES[:-1]]) is None  # too few for quantiles


def test_a_causal_generator_has_no_likelihood() -> None:
    found = summary(torch.rand(FEWEST), torch.empty(0))
    assert found is not None
    assert found.likelihood is None


@pytest.mark.parametrize(
    ("db", "nats", "unfamiliar"),
    [
        (26.1, None, False),
        (24.0, -0.35, False),  # in doubt, and its tokens are likely
        (24.0, -0.45, True),
        (24.0, None, False),
        (22.9, -0.1, True),  # as far again below the 1 % quantile as this is below the median
        (27.0, -0.9, False),  # well reconstructed: nothing else is asked
    ],
)
def test_the_verdict(db: float, nats: float | None, unfamiliar: bool) -> None:
    assert compare(USUAL, db, nats).unfamiliar is unfamiliar


def test_only_what_is_known_counts_and_windows_count_by_their_tokens(tiny_network: BinaryModel) -> None:
    """Pixels of unknown tokens may be anything; two windows are as one of all their known tokens."""
    usual = HeldOut(images=100, psnr=(-50.0, -49.0))
    known = torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    codes = tiny_network.tokenizer.encode(IMAGES[:2])
    other = IMAGES[0].clone()
    other[:, 8:] = 0
    verdicts = []
    for image in (IMAGES[0], other):
        look = looking(tiny_network, usual)
        look.add(image, codes[0], known.flatten())
        verdicts.append(look.verdict)
    assert verdicts[0] == verdicts[1]
    both = looking(tiny_network, usual)
    both.add(IMAGES[0], codes[0], known.flatten())
    both.add(IMAGES[1], codes[1])
    made = tiny_network.tokenizer.decode(codes).clamp(0, 1)
    errors = (made - IMAGES[:2]).square().mean(dim=1)
    expected = (errors[0, :8].sum() + errors[1].sum()) / (8 * 16 + 16 * 16)
    assert both.verdict is not None
    assert both.verdict.psnr == pytest.approx(float(-10 * expected.detach().log10()), abs=1e-3)


def test_too_little_or_no_statistics_give_no_verdict(tiny_network: BinaryModel) -> None:
    codes = tiny_network.tokenizer.encode(IMAGES[:1])[0]
    one = torch.zeros(16, dtype=torch.bool)
    one[0] = True
    for usual, known in ((USUAL, one), (USUAL, ~torch.ones(16, dtype=torch.bool)), (None, None)):
        look = looking(tiny_network, usual)
        assert look.add(IMAGES[0], codes, known) is None
        assert look.verdict is None


def test_of_several_the_least_familiar_speaks() -> None:
    usual: Any = USUAL
    good, bad = Familiarity(24.5, -0.3, False, usual), Familiarity(25.0, -0.5, True, usual)
    assert together([good, None, bad]) is bad
    assert together([None]) is None


@pytest.mark.parametrize("changes", [{"images": 0}, {"psnr": (29.0, 26.0)}, {"psnr": (float("nan"), 1.0)}])
def test_statistics_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="held_out"):
        replace(USUAL, **changes)
