"""Writing down, in a model's own folder, which of its layers describes images best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bigr_cli.files import atomic_write, writing
from bigr_cli.zoo.config import CONFIG_FILE, ModelConfig, RepresentationConfig, dump_config, read_config


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
