"""The transformer: positions, masks, labels, and what its parts must leave alone."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.layers import RMSNorm, SwiGLU
from bigr_cli.core.network import Block, Generator, rope_table, rotate

TOKENS, BITS, DIM, CLASSES = 9, 4, 16, 5


@pytest.fixture(scope="module")
def generator(tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator(layers=3)


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return torch.rand(2, TOKENS, BITS, generator=torch.Generator().manual_seed(0)) < 0.5


LABELS = torch.tensor([1, 4])
NO_MASK = torch.zeros(2, TOKENS).bool()


class TestRope:
    def test_by_hand(self) -> None:
        """Head dimension 8: θ = 1 and 1/100; angles row·θ, then column·θ; the condition's row is zero, not (1, 0)."""
        table = rope_table(3, 8, 10000.0)
        assert table.shape == (10, 4, 2)
        assert torch.equal(table[0], torch.zeros(4, 2))
        angles = torch.tensor([2.0, 0.02, 1.0, 0.01])  # row 2, column 1
        torch.testing.assert_close(table[1 + 2 * 3 + 1], torch.stack([angles.cos(), angles.sin()], dim=-1))

    def test_several_condition_tokens(self) -> None:
        table = rope_table(2, 8, 100.0, prefix=3)
        assert table.shape == (7, 4, 2) and torch.equal(table[:3], torch.zeros(3, 4, 2))
        assert torch.equal(table[3:], rope_table(2, 8, 100.0)[1:])

    def test_turns_pairs_and_keeps_their_length(self) -> None:
        x = torch.randn(2, 2, 10, 8)
        turned = rotate(x, rope_table(3, 8, 10000.0))
        torch.testing.assert_close(
            turned[:, :, 1:].unflatten(-1, (-1, 2)).norm(dim=-1), x[:, :, 1:].unflatten(-1, (-1, 2)).norm(dim=-1)
        )
        assert torch.equal(turned[:, :, 0], torch.zeros(2, 2, 8))
        torch.testing.assert_close(turned[:, :, 1], x[:, :, 1])  # row 0, column 0
        quarter = rotate(torch.tensor([1.0, 0.0]).view(1, 1, 1, 2), torch.tensor([0.0, 1.0]).view(1, 1, 2))
        torch.testing.assert_close(quarter.flatten(), torch.tensor([0.0, 1.0]))

    @given(
        st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 1), st.integers(0, 1)
    )
    def test_products_depend_on_the_distance_alone(self, r1, c1, r2, c2, down, right) -> None:
        table = rope_table(7, 16, 10000.0)[1:].view(7, 7, 8, 2)
        q, k = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

        def product(a: tuple[int, int], b: tuple[int, int]) -> float:
            one, other = (rotate(x.view(1, 1, 1, 16), table[place].view(1, 8, 2)) for x, place in ((q, a), (k, b)))
            return float((one * other).sum())

        near = product((r1, c1), (r2, c2))
        assert product((r1 + down, c1 + right), (r2 + down, c2 + right)) == pytest.approx(near, abs=1e-4)

    def test_keeps_the_number_format(self) -> None:
        assert rotate(torch.randn(1, 1, 10, 8).bfloat16(), rope_table(3, 8, 10000.0)).dtype == torch.bfloat16


class TestLayers:
    def test_rms_norm(self) -> None:
        norm = RMSNorm(3, eps=0.0)
        norm.weight.data = torch.tensor([1.0, 2.0, 0.0])
        torch.testing.assert_close(
            norm(torch.tensor([[3.0, 4.0, 0.0]])), torch.tensor([[3.0, 8.0, 0.0]]) / (25 / 3) ** 0.5
        )

    def test_rms_norm_is_computed_in_float32(self) -> None:
        """In float16 the square of 300 would be infinite."""
        out = RMSNorm(4).half()(torch.full((1, 4), 300.0).half())
        assert out.dtype == torch.float16 and torch.equal(out, torch.ones(1, 4).half())

    def test_swiglu(self) -> None:
        layer, x = SwiGLU(4, 6), torch.randn(2, 4)
        a, b = x @ layer.w1.weight.T, x @ layer.w3.weight.T
        torch.testing.assert_close(layer(x), (a * a.sigmoid() * b) @ layer.w2.weight.T)


@torch.no_grad()
def test_shapes(generator: Generator, codes: Tensor) -> None:
    assert generator.condition(codes, LABELS, NO_MASK).shape == (2, TOKENS, DIM)
    assert generator.hidden(codes, LABELS, 0).shape == (2, TOKENS, DIM)


