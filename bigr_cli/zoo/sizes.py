"""How many parameters a model has: by the headers of its weights files, by its card, or by its config.

Files and cards are read without torch. A config is counted by laying out its modules without memory for their weights.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from bigr_cli.core.architectures import GeneratorConfig, TokenizerConfig
from bigr_cli.errors import ModelFormatError
from bigr_cli.runtime.tensor_headers import read_header
from bigr_cli.zoo.config import ModelConfig


def stored_parameters(directory: Path, config: ModelConfig) -> Mapping[str, int]:
    """The number of parameters of each part ("tokenizer", "generator") of a model folder, read without torch.

    Without weights files it is what the card says. A part of which neither is known, or whose file is damaged, is
    left out.
    """
    known = dict(config.source.parameters) if config.source else {}
    for name in config.weight_files:
        try:
            if (directory / name).is_file():
                known[Path(name).stem] = sum(tensor.count for tensor in read_header(directory / name).values())
        except ModelFormatError:
            known.pop(Path(name).stem, None)
    return known


def parameters(config: ModelConfig) -> dict[str, int]:
    """The number of parameters of "tokenizer" and, if there is one, "generator"."""
    counts = {"tokenizer": tokenizer_parameters(config.tokenizer)}
    if config.generator is not None:
        counts["generator"] = generator_parameters(config.generator)
    return counts


@lru_cache(maxsize=64)
def tokenizer_parameters(config: TokenizerConfig) -> int:
    """The number of parameters of a tokenizer: encoder, decoder, and both sides of the codes."""
    import torch

    from bigr_cli.core.tokenizer import Tokenizer

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Tokenizer(config).parameters())


@lru_cache(maxsize=64)
def generator_parameters(config: GeneratorConfig) -> int:
    """The number of parameters of a generator: transformer and transcoder."""
    import torch

    from bigr_cli.core.network import Generator

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Generator(config).parameters())
