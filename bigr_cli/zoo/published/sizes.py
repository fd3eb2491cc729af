"""The published checkpoints: how they name their tensors, and the sizes read off these."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

from bigr_cli.core.architectures import AutoencoderConfig, GeneratorConfig
from bigr_cli.errors import CheckpointError, ConfigError

# Published name, our name; `{}` is the number of a layer. What ends in a dot is the beginning of names.
_GENERATOR = (
    ("mask_tok", "mask_token"),
    ("diffusion_pos_embed_learned", "positions"),
    ("cls_embedding.embedding_table.", "condition_tokens.table."),
    ("tok_embeddings.", "token_embedding."),
    ("adaLN.", "ada."),
    ("layers.{}.ada_gss", "blocks.{}.offsets"),
    ("layers.{}.feed_forward.", "blocks.{}.ffn."),
    ("layers.{}.", "blocks.{}."),
    ("norm.", "norm."),
    ("denoise_mlp.t_embedder.", "transcoder.timestep_embedding."),
    ("denoise_mlp.x_embedder.", "transcoder.bit_embedding."),
    ("denoise_mlp.c_embedder.", "transcoder.condition_embedding."),
    ("denoise_mlp.blocks.{}.adaLN_modulation.1.", "transcoder.blocks.{}.ada."),
    ("denoise_mlp.blocks.{}.", "transcoder.blocks.{}."),
    ("denoise_mlp.final_layer.adaLN_modulation.1.", "transcoder.final_ada."),
    ("denoise_mlp.final_layer.linear.", "transcoder.final."),
)
_TOKENIZER = (
    ("encoder.", "encoder."),
    ("generator.blocks.", "decoder.blocks."),
    ("quantize.proj.0.", "to_bits."),
    ("quantize.embed.weight", "embed"),
)

Shapes = Mapping[str, tuple[int, ...]]
_SCHEDULE = "diffusion_processor.scheduler.k_final"
_TIMESTEPS = 256  # where the file does not say
_FFN_MULTIPLES = (256, 128, 64, 32, 16, 8, 4, 2, 1)
# Attention heads of the published generators (L, XL, XXL), which their tensors do not tell, by layers and width.
_HEADS = {(24, 1024): 16, (36, 1280): 20, (48, 1536): 24}
# Tensors that tell sizes, and how many axes they have.
_GENERATOR_SIZES = {
    "tok_embeddings.weight": 2,
    "diffusion_pos_embed_learned": 3,
    "cls_embedding.embedding_table.weight": 2,
    "layers.0.feed_forward.w1.weight": 2,
    "denoise_mlp.x_embedder.weight": 2,
}
# What blocks of the tokenizer are, by what only they have; a single one may be missing, and is named later.
_KINDS = {
    **dict.fromkeys(("norm1", "conv1", "norm2", "conv2"), "residual"),
    **dict.fromkeys(("q", "k", "v", "proj_out"), "attention"),
    "conv": "scale",
}
_TAIL = ["residual", "attention", "residual", "norm", "conv"]


def generator_name(published: str) -> str | None:
    """Our name of a tensor of a published generator; None for the second copies, which are not needed."""
    return _renamed(published, _GENERATOR)


def tokenizer_name(published: str) -> str | None:
    """Our name of a tensor of a published tokenizer, without its `ae.` prefix; None for what is not used."""
    return _renamed(published, _TOKENIZER)


def published_generator_name(name: str) -> str:
    """The published name of a tensor of our generator."""
    return _renamed(name, [(ours, published) for published, ours in _GENERATOR]) or name


def published_tokenizer_name(name: str) -> str:
    """The published name of a tensor of our tokenizer, without its `ae.` prefix."""
    return _renamed(name, [(ours, published) for published, ours in _TOKENIZER]) or name


def _renamed(name: str, rules: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str | None:
    for pattern, replacement in rules:
        expression = re.escape(pattern).replace(r"\{\}", r"(\d+)") + ("" if pattern.endswith(".") else r"\Z")
        if re.match(expression, name):
            return re.sub(expression, replacement.replace("{}", r"\1"), name, count=1)
    return None


def autoencoder_sizes(shapes: Shapes, *, image_size: int | None, grid: int) -> AutoencoderConfig:
    """The tokenizer with these tensors (names without `ae.`), for images of `image_size` pixels or, where that is
    None, of as many as make `grid` tokens along a side.

    Raises:
        CheckpointError: the tensors are not those of the published architecture; or (ConfigError) cannot be.
    """
    _require(shapes, {"encoder.blocks.0.weight": 4, "quantize.proj.0.weight": 4})
    channels = shapes["encoder.blocks.0.weight"][0]
    kinds = _kinds(shapes)
    if len(kinds) < 7 or kinds[0] != "conv" or kinds[-5:] != _TAIL:
        found = ", ".join(kinds) or "none"
        raise CheckpointError(f"encoder.blocks.* are not those of the published autoencoder: {found}")
    levels = _split(list(enumerate(kinds))[1:-5])
    multipliers = []
    for level in levels:
        first = f"encoder.blocks.{level[0][0] if level else '*'}.conv1.weight"
        _require(shapes, {first: 4})
        width = shapes[first][0]
        if width % channels:
            raise CheckpointError(f"{first}: {width} channels are no multiple of the first {channels}")
        multipliers.append(width // channels)
    image_size = grid * 2 ** (len(levels) - 1) if image_size is None else image_size
    counts = [[kind for _, kind in level].count("residual") for level in levels]
    attention = [[kind for _, kind in level].count("attention") for level in levels]
    if len(set(counts)) > 1 or any(a not in (0, c) for a, c in zip(attention, counts, strict=True)):
        raise CheckpointError(f"encoder.blocks.*: levels differ in their blocks: {counts} and {attention}")
    return AutoencoderConfig(
        image_size=image_size,
        bits=shapes["quantize.proj.0.weight"][0],
        channels=channels,
        multipliers=tuple(multipliers),
        res_blocks=counts[0],
        attention_resolutions=tuple(image_size // 2**level for level, count in enumerate(attention) if count),
        embedding=shapes[f"encoder.blocks.{len(kinds) - 1}.weight"][0],
        norm_first=len(shapes.get("generator.blocks.0.weight", ())) == 1,
    )


def generator_sizes(shapes: Shapes, *, heads: int | None) -> GeneratorConfig:
    """The generator with these tensors and so many heads; None takes those of the published one that has these sizes.

    Raises:
        CheckpointError: the tensors are not those of the published architecture; or (ConfigError) cannot be.
    """
    _require(shapes, _GENERATOR_SIZES)
    dim, bits = shapes["tok_embeddings.weight"]
    tokens = shapes["diffusion_pos_embed_learned"][1]
    grid = math.isqrt(tokens)
    if grid * grid != tokens:
        raise CheckpointError(f"diffusion_pos_embed_learned: {tokens} tokens are no square")
    ffn = shapes["layers.0.feed_forward.w1.weight"][0]
    layers = _count(shapes, r"layers\.(\d+)\.")
    if heads is None and (layers, dim) not in _HEADS:
        fitting = ", ".join(map(str, _all_fitting(dim)))
        raise CheckpointError(
            f"{layers} layers {dim} wide are no published size: --heads must say how many ({fitting})"
        )
    config = GeneratorConfig(
        grid=grid,
        bits=bits,
        classes=shapes["cls_embedding.embedding_table.weight"][0] - 1,
        layers=layers,
        heads=_fitting(_HEADS[layers, dim] if heads is None else heads, dim),
        dim=dim,
        ffn_multiple=_ffn_multiple(dim, ffn),
        transcoder_layers=_count(shapes, r"denoise_mlp\.blocks\.(\d+)\."),
        transcoder_width=shapes["denoise_mlp.x_embedder.weight"][0],
        diffusion_timesteps=shapes[_SCHEDULE][0] - 1 if len(shapes.get(_SCHEDULE, ())) == 1 else _TIMESTEPS,
    )
    if config.ffn_width != ffn:
        raise CheckpointError(f"layers.0.feed_forward.w1.weight: a network {dim} wide cannot have {ffn} rows")
    return config


def _require(shapes: Shapes, axes: Mapping[str, int]) -> None:
    """Raise CheckpointError unless there are tensors of these names with so many axes; lists all that are not."""
    missing = [name for name in axes if name not in shapes]
    problems = [f"missing tensors: {', '.join(missing)}"] if missing else []
    for name, count in axes.items():
        if name in shapes and (len(shapes[name]) != count or 0 in shapes[name]):
            problems.append(f"{name}: expected {count} axes, none empty, got shape {list(shapes[name])}")
    if problems:
        raise CheckpointError("; ".join(problems))


def _kinds(shapes: Shapes) -> list[str]:
    """What each block of the encoder is; the list ends at the first that is missing."""
    names: dict[int, set[str]] = {}
    for name in shapes:
        if found := re.match(r"encoder\.blocks\.(\d+)\.(.+)", name):
            names.setdefault(int(found[1]), set()).add(found[2].partition(".")[0])
    kinds: list[str] = []
    while parts := names.get(len(kinds)):
        plain = "conv" if len(shapes.get(f"encoder.blocks.{len(kinds)}.weight", ())) == 4 else "norm"
        kinds.append(next((kind for part, kind in _KINDS.items() if part in parts), plain))
    return kinds


def _split(blocks: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """The blocks of each level, which end where the size changes."""
    levels: list[list[tuple[int, str]]] = [[]]
    for block in blocks:
        if block[1] == "scale":
            levels.append([])
        else:
            levels[-1].append(block)
    return levels


def _count(shapes: Collection[str], pattern: str) -> int:
    return len({found[1] for name in shapes if (found := re.match(pattern, name))})


def _fitting(heads: int, dim: int) -> int:
    if heads < 1 or dim % (4 * heads):
        raise ConfigError(f"{heads} heads do not fit a width of {dim}; {', '.join(map(str, _all_fitting(dim)))} do")
    return heads


def _all_fitting(dim: int) -> list[int]:
    return [heads for heads in range(1, dim // 4 + 1) if dim % (4 * heads) == 0]


def _ffn_multiple(dim: int, width: int) -> int:
    """The multiple that 8D/3 was rounded up to, 256 as published if that fits."""
    wanted = int(8 * dim / 3)
    candidates = [multiple for multiple in _FFN_MULTIPLES if multiple * -(-wanted // multiple) == width]
    return candidates[0] if candidates else max(width, 1)
