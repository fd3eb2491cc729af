"""The model card: README.md of a model folder, in Markdown, with the front matter that model hubs read."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from bigr_cli import schema, yaml_text
from bigr_cli.core.architectures import TokenizerConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.held_out import HeldOut
from bigr_cli.plain_text import escaped, in_markdown
from bigr_cli.vocabulary import KINDS, Vocabulary
from bigr_cli.zoo.config import IMAGENET, ModelConfig, read_labels
from bigr_cli.zoo.sizes import parameters
from bigr_cli.zoo.source import Source, readable_size

_TAGS = ("bigr", "binary-latent-codes", "image-generation")
_FOLDER = "FOLDER"
_RESULTS = "## Results after training"
_KNOWN = "## Images that it knows"
_OFF_AT_ZERO = ("rank_timesteps", "last_timesteps", "tolerance")  # not published: shown where they are used


def render_card(config: ModelConfig, metrics: Mapping[str, object] | None = None) -> str:
    """The card of a model.

    Args:
        config: says all but how good it is.
        metrics: what was measured, by name; a mapping inside is a heading with its own values.
    """
    sections = [
        f"---\n{_front_matter(config)}---",
        f"# {config.name}",
        _summary(config),
        f"```\n{_usage(config)}\n```",
        *([f"{_FOLDER} is the one in which this file is."] if _found_by(config) == _FOLDER else []),
        *([f"## Weights\n\n{_weights(config.source)}"] if config.source else []),
        f"## Architecture\n\n{_table('part', 'is', _architecture(config))}",
    ]
    if config.labels:
        sections.append(f"## Labels\n\n{_labels(config.labels)}")
    if config.vocabulary is not None and config.vocabulary.formal:
        sections.append(f"## Words\n\n{_table('of', 'known', list(_words(config.vocabulary)))}")
    if config.generator is not None:
        sections.append(f"## Sampling defaults\n\n{_settings(config.sampling)}")
    if config.painting is not None:
        sections.append(f"## Sampling defaults where an image is given\n\n{_settings(config.painting)}")
    if config.presets:
        sections.append(f"## Presets\n\n{_table('`--preset`', 'sets', list(_presets(config)))}")
    origin = [(name, value) for name, value in vars(config.provenance).items() if value not in (None, "", ())]
    if origin:
        sections.append(f"## Provenance\n\n{_table('what', 'value', origin)}")
    if config.source and config.source.published:
        results = _table("measure", "value", list(config.source.published.items()))
        sections.append(f"## Published results\n\nAs its authors measured them; not measured here.\n\n{results}")
    if config.held_out is not None:
        sections.append(f"{_KNOWN}\n\n{_known(config.held_out)}")
    if metrics:
        sections.append(f"## Measured\n\n{_table('measure', 'value', list(_flat(metrics)))}")
    if config.sha256:
        hashes = [(f"`{name}`", f"`{digest}`") for name, digest in config.sha256.items()]
        sections.append(f"## Files\n\n{_table('file', 'SHA-256', hashes)}")
    return "\n\n".join(sections) + "\n"


def with_held_out(card: str, held_out: HeldOut) -> str:
    """A card with the section of the images that the model knows, in place of an older one."""
    before, found, after = card.partition(f"{_KNOWN}\n")
    if found:
        after = after[after.index("\n## ") + 1 :] if "\n## " in after else ""
    else:
        place = min(
            (card.index(title) for title in ("## Measured\n", "## Files\n") if title in card), default=len(card)
        )
        before, after = card[:place], card[place:]
    section = f"{_KNOWN}\n\n{_known(held_out)}\n"
    return before.rstrip("\n") + "\n\n" + (f"{section}\n{after}" if after else section)


def _known(held_out: HeldOut) -> str:
    """By what images of another kind are told."""
    rows: list[tuple[str, tuple[float, ...]]] = [
        ("PSNR of reconstructions in dB", (*held_out.psnr, held_out.psnr_limit)),
        *([("likelihood in nats a bit", held_out.likelihood)] if held_out.likelihood else []),
    ]
    lines: list[tuple[str, object]] = [(name, ", ".join(f"{value:.2f}" for value in values)) for name, values in rows]
    return (
        f"Of {held_out.images:,} images that were held out of its training the 1 % quantile and the median. Tasks warn "
        "of images below the third number, or below both 1 % quantiles.\n\n"
        + _table("measure", "1 %, median, limit", lines)
    )


def with_results(card: str, results: Sequence[tuple[str, str]]) -> str:
    """A card with a section of what was measured when training had ended, in place of an older one."""
    before = card.partition(_RESULTS)[0].rstrip("\n")
    return f"{before}\n\n{_RESULTS}\n\n{_table('measure', 'value', results)}\n"


def _settings(sampling: SamplingConfig) -> str:
    plain = schema.to_mapping(sampling)
    used = {
        name: value for name, value in vars(sampling).items() if name in plain and (value or name not in _OFF_AT_ZERO)
    }
    return _table("setting", "value", [(name.replace("_", " "), value) for name, value in used.items()])


def _presets(config: ModelConfig) -> Iterator[tuple[str, object]]:
    for name, settings in config.presets.items():
        yield name, [f"{setting.replace('_', ' ')} {_setting(value)}" for setting, value in settings.items()]


def _setting(value: object) -> str:
    """A preset's value; a pair is a range, since commas part the settings."""
    return " to ".join(map(_text, value)) if isinstance(value, tuple) else _text(value)


