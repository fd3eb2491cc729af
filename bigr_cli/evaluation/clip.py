"""CLIP, through transformers, which the extra `text` installs: how much a picture and a text have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigr_cli.errors import ModelError, UsageError
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.source import is_repository
from bigr_cli.zoo.text_encoders.with_transformers import quiet_transformers, require_transformers

_FILES = ("*.json", "*.safetensors", "merges.txt")


class Clip:
    """A CLIP on a device."""

    def __init__(self, network: Any, processor: Any, device: torch.device) -> None:
        self._network, self._processor, self._device = network.to(device).eval(), processor, device

    @torch.inference_mode()
    def likeness(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(B, 3, H, W) pictures in [0, 1] and B texts → the cosine of each pair, (B,); long texts are cut off."""
        arrays = list((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
        given = self._processor(text=list(texts), images=arrays, return_tensors="pt", padding=True, truncation=True)
        found = self._network(**given.to(self._device))
        return torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds, dim=-1).float().cpu()


def find_clip(source: str) -> tuple[Path, str]:
    """Where a CLIP is, and what identifies it: a folder, or a repository of the hub with its commit.

    `source` is a folder of transformers' files, owner/name, or owner/name@REVISION. A branch such as the default, main,
    moves: what was measured with it is told apart by the commit alone.

    Raises:
        UsageError: it is neither.
        ModelError: transformers is not installed.
        What `hub.fetch_folder` raises.
    """
    require_transformers("--clip")
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder, source
    repository, _, revision = source.partition("@")
    if not is_repository(repository):
        raise UsageError(f"--clip: {source} is neither a folder nor a repository such as openai/clip-vit-base-patch32")
    revision = revision or "main"
    folder = hub.cached_folder(repository, revision) or hub.fetch_folder(repository, _FILES, revision=revision)
    return folder, f"{repository}@{folder.name}"  # the cache names folders by their commits


def open_clip(folder: Path, device: torch.device) -> Clip:
    """The CLIP of a folder of transformers' files; ModelError if there is none in it."""
    import transformers

    try:
        with quiet_transformers():
            processor = transformers.CLIPProcessor.from_pretrained(str(folder), local_files_only=True)
            network = transformers.CLIPModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except Exception as error:  # transformers raises what it likes about what it finds in a folder
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: holds no CLIP that can be read ({reason})") from error
    return Clip(network, processor, device)