@torch.no_grad()
def test_the_condition_comes_from_the_last_block(generator: Generator, codes: Tensor) -> None:
    last = generator.hidden(codes, LABELS, 2)
    torch.testing.assert_close(generator.condition(codes, LABELS, NO_MASK), generator.norm(last) + generator.positions)
    assert not torch.allclose(generator.hidden(codes, LABELS, 1), last)


@pytest.mark.parametrize("layer", [-1, 3, 100])
def test_blocks_that_are_not_there(generator: Generator, codes: Tensor, layer: int) -> None:
    with pytest.raises(ValueError, match=f"layer: expected 0 to 2, got {layer}"):
        generator.hidden(codes, LABELS, layer)


@pytest.mark.parametrize("shape", [(TOKENS, BITS), (2, TOKENS, BITS + 1), (2, TOKENS + 1, BITS)])
def test_codes_of_a_wrong_shape(generator: Generator, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"codes: expected \(B, 9, 4\), got"):
        generator.condition(torch.zeros(shape), LABELS, NO_MASK)
    with pytest.raises(ValueError, match=r"codes: expected \(B, 9, 4\), got"):
        generator.hidden(torch.zeros(shape), LABELS, 0)


@given(st.lists(st.booleans(), min_size=TOKENS, max_size=TOKENS))
def test_what_stands_at_masked_places_does_not_matter(generator: Generator, codes: Tensor, places: list[bool]) -> None:
    mask = torch.tensor(places).expand(2, -1)
    with torch.no_grad():
        found = generator.condition(codes, LABELS, mask)
        assert torch.equal(generator.condition(codes ^ mask[..., None], LABELS, mask), found)
        if mask.any():
            assert not torch.allclose(generator.condition(codes, LABELS, NO_MASK), found)


@torch.no_grad()
def test_every_token_sees_every_other(generator: Generator, codes: Tensor) -> None:
    """Attention is bidirectional: a change of the first or the last token shows everywhere."""
    before = generator.condition(codes, LABELS, NO_MASK)
    for place in (0, TOKENS - 1):
        changed = codes.clone()
        changed[:, place] = ~changed[:, place]
        difference = (generator.condition(changed, LABELS, NO_MASK) - before).abs().amax(dim=-1)
        assert (difference > 1e-5).all()


class TestInterpolation:
    @torch.no_grad()
    def test_all_the_weight_on_one_label_is_that_label(self, generator: Generator, codes: Tensor) -> None:
        plain = generator.condition(codes, LABELS, NO_MASK)
        pair = (LABELS, LABELS.flip(0))
        assert torch.equal(generator.condition(codes, pair, NO_MASK, ratios=(1.0, 0.0)), plain)
        assert torch.equal(generator.condition(codes, pair[::-1], NO_MASK, ratios=(0.0, 1.0)), plain)

    @torch.no_grad()
    def test_a_label_mixed_with_itself_is_that_label(self, generator: Generator, codes: Tensor) -> None:
        mixed = generator.condition(codes, (LABELS, LABELS, LABELS), NO_MASK, ratios=(0.5, 0.25, 0.25))
        torch.testing.assert_close(mixed, generator.condition(codes, LABELS, NO_MASK), atol=1e-4, rtol=1e-4)

    @torch.no_grad()
    def test_embeddings_are_summed_by_their_ratios(self, generator: Generator) -> None:
        table = generator.condition_tokens.table.weight
        mixed = generator.condition_tokens((torch.tensor([1]), torch.tensor([CLASSES])), (0.3, 0.7)).tokens
        torch.testing.assert_close(mixed, (0.3 * table[1] + 0.7 * table[CLASSES])[None, None])

    def test_ratios_keep_the_number_format(self, generator: Generator) -> None:
        table = copy.deepcopy(generator.condition_tokens).bfloat16()
        mixed = table((LABELS, LABELS), (torch.full((len(LABELS),), 0.25), torch.full((len(LABELS),), 0.75)))
        assert mixed.tokens.dtype == torch.bfloat16

    def test_ratios_that_do_not_fit(self, generator: Generator, codes: Tensor) -> None:
        with pytest.raises(ValueError, match="ratios: expected 2, one for each label, got 3"):
            generator.condition(codes, (LABELS, LABELS), NO_MASK, ratios=(0.2, 0.3, 0.5))

    def test_no_label_has_the_form_of_the_labels(self, generator: Generator) -> None:
        assert generator.condition_tokens.null(LABELS).tolist() == [CLASSES, CLASSES]
        assert [part.tolist() for part in generator.condition_tokens.null((LABELS, LABELS))] == [[CLASSES] * 2] * 2


