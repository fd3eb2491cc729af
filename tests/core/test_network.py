"""Texts as conditions: bytes, masks, the empty text, and what must not matter."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.architectures import GeneratorConfig, TextConfig
from bigr_cli.core.conditions import Texts, byte_texts, fitting_bytes, joined
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.network import Generator
from bigr_cli.errors import ConfigError

TEXT = TextConfig(tokens=16, width=8, layers=2, heads=2, group=4)
FEATURES = TextConfig("other", tokens=5, width=6)
TOKENS, BITS = 9, 4


@pytest.fixture(scope="module")
def generator(tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator(classes=0, condition="text", text=TEXT, layers=2)


@pytest.fixture(scope="module")
def model(tiny_network: BinaryModel, tiny_config: Callable[..., GeneratorConfig]) -> BinaryModel:
    """The tiny model, with a generator of texts."""
    made = BinaryModel(tiny_network.tokenizer.config, tiny_config(grid=4, classes=0, condition="text", text=TEXT))
    torch.manual_seed(3)
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter)
    return made.eval()


def conditioned(generator: Generator, texts: Texts) -> torch.Tensor:
    codes = torch.zeros(len(texts), TOKENS, BITS, dtype=torch.bool)
    return generator.condition(codes, texts, torch.ones(len(texts), TOKENS, dtype=torch.bool))


class TestBytes:
    @given(st.text(max_size=30), st.integers(0, 24))
    def test_cut_off_between_characters(self, text: str, most: int) -> None:
        data = fitting_bytes(text, most)
        assert len(data) <= most
        assert text.encode("utf-8", "replace").startswith(data)
        assert len(text.encode("utf-8", "replace")) <= most or len(data) > most - 4
        data.decode()

    def test_by_hand(self) -> None:
        batch = byte_texts(["ab", "", "é" * 9], 4)
        assert batch.features.tolist() == [[97, 98, 256, 256], [256] * 4, [195, 169, 195, 169]]
        assert batch.mask.tolist() == [[True, True, False, False], [False] * 4, [True] * 4]


class TestConfig:
    def test_text_and_condition_belong_together(self, tiny_config: Callable[..., GeneratorConfig]) -> None:
        with pytest.raises(ConfigError, match="text: belongs to condition: text"):
            tiny_config(text=TEXT)
        with pytest.raises(ConfigError, match="text: belongs to condition: text"):
            tiny_config(condition="text", classes=0)
        with pytest.raises(ConfigError, match="classes: expected 0"):
            tiny_config(condition="text", text=TEXT)

    @pytest.mark.parametrize(("name", "value"), [("tokens", 15), ("heads", 3), ("width", 0), ("group", 0)])
    def test_sizes_that_do_not_fit(self, name: str, value: int) -> None:
        with pytest.raises(ConfigError):
            replace(TEXT, **{name: value})

    def test_how_long_the_prefix_is(self) -> None:
        assert (TEXT.prefix, FEATURES.prefix) == (4, 5)


class TestCondition:
    def test_texts_differ_and_what_is_padded_does_not_matter(self, generator: Generator) -> None:
        texts = byte_texts(["a red house", "a blue house", ""], 16)
        found = conditioned(generator, texts)
        assert (found[0] - found[1]).abs().max() > 1e-3 and (found[0] - found[2]).abs().max() > 1e-3
        other = texts.features.masked_fill(~texts.mask, 65)
        torch.testing.assert_close(conditioned(generator, Texts(other, texts.mask)), found)
        shorter = Texts(texts.features[:, :12], texts.mask[:, :12])
        torch.testing.assert_close(conditioned(generator, shorter), found)

    def test_order_of_the_words_matters(self, generator: Generator) -> None:
        found = conditioned(generator, byte_texts(["red house", "house red"], 16))
        assert (found[0] - found[1]).abs().max() > 1e-3

    def test_the_empty_text_is_what_guidance_compares_with(self, generator: Generator) -> None:
        texts, empty = byte_texts(["a red house", "a boat"], 16), byte_texts(["", ""], 16)
        condition = generator.condition_tokens
        null = condition.null(texts)
        assert isinstance(null, Texts) and not null.mask.any()
        torch.testing.assert_close(conditioned(generator, null), conditioned(generator, empty))
        dropped = condition.dropped(texts, torch.tensor([False, True]))
        torch.testing.assert_close(
            conditioned(generator, dropped), conditioned(generator, byte_texts(["a red house", ""], 16))
        )

    def test_one_of_two_with_all_the_weight_is_that_text(self, generator: Generator) -> None:
        one, other = byte_texts(["a red house"], 16), byte_texts(["sea"], 16)
        alone = generator.condition_tokens(one)
        for mixed in (
            generator.condition_tokens((one, other), (1.0, 0.0)),
            generator.condition_tokens((one, other), (torch.tensor([1.0]), torch.tensor([0.0]))),
        ):
            torch.testing.assert_close(mixed.tokens, alone.tokens)
            torch.testing.assert_close(mixed.pooled, alone.pooled)
            assert torch.equal(mixed.keep, alone.keep)
        half = generator.condition_tokens((one, other), (0.5, 0.5))
        assert half.keep is not None and half.keep.sum() == 3

    def test_features_of_another_encoder(self, tiny_generator: Callable[..., Generator]) -> None:
        generator = tiny_generator(classes=0, condition="text", text=FEATURES)
        mask = torch.tensor([[True] * 3 + [False] * 2, [False] * 5])
        texts = Texts(torch.randn(2, 5, 6), mask)
        found = conditioned(generator, texts)
        loud = Texts(torch.where(mask[..., None], texts.features, 99.0), mask)
        torch.testing.assert_close(conditioned(generator, loud), found)
        with pytest.raises(ValueError, match="texts are read by other, which is not there"):
            generator.condition_tokens.batch(["a"])

    def test_labels_are_no_texts(self, generator: Generator, tiny_generator: Callable[..., Generator]) -> None:
        with pytest.raises(ValueError, match="expected texts, got class numbers"):
            generator.condition_tokens(torch.tensor([1]))
        with pytest.raises(ValueError, match="expected class numbers, got texts"):
            tiny_generator().condition_tokens(byte_texts(["a"], 16))
        assert joined([byte_texts(["a"], 16), byte_texts(["b"], 16)]).mask.shape == (2, 16)  # type: ignore[union-attr]


class TestSampling:
    def test_an_image_depends_on_its_text_and_seed_alone(self, model: BinaryModel) -> None:
        texts = ["a red house", "", "a boat", "x"]
        options = {"steps": 3, "timesteps": 3, "guidance": 2.0}
        together = model.sample_codes(model.conditions(texts), [1, 2, 3, 4], **options)
        for row, text in enumerate(texts):
            alone = model.sample_codes(model.conditions([text]), [row + 1], **options)
            assert torch.equal(alone[0], together[row])
        none = model.sample_codes(model.conditions([None]), [2], **options)
        assert torch.equal(none[0], together[1])
        others = model.sample_codes(model.conditions(["a blue fish"] * 4), [1, 2, 3, 4], **options)
        assert not torch.equal(others, together)

    def test_guidance_away_from_a_text(self, model: BinaryModel) -> None:
        texts, options = model.conditions(["a red house"]), {"steps": 3, "timesteps": 3, "guidance": 4.0}
        plain = model.sample_codes(texts, [1], **options)
        same = model.sample_codes(texts, [1], negative=model.conditions([None]), **options)
        away = model.sample_codes(texts, [1], negative=model.conditions(["a boat"]), **options)
        assert torch.equal(plain, same) and not torch.equal(plain, away)

    def test_wrong_conditions(self, model: BinaryModel, tiny_network: BinaryModel) -> None:
        with pytest.raises(ValueError, match="expected texts, got the class 3"):
            model.conditions([3])
        with pytest.raises(ValueError, match="expected classes, got the text 'a'"):
            tiny_network.conditions(["a"])
        with pytest.raises(ValueError, match="for 2 seeds"):
            model.sample_codes(model.conditions(["a"]), [1, 2])
        with pytest.raises(ValueError, match="expected texts, got class numbers"):
            model.sample_codes(torch.tensor([0]), [1])

    def test_ways_between_texts_in_short_number_formats(self, model: BinaryModel) -> None:
        """A ratio for each row is in float32, whatever the model is in."""
        short = BinaryModel(model.tokenizer.config, model.generator.config).cast(torch.bfloat16).eval()
        pair = (short.conditions(["a red house"]), short.conditions(["a boat"]))
        mixed = short.sample_codes(pair, [1], ratios=(torch.tensor([0.7]), torch.tensor([0.3])), steps=2, timesteps=2)
        assert mixed.shape == (1, 16, BITS)
