"""CLIP, through transformers, which the extra `text` installs: how much a picture and a text have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigr_cli.errors import ModelError, UsageError
from bigr_cli.zoo import hub
from bigr_cli.zoo.source import is_repository
from bigr_cli.zoo.with_transformers import quiet_transformers, require_transformers

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


def open_clip(source: str, device: torch.device) -> Clip:
    """The CLIP of a folder of transformers' files, or of a repository of the hub.

    Raises:
        UsageError: it is neither.
        ModelError: there is no CLIP in it, or transformers is not installed.
        What `hub.fetch_folder` raises.
    """
    require_transformers("--clip")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if not is_repository(source):
            raise UsageError(
                f"--clip: {source} is neither a folder nor a repository such as openai/clip-vit-base-patch32"
            )
        folder = hub.cached_folder(source) or hub.fetch_folder(source, _FILES)
    import transformers

    try:
        with quiet_transformers():
            processor = transformers.CLIPProcessor.from_pretrained(str(folder), local_files_only=True)
            network = transformers.CLIPModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except Exception as error:  # transformers raises what it likes about what it finds in a folder
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{source}: holds no CLIP that can be read ({reason})") from error
    return Clip(network, processor, device)
