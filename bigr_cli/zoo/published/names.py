"""How the published checkpoints name their tensors, and how this package does."""

from __future__ import annotations

import re

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
