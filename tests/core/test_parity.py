"""Our float32 network against every tensor that the published one gives for the same weights."""

import pytest
import torch
from torch import Tensor

from bigr_cli.core.loss import flip_loss, masked_mean

ATOL = 2e-4


@pytest.fixture(scope="module")
def computed(published) -> dict[str, Tensor]:
    """What our implementation computes, by the names and in the shapes of the published numbers.

    Every step takes the published numbers as its input, so that an error shows where it is made.
    """
    given, tokenizer, generator = published.expected, published.model.tokenizer, published.model.generator
    transcoder = generator.transcoder
    code, labels, mask = given["gen.code"], given["gen.class"], given["gen.mask"].bool()
    x_t, t = given["diff.x_t"], given["diff.t"]
    grid = given["bae.code"].shape[2:]

    def maps(codes: Tensor) -> Tensor:
        """(B, L, K) → (B, K, h, w)."""
        return codes.float().transpose(1, 2).unflatten(2, grid)

    found = {
        "bae.encoder_out": tokenizer.encoder(given["bae.image"]),
        "bae.bit_prob": maps(tokenizer.bit_probabilities(given["bae.image"])),
        "bae.code": maps(tokenizer.encode(given["bae.image"])),
        "bae.decoded": tokenizer.decode(given["bae.code"].flatten(2).transpose(1, 2)),
        "gen.rope": generator.rope,
        "gen.cond": generator.condition(code, labels, mask),
        "diff.flip_logits": transcoder.flip_logits(x_t, t, given["gen.cond"].flatten(0, 1)),
        "diff.q_sample_prob": transcoder.schedule.noised(code.flatten(0, 1), t),
        "loss.per_bit": flip_loss(given["diff.flip_logits"], code.flatten(0, 1) != x_t),
        "loss.masked_mean": masked_mean(given["loss.per_bit"], mask.flatten())[None],
    }
    for layer in range(len(generator.blocks)):
        found[f"gen.hidden.{layer}"] = generator.hidden(code, labels, layer)
    for table in ("k", "b", "beta"):
        found[f"diff.{table}"] = getattr(transcoder.schedule, table)
    both = torch.full_like(labels, 1), torch.full_like(labels, 2)
    found["gen.cond_interpolated"] = generator.condition(code, both, mask, ratios=(0.3, 0.7))
    found |= reverse_step(published)
    return found


def reverse_step(published) -> dict[str, Tensor]:
    """One guided step of the transcoder: item 0 is conditional, item 2 is unconditional, both on the same x_t."""
    given, transcoder, step = published.expected, published.model.generator.transcoder, published.settings["step"]
    x_t = given["diff.x_t"][: given["gen.cond"].shape[1]]
    t, s = torch.tensor([step["t"]]), torch.tensor([step["s"]])
    conditional, unconditional = (
        transcoder.flip_logits(x_t, t.expand(len(x_t)), given["gen.cond"][item]) for item in (0, 2)
    )
    flip = (unconditional + step["guidance"] * (conditional - unconditional)).sigmoid()
    x0_prob = torch.where(x_t > 0.5, 1 - flip, flip)
    posterior = transcoder.posterior(x_t, given["step.x0_prob"], t, s)
    return {"step.x0_prob": x0_prob, "step.posterior_prob": posterior}


TENSORS = [
    *("bae.encoder_out", "bae.bit_prob", "bae.code", "bae.decoded"),
    *("gen.rope", "gen.hidden.0", "gen.hidden.1", "gen.cond", "gen.cond_interpolated"),
    *("diff.k", "diff.b", "diff.beta", "diff.flip_logits", "diff.q_sample_prob"),
    *("step.x0_prob", "step.posterior_prob", "loss.per_bit", "loss.masked_mean"),
]
INPUTS = ["bae.image", "gen.code", "gen.class", "gen.mask", "diff.x_t", "diff.t"]


@pytest.mark.parametrize("name", TENSORS)
def test_equals_the_published_numbers(published, computed: dict[str, Tensor], name: str) -> None:
    assert computed[name].dtype == torch.float32
    torch.testing.assert_close(computed[name], published.expected[name], atol=ATOL, rtol=0)


def test_no_tensor_is_left_out(published) -> None:
    """What the published file holds is an input, compared here, or compared by its marginals."""
    names = {name for name in published.expected if not name.startswith("sample.")}
    assert names == {*TENSORS, *INPUTS}


def test_codes_are_equal_bit_for_bit(published, computed: dict[str, Tensor]) -> None:
    assert torch.equal(computed["bae.code"], published.expected["bae.code"])


def test_one_step_equals_the_whole_chain_of_parts(published) -> None:
    """Our own conditions, from the codes on, lead to the published reverse step as well."""
    given, generator = published.expected, published.model.generator
    cond = generator.condition(given["gen.code"], given["gen.class"], given["gen.mask"].bool())
    chained = type(published)(published.model, {**given, "gen.cond": cond}, published.settings)
    for name, value in reverse_step(chained).items():
        torch.testing.assert_close(value, given[name], atol=ATOL, rtol=0)