def test_a_model_without_memory_has_its_tables(tiny_config: Callable[..., GeneratorConfig], codes: Tensor) -> None:
    """Laid out on the meta device and filled from another one's weights, it computes the same."""
    config = tiny_config()
    torch.manual_seed(0)
    real = Generator(config).eval()
    with torch.device("meta"):
        empty = Generator(config).eval()
    assert all(parameter.is_meta for parameter in empty.parameters())
    tables = dict(empty.named_buffers())
    assert set(tables) == {"rope", *(f"transcoder.schedule.{name}" for name in ("beta", "k", "b"))}
    for name, table in real.named_buffers():
        assert torch.equal(tables[name], table)
    empty.load_state_dict(real.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(empty.condition(codes, LABELS, NO_MASK), real.condition(codes, LABELS, NO_MASK))
    assert not any("rope" in name or "schedule" in name for name in real.state_dict())


def test_a_new_model_starts_with_coins(tiny_config: Callable[..., GeneratorConfig]) -> None:
    """The transcoder's last layer starts at zero: every bit flips with P = 1/2."""
    transcoder = Generator(tiny_config()).transcoder
    logits = transcoder.flip_logits(torch.ones(3, BITS), torch.tensor([1, 4, 8]), torch.randn(3, DIM))
    assert torch.equal(logits, torch.zeros(3, BITS))


class TestTranscoder:
    @torch.no_grad()
    def test_rows_do_not_see_each_other(self, generator: Generator) -> None:
        chance = torch.Generator().manual_seed(2)
        x_t, t = torch.rand(6, BITS, generator=chance) < 0.5, torch.tensor([1, 8, 3, 3, 5, 1])
        cond = torch.randn(6, DIM, generator=chance)
        together = generator.transcoder.flip_logits(x_t, t, cond)
        for row in range(6):
            one = slice(row, row + 1)
            alone = generator.transcoder.flip_logits(x_t[one], t[one], cond[one])
            torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_bits_timesteps_and_conditions_matter(self, generator: Generator) -> None:
        transcoder, cond = generator.transcoder, torch.randn(1, DIM, generator=torch.Generator().manual_seed(3))
        x_t, t = torch.ones(1, BITS), torch.tensor([3])
        found = transcoder.flip_logits(x_t, t, cond)
        assert not torch.allclose(transcoder.flip_logits(1 - x_t, t, cond), found)
        assert not torch.allclose(transcoder.flip_logits(x_t, t + 1, cond), found)
        assert not torch.allclose(transcoder.flip_logits(x_t, t, -cond), found)
        assert torch.equal(transcoder.flip_logits(x_t.bool(), t, cond), found)

    def test_the_sinusoid_has_its_cosines_first(self, generator: Generator) -> None:
        seen: list[Tensor] = []
        embedding = generator.transcoder.timestep_embedding
        handle = embedding.mlp.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        embedding(torch.tensor([0, 7]))
        handle.remove()
        waves = seen[0]
        assert waves.shape == (2, 256)
        torch.testing.assert_close(waves[0], torch.tensor([1.0] * 128 + [0.0] * 128))
        frequencies = 10000.0 ** (-torch.arange(128) / 128)
        torch.testing.assert_close(waves[1], torch.cat([(7 * frequencies).cos(), (7 * frequencies).sin()]))


@pytest.mark.parametrize(("gate", "branch"), [(2, "attention"), (5, "feed-forward")])
def test_each_branch_drops_out_once(gate: int, branch: str) -> None:
    """A tenth of 1,048,576 numbers is zero where a branch is added, and what is left is scaled by 1 / 0.9."""
    torch.manual_seed(0)
    config = GeneratorConfig(grid=16, bits=4, classes=5, layers=1, heads=4, dim=64, dropout=0.1)
    block = Block(config).train()
    torch.nn.init.zeros_(block.offsets)
    modulation = torch.zeros(64, 1, 6, 64)
    modulation[:, :, gate] = 1  # the other branch adds nothing
    x, rope = torch.randn(64, 256, 64), rope_table(16, 16, 10000.0)[1:]
    with torch.no_grad():
        dropped, whole = block(x, modulation, rope) - x, block.eval()(x, modulation, rope) - x
    zero = dropped == 0
    assert zero.float().mean() == pytest.approx(0.1, abs=0.002), branch
    torch.testing.assert_close(dropped[~zero], whole[~zero] / 0.9, atol=1e-5, rtol=1e-4)
