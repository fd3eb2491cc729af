"""Dataclasses ↔ plain data: everything comes back equal, and whatever does not fit is named."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.architectures import AutoencoderConfig, CompactConfig, GeneratorConfig, TokenizerConfig
from bigr_cli.core.config import GUIDANCE_SCHEDULES, ORDERS, SamplingConfig
from bigr_cli.errors import ConfigError
from bigr_cli.schema import dump_yaml, from_mapping, load_yaml, override, to_mapping
from bigr_cli.yaml_text import parse
from bigr_cli.zoo.config import GENERATOR_FILE, TOKENIZER_FILE, ModelConfig, Provenance


@dataclass(frozen=True)
class Everything:
    """One field of each kind."""

    count: int
    tokenizer: TokenizerConfig
    rate: float = 0.1
    flag: bool = False
    text: str = ""
    folder: Path = Path("runs")
    kind: Literal["a", "b", 3] = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    numbers: tuple[int, ...] = ()
    either: int | Literal["auto"] | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    generator: GeneratorConfig | None = None
    values: dict[str, float] = field(default_factory=dict)


COMPACT = CompactConfig(64, 24)
EVERYTHING = Everything(3, COMPACT, values={"x": 1.5}, folder=Path("a/b"), numbers=(1, 2), either="auto")

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=12)
awkward = st.sampled_from(["no", "1e-4", "null", "~", "12:30", "2024-01-01", "0x10", "0o7", "1_000", "=", "<<", "- a"])
labels = st.lists((texts | awkward).filter(str.strip), max_size=6, unique=True).map(tuple)
whole = st.integers(1, 64)
share = st.floats(0, 1, exclude_max=True)
real = st.floats(0, 1e6)


@st.composite
def tokenizers(draw: st.DrawFn) -> TokenizerConfig:
    levels = draw(st.integers(1, 4))
    grid, bits = draw(st.integers(1, 8)), draw(whole)
    if draw(st.booleans()):
        multipliers = draw(st.lists(st.integers(1, 4), min_size=levels, max_size=levels))
        return AutoencoderConfig(
            image_size=grid * 2 ** (levels - 1),
            bits=bits,
            channels=32 * draw(st.integers(1, 4)),
            multipliers=tuple(multipliers),
            attention_resolutions=tuple(draw(st.lists(whole, max_size=3))),
            norm_first=draw(st.booleans()),
        )
    counts = st.lists(st.integers(0, 4), min_size=levels, max_size=levels).map(tuple)
    channels = draw(st.lists(st.integers(1, 8).map(lambda n: 8 * n), min_size=levels, max_size=levels))
    return CompactConfig(
        grid * 2**levels,
        bits,
        tuple(channels),
        draw(counts),
        draw(counts),
        attention_heads=draw(st.sampled_from([1, 8])),
    )


@st.composite
def generators(draw: st.DrawFn, tokenizer: TokenizerConfig, classes: int) -> GeneratorConfig:
    heads = draw(st.integers(1, 8))
    return GeneratorConfig(
        grid=tokenizer.grid,
        bits=tokenizer.bits,
        classes=classes,
        layers=draw(whole),
        heads=heads,
        dim=4 * heads * draw(st.integers(1, 8)),
        diffusion_timesteps=draw(st.integers(100, 300)),
        rope_base=draw(st.floats(1, 1e6)),
        norm_eps=draw(st.floats(1e-12, 1e-2)),
        dropout=draw(share),
    )


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    tokenizer, names = draw(tokenizers()), draw(labels)
    generator = draw(st.none() | generators(tokenizer, len(names) or 5))
    low, high = sorted(draw(st.tuples(share, share)))
    return ModelConfig(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[a-z]", fullmatch=True)),
        image_size=tokenizer.image_size,
        tokenizer=tokenizer,
        generator=generator,
        labels=names,
        sampling=SamplingConfig(
            steps=draw(whole),
            timesteps=draw(st.integers(1, 100)),
            guidance=draw(real),
            guidance_schedule=draw(st.sampled_from(GUIDANCE_SCHEDULES)),
            guidance_interval=(low, 1.0 if low == high else high),
            order=draw(st.sampled_from(ORDERS)),
            gumbel=draw(real),
            temperature=draw(st.floats(1e-6, 1e6)),
        ),
        provenance=Provenance(
            data=draw(texts | awkward),
            steps=draw(st.none() | st.integers(0, 2**70)),
            seed=draw(st.none() | st.integers(0, 2**63 - 1)),
            sources=draw(labels),
            notes=draw(texts),
        ),
        licence=draw(texts | awkward),
        sha256=draw(st.dictionaries(st.sampled_from([TOKENIZER_FILE, GENERATOR_FILE]), st.just("0" * 64))),
    )


@given(models())
def test_a_config_comes_back_equal_from_plain_data_and_from_yaml(config: ModelConfig) -> None:
    assert from_mapping(ModelConfig, to_mapping(config), source="x") == config
    text = dump_yaml(config)
    assert from_mapping(ModelConfig, parse(text, source="x"), source="x") == config
    assert dump_yaml(from_mapping(ModelConfig, parse(text, source="x"), source="x")) == text


@given(models(), texts, st.data())
def test_an_unknown_key_anywhere_is_refused(config: ModelConfig, key: str, data: st.DataObject) -> None:
    plain = to_mapping(config)
    places = [place for place in ("", "tokenizer", "generator", "sampling", "provenance") if not place or plain[place]]
    place = data.draw(st.sampled_from(places))
    target = plain[place] if place else plain
    if key in target:
        key += "x"
    target[key] = 1
    with pytest.raises(ConfigError) as caught:
        from_mapping(ModelConfig, plain, source="config.yaml")
    assert str(caught.value).startswith("config.yaml: unknown key ")
    assert repr(f"{place}.{key}" if place else key) in str(caught.value)


def test_every_kind_of_field_comes_back() -> None:
    plain = to_mapping(EVERYTHING)
    assert from_mapping(Everything, plain, source="x") == EVERYTHING
    assert from_mapping(Everything, parse(dump_yaml(EVERYTHING), source="x"), source="x") == EVERYTHING
    assert plain["numbers"] == [1, 2]
    assert plain["folder"] == "a/b"


def test_a_whole_number_will_do_for_a_float() -> None:
    built = from_mapping(Everything, {**to_mapping(EVERYTHING), "rate": 2, "pair": [0, 1]}, source="x")
    assert (built.rate, built.pair) == (2.0, (0.0, 1.0))
    assert isinstance(built.rate, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": "3"}, "f.yaml: count: expected a whole number, got '3'"),
        ({"count": True}, "f.yaml: count: expected a whole number, got True"),
        ({"count": 3.0}, "f.yaml: count: expected a whole number, got 3.0"),
        ({"rate": False}, "f.yaml: rate: expected a number, got False"),
        ({"rate": 10**400}, "f.yaml: rate: expected a number, got 1000"),
        ({"flag": 1}, "f.yaml: flag: expected true or false, got 1"),
        ({"text": 1}, "f.yaml: text: expected text, got 1"),
        ({"kind": "c"}, "f.yaml: kind: expected one of a, b, 3, got 'c'"),
        ({"kind": True}, "f.yaml: kind: expected one of a, b, 3, got True"),
        ({"pair": [0]}, "f.yaml: pair: expected a list of 2: a number, a number, got [0]"),
        ({"numbers": [1, "x"]}, "f.yaml: numbers[1]: expected a whole number, got 'x'"),
        ({"numbers": "12"}, "f.yaml: numbers: expected a list, each a whole number, got '12'"),
        ({"either": 1.5}, "f.yaml: either: expected a whole number or auto or nothing, got 1.5"),
        ({"values": {"a": "b"}}, "f.yaml: values.a: expected a number, got 'b'"),
        ({"values": {1: 2.0}}, "f.yaml: values: expected a mapping, got {1: 2.0}"),
        ({"sampling": None}, "f.yaml: sampling: expected a mapping, got None"),
        ({"sampling": {"order": "entropi"}}, "got 'entropi'; did you mean entropy?"),
        ({"sampling": {"step": 1}}, "f.yaml: unknown key 'sampling.step'; did you mean steps?"),
        ({"sampling": {"steps": 0}}, "f.yaml: sampling.steps: expected at least 1, got 0"),
        ({"tokenizer": {}}, "f.yaml: missing key 'tokenizer.architecture', expected one of autoencoder, compact"),
        ({"tokenizer": {"architecture": "compat"}}, "expected one of autoencoder, compact, got 'compat'; did you mean"),
        (
            {"tokenizer": {"architecture": "compact", "bits": 1}},
            "f.yaml: missing key 'tokenizer.image_size', expected a",
        ),
        ({"generator": {"grid": 1}}, "f.yaml: missing key 'generator.bits', expected a whole number"),
        ({7: 1}, "f.yaml: unknown key '7'"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[object, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Everything, {**to_mapping(EVERYTHING), **changes}, source="f.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_only_a_mapping_makes_a_dataclass(data: object) -> None:
    with pytest.raises(ConfigError, match="x: expected a mapping"):
        from_mapping(Everything, data, source="x")  # type: ignore[arg-type]


def test_override_sets_nested_values() -> None:
    changed = override(
        EVERYTHING, ["rate=1e-4", "sampling.order=halton", "numbers=[4]", "text=a=b", "generator=null"], "options"
    )
    assert (changed.rate, changed.sampling.order, changed.numbers, changed.text) == (1e-4, "halton", (4,), "a=b")
    assert changed.tokenizer == EVERYTHING.tokenizer


@pytest.mark.parametrize(
    "word", ["*.tar", "2024", "a: b", "x #1", "null and void", "[x", "&a", "true", "1e3", " x ", ""]
)
def test_text_is_taken_as_it_is(word: str) -> None:
    """No word for a text goes through a YAML parser, which would cut, convert or refuse it."""
    changed = override(EVERYTHING, [f"text={word}"], "options", given={"folder": word or "."})
    assert (changed.text, changed.folder) == (word, Path(word or "."))
    assert override(EVERYTHING, [f"text='{word}'"], "options").text == word


def test_what_is_given_wins_over_settings() -> None:
    assert override(EVERYTHING, ["text=a", "rate=2"], "options", given={"text": "b"}).text == "b"
    with pytest.raises(ConfigError, match="options: unknown key 'texts'"):
        override(EVERYTHING, [], "options", given={"texts": "b"})


@dataclass(frozen=True)
class Renamed:
    FORMER_KEYS: ClassVar[dict[str, str]] = {"rate": "learning_rate"}
    FORMER_VALUES: ClassVar[dict[str, dict[str, str]]] = {"each": {"picture": "image"}}

    learning_rate: float = 0.1
    each: Literal["batch", "image"] = "batch"


@dataclass(frozen=True)
class Outer:
    inner: Renamed = field(default_factory=Renamed)


def test_former_names_go_on_working_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"inner": {"rate": 2, "each": "picture"}}
    assert from_mapping(Outer, old, source="f.yaml") == Outer(Renamed(2.0, "image"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "warning: f.yaml: inner.rate: is called learning_rate now",
        "warning: f.yaml: inner.each: picture is called image now",
    ]
    assert override(Outer(), ["inner.rate=3", "inner.each=picture"], "options") == Outer(Renamed(3.0, "image"))
    both = {"inner": {"rate": 2, "learning_rate": 4}}
    assert from_mapping(Outer, both, source="g.yaml").inner.learning_rate == 4
    assert "g.yaml: inner.rate: is called learning_rate now" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"unknown key 'inner\.rates'"):
        from_mapping(Outer, {"inner": {"rates": 2}}, source="f.yaml")


def test_override_can_begin_what_was_none() -> None:
    changed = override(EVERYTHING, ["generator.grid=8", "generator.bits=24", "generator.classes=2"], "options")
    assert changed.generator == GeneratorConfig(grid=8, bits=24, classes=2)


def test_changing_the_architecture_keeps_what_both_have() -> None:
    changed = override(EVERYTHING, ["tokenizer.architecture=autoencoder", "tokenizer.embedding=64"], "options")
    assert changed.tokenizer == AutoencoderConfig(64, 24, embedding=64)
    assert override(changed, ["tokenizer.architecture=compact"], "options").tokenizer == COMPACT


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rate", "options: 'rate': expected key=value"),
        ("=3", "options: '=3': expected key=value"),
        ("rat=3", "options: unknown key 'rat'; did you mean rate?"),
        ("sampling.stepz=3", "options: unknown key 'sampling.stepz'; did you mean steps?"),
        ("rate=[", "options: rate: is not valid YAML"),
        ("rate=x", "options: rate: expected a number, got 'x'"),
        ("rate.x=1", "options: rate.x: rate has no keys"),
        ("tokenizer.architecture=foo", "options: tokenizer.architecture: expected one of autoencoder, compact"),
        ("tokenizer.channels=[7]", "options: tokenizer.encoder_blocks: expected 1 numbers"),
    ],
)
def test_an_override_that_does_not_fit_is_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(EVERYTHING, [setting], "options")
    assert message in str(caught.value)


def test_load_yaml_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(dump_yaml(EVERYTHING), encoding="utf-8")
    assert load_yaml(Everything, file) == EVERYTHING
    file.write_text("count: x", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c\.yaml: count: expected a whole number"):
        load_yaml(Everything, file)
