"""`config.yaml` of a model folder, format 1, and the names of classes.

A label may have several names with commas between them; each stands for the class, as long as it is the only one that
has it. Those of ImageNet-1K end with the synset's id: "golden retriever, n02099601". Names and ids are WordNet's
(Princeton University, WordNet License), in the order of the ILSVRC 2012 classes, as timm lists them (Apache License
2.0).
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bigr_cli import schema, yaml_text
from bigr_cli.core.architectures import GeneratorConfig, TokenizerConfig
from bigr_cli.core.config import MOST_REFINE, PRESETS, SOURCES, UNSAID, SamplingConfig, require, require_whole
from bigr_cli.core.held_out import HeldOut
from bigr_cli.errors import ConfigError, ModelFormatError
from bigr_cli.files import atomic_write, reading, writing
from bigr_cli.plain_text import Background, decoded, parse_colour, short_repr
from bigr_cli.vocabulary import Vocabulary
from bigr_cli.zoo.source import Source

FORMAT = 1
CONFIG_FILE = "config.yaml"
TOKENIZER_FILE = "tokenizer.safetensors"
GENERATOR_FILE = "generator.safetensors"
CARD_FILE = "README.md"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_STEPS = 1_024  # of a model with fewer tokens than that

_LONGEST = 1_000  # characters of a message about a config
_QUOTED = 100  # characters of a text in a message
IMAGENET = "imagenet-1k"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a model comes from: what it saw, for how long, and what made it.

    `without` are scenes ("red house") that were kept from it.
    """

    data: str = ""
    without: tuple[str, ...] = ()
    steps: int | None = None
    pictures: int | None = None
    seed: int | None = None
    version: str = ""
    sources: tuple[str, ...] = ()
    notes: str = ""


POOLS = {"mean": 1, "grid2": 2, "grid3": 3, "grid4": 4}
"""Cells along a side of the grid of tokens that are averaged, by the pooling's name."""


@dataclass(frozen=True, kw_only=True)
class RepresentationConfig:
    """Where a model says most about images: the generator's block `layer`, 0 is the first, its tokens pooled so."""

    layer: int
    pool: str = field(default="mean", metadata=UNSAID)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything about a model but its weights.

    `generator` is None while only the tokenizer is trained. `labels` names the classes in their order, or is empty.
    `sampling` is for whole images, `painting` for parts of one that is given, where it is not None. `presets` are
    settings that take the place of some of either, by their names.
    `refine` steps look for the codes of an image that is to be shown as it is, if no other number is asked for.
    `background` is the colour that it sees where images are transparent.
    `vocabulary` are the words of the captions that it was trained on; None is not known.
    `representation` says which features are meant if none are named; None is the middle layer.
    `held_out` has statistics of held-out images, by which images of another kind are told; None tells none.
    `sha256` has the hash of each weights file by its name. `source` says what the weights can be made of.
    """

    format: int = FORMAT
    name: str
    image_size: int
    tokenizer: TokenizerConfig
    generator: GeneratorConfig | None = None
    labels: tuple[str, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    painting: SamplingConfig | None = None
    presets: dict[str, dict[str, int | float | str | tuple[float, float]]] = field(default_factory=dict)
    refine: int = field(default=0, metadata=UNSAID)
    representation: RepresentationConfig | None = None
    held_out: HeldOut | None = field(default=None, metadata=UNSAID)
    background: str = field(default="white", metadata=UNSAID)
    vocabulary: Vocabulary | None = field(default=None, metadata=UNSAID)
    provenance: Provenance = field(default_factory=Provenance)
    licence: str = ""
    source: Source | None = None
    sha256: dict[str, str] = field(default_factory=dict)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require(self.format == FORMAT, f"format: expected {FORMAT}, got {self.format}")
        check_name(self.name)
        size = self.tokenizer.image_size
        require(self.image_size == size, f"image_size: the tokenizer's is {size}, got {self.image_size}")
        require(
            len(set(self.labels)) == len(self.labels), f"labels: {shortened(_repeated(self.labels))} is there twice"
        )
        require(all(label.strip() for label in self.labels), "labels: one of them is empty")
        if self.generator is not None:
            for name in ("grid", "bits"):
                expected, got = getattr(self.tokenizer, name), getattr(self.generator, name)
                require(expected == got, f"generator.{name}: the tokenizer has {expected}, got {got}")
            classes, count = self.generator.classes, len(self.labels)
            require(count in (0, classes), f"labels: expected {classes}, one for each class, got {count}")
            most, tokens = self.generator.diffusion_timesteps, self.generator.tokens
            for name, sampling in self._samplings():
                limit = max(tokens, _MOST_STEPS)
                require(sampling.steps <= limit, f"{name}.steps: expected at most {limit}, got {sampling.steps}")
                for field_name in ("timesteps", "rank_timesteps", "last_timesteps"):
                    got = getattr(sampling, field_name)
                    require(got <= most, f"{name}.{field_name}: the generator has {most}, got {got}")
        parse_colour(self.background, "background")
        require_whole("refine", self.refine, least=0, most=MOST_REFINE)
        if self.representation is not None:
            blocks, layer = self.generator.layers if self.generator else 0, self.representation.layer
            require(0 <= layer < blocks, f"representation.layer: the generator has {blocks} blocks, got {layer}")
            pool, cells = self.representation.pool, POOLS.get(self.representation.pool, 0)
            expected = f"expected mean, or grid2 to grid4 with at least as many tokens, got {shortened(pool)}"
            require(1 <= cells <= self.tokenizer.grid, f"representation.pool: {expected}")
        for file, digest in self.sha256.items():
            require(file in (TOKENIZER_FILE, GENERATOR_FILE), f"sha256: {shortened(file)} is no weights file")
            known = bool(_HASH.fullmatch(digest))
            require(known, f"sha256.{file}: expected 64 hexadecimal digits, got {shortened(digest)}")

    def _samplings(self) -> Iterator[tuple[str, SamplingConfig]]:
        """All settings of the sampler that there are, with where they stand."""
        yield "sampling", self.sampling
        if self.painting is not None:
            yield "painting", self.painting
        for name, settings in self.presets.items():
            where = f"presets.{name[:_QUOTED]}"
            known = (*PRESETS, *SOURCES)
            require(name in known, f"{where}: expected one of {', '.join(known)}")
            merged = schema.to_mapping(self.sampling) | settings
            yield where, schema.from_mapping(SamplingConfig, merged, source=where)

    @property
    def ground(self) -> Background:
        """`background` as red, green and blue."""
        return parse_colour(self.background)

    @property
    def weight_files(self) -> tuple[str, ...]:
        """The weights files that belong to the model."""
        return (TOKENIZER_FILE,) if self.generator is None else (TOKENIZER_FILE, GENERATOR_FILE)


def check_name(name: str) -> str:
    """The name, if it is safe as the name of a folder on any system; ConfigError otherwise."""
    safe = bool(_NAME.fullmatch(name)) and not name.endswith(".")
    wanted = "letters, digits and . _ - (beginning with one of the former)"
    require(safe, f"name: expected {wanted}, got {shortened(name)}")
    return name


def safe_name(text: str) -> str:
    """A name for a model, made of some text such as a folder's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:96].rstrip(".")
    return name or "model"


