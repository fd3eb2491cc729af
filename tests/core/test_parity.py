"""Our float32 network against every tensor that the published one gives for the same weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

ATOL = 2e-4
TENSORS = [
    *("bae.encoder_out", "bae.bit_prob", "bae.code", "bae.decoded"),
    *("gen.rope", "gen.hidden.0", "gen.hidden.1", "gen.cond", "gen.cond_interpolated"),
    *("diff.k", "diff.b", "diff.beta", "diff.flip_logits", "diff.q_sample_prob"),
    *("step.x0_prob", "step.posterior_prob", "loss.per_bit", "loss.masked_mean"),
]


@pytest.fixture(scope="module")
def computed(parity, published) -> dict[str, Tensor]:
    return parity.computed(published)


@pytest.mark.parametrize("name", TENSORS)
def test_equals_the_published_numbers(published, computed: dict[str, Tensor], name: str) -> None:
    assert computed[name].dtype == torch.float32
    torch.testing.assert_close(computed[name], published.expected[name], atol=ATOL, rtol=0)


def test_no_tensor_is_left_out(parity, published, computed: dict[str, Tensor]) -> None:
    """What the published file holds is an input, compared here, or compared by its marginals."""
    names = {name for name in published.expected if not name.startswith("sample.")}
    assert names == {*TENSORS, *parity.INPUTS}
    assert set(computed) == set(TENSORS)


def test_codes_are_equal_bit_for_bit(published, computed: dict[str, Tensor]) -> None:
    assert torch.equal(computed["bae.code"], published.expected["bae.code"])


def test_one_step_from_our_own_conditions(parity, published) -> None:
    """The codes, through the transformer and the transcoder, to the published guided prediction."""
    given, generator = published.expected, published.model.generator
    cond = generator.condition(given["gen.code"], given["gen.class"], given["gen.mask"].bool())
    chained = replace(published, expected={**given, "gen.cond": cond})
    for name, value in parity.reverse_step(chained).items():
        torch.testing.assert_close(value, given[name], atol=ATOL, rtol=0)