def _front_matter(config: ModelConfig) -> str:
    matter: dict[str, object] = {"library_name": "bigr-cli", "tags": list(_TAGS)}
    if config.licence:
        matter = {"license": config.licence.lower(), **matter}
    return yaml_text.dump(matter)


def _summary(config: ModelConfig) -> str:
    size, grid, bits = config.image_size, config.tokenizer.grid, config.tokenizer.bits
    codes = f"{size}×{size} pixels as {grid}×{grid} tokens of {bits} bits"
    if config.generator is None:
        return f"A tokenizer for bigr: images of {codes}."
    if config.generator.text is not None:
        return f"A BiGR model: images from texts, {codes}."
    return f"A BiGR model: images of {config.generator.classes} classes, {codes}."


def _usage(config: ModelConfig) -> str:
    if config.generator is None:
        return f"bigr train-generator --tokenizer {_found_by(config)}"
    label = config.labels[0].split(",")[0] if config.labels else "0"
    label = "a blue house on grass at night" if config.generator.text is not None else label
    first = f"bigr models pull {config.name}\n" if config.source else ""
    quoted = f'"{label}"' if label.isprintable() and not set(label) & set('"$`!\\') else shlex.quote(escaped(label))
    return f"{first}bigr generate {quoted} --model {_found_by(config)}"


def _found_by(config: ModelConfig) -> str:
    """What commands find the model by: the name of one that was published, of others the folder."""
    return config.name if config.source or config.licence else _FOLDER


def _weights(source: Source) -> str:
    size = f"; {readable_size(source.size)} together" if source.size else ""
    files = f"`{source.tokenizer}` and `{source.generator}`"
    return f"Made by `bigr models pull` out of {files} of the hub repository `{source.repository}`{size}."


def _architecture(config: ModelConfig) -> list[tuple[str, object]]:
    counts = parameters(config)
    rows: list[tuple[str, object]] = [
        ("tokenizer", f"{_tokenizer(config.tokenizer)}, {counts['tokenizer']:,} parameters"),
        *([("codes of an image to be shown", f"looked for in {config.refine} steps")] if config.refine else []),
    ]
    if config.generator is not None:
        g = config.generator
        rows += [
            ("transformer", f"{g.layers} layers, width {g.dim}, {g.heads} heads"),
            ("transcoder", f"{g.transcoder_layers} layers, width {g.transcoder_width}, T = {g.diffusion_timesteps}"),
            *([("head", f"{g.head}, not the published flip")] if g.head != "flip" else []),
            *([("attention", "causal: next-token prediction")] if g.attention == "causal" else []),
            ("generator", f"both together, {counts['generator']:,} parameters"),
        ]
    return rows


def _tokenizer(config: TokenizerConfig) -> str:
    return f"{config.architecture}, channels {_text([width for _, width in config.maps])}"


def _labels(labels: tuple[str, ...]) -> str:
    if len(labels) == 1000 and labels == read_labels(IMAGENET):
        return "The 1,000 classes of ImageNet-1K, by name or synset id: `bigr models labels`."
    shown = in_markdown(", ".join(labels[:40]))
    return shown if len(labels) <= 40 else f"{shown} … ({len(labels)} in all: `bigr models labels`)"


def _words(vocabulary: Vocabulary) -> Iterator[tuple[str, object]]:
    """What captions of a fixed form name; `bigr models labels` has the synonyms too."""
    for kind, title in zip(KINDS, ("objects", "colours", "grounds", "times of day"), strict=True):
        yield title, ", ".join(vocabulary.wordings(kind))


def _flat(metrics: Mapping[str, object], heading: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in metrics.items():
        full = f"{heading}{name}".replace("_", " ")
        rows += _flat(value, f"{full}: ") if isinstance(value, Mapping) else [(full, value)]
    return rows


def _table(first: str, second: str, rows: Sequence[tuple[str, object]]) -> str:
    lines = [f"| {first} | {second} |", "|---|---|"]
    return "\n".join(lines + [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows])


def _cell(value: object) -> str:
    return in_markdown(_text(value))


def _text(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(_text(entry) for entry in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