def read_config(directory: Path, *, called: str | None = None) -> ModelConfig:
    """The config of a model folder, named `called` in messages if that is given.

    `labels: imagenet-1k` stands for the thousand labels.

    Raises:
        ModelFormatError: it is not there, not YAML, of another format, or a key is unknown, missing or has a wrong
            value; names the file and the key.
    """
    file = directory / CONFIG_FILE
    path = f"{called}/{CONFIG_FILE}" if called else str(file)
    with reading(path, ModelFormatError):
        try:
            if not file.is_file():
                raise ModelFormatError(f"{called or directory}: is not a model folder: it has no {CONFIG_FILE}")
            data = yaml_text.read_mapping(file)
            found = data.get("format")
            if type(found) is not int or found != FORMAT:
                newer = " (made by a newer version of bigr?)" if type(found) is int and found > FORMAT else ""
                raise ModelFormatError(f"{path}: format: expected {FORMAT}, got {reprlib.repr(found)}{newer}")
            if data.get("labels") == IMAGENET:
                data["labels"] = list(read_labels(IMAGENET))
            return schema.from_mapping(ModelConfig, data, source=path)
        except ConfigError as error:
            raise ModelFormatError(_shortened(str(error).replace(str(file), path))) from error


def dump_config(config: ModelConfig) -> str:
    """The text of config.yaml, which `read_config` reads back."""
    data = schema.to_mapping(config)
    if len(config.labels) == 1000 and config.labels == read_labels(IMAGENET):
        data["labels"] = IMAGENET  # a thousand lines take a while to read
    return yaml_text.dump(data)


def shortened(text: str) -> str:
    """A text from a config as messages quote it."""
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}… ({len(text):,} characters)"


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}… ({len(message):,} characters)"


def _repeated(values: tuple[str, ...]) -> str:
    """The first value that is there twice, or ""."""
    seen = set[str]()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""


def read_labels(where: str) -> tuple[str, ...]:
    """The labels of ImageNet-1K for "imagenet-1k", or those in a text file.

    Raises:
        ConfigError: the file cannot be read as text.
    """
    file = Path(__file__).with_name(f"{IMAGENET}.txt") if where == IMAGENET else Path(where)
    try:
        text = decoded(file.read_bytes())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as text: {error}") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def set_default_layer(directory: Path, layer: int, pool: str = "mean") -> ModelConfig:
    """Have features be of this layer, and pooled so, where none is named; gives the config as it is now.

    The weights stay as they are.

    Raises:
        ConfigError: the generator has no such layer.
        RunError: the config cannot be written; then it is as it was.
    """
    config = replace(read_config(directory), representation=RepresentationConfig(layer=layer, pool=pool))
    path = directory / CONFIG_FILE
    with writing(path), atomic_write(path) as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8", newline="\n")
    return config
