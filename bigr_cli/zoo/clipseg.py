"""CLIPSeg, which finds in an image what words name: through transformers, which the extra `text` installs.

The weights are those of CIDAS/clipseg-rd64-refined (Lüddecke and Ecker, 2022) from the hub, or from the hub's cache,
or what the environment variable BIGR_CLIPSEG names: a repository, or a folder in which transformers saved a CLIPSeg.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from huggingface_hub import constants
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.core.config import Prompt
from bigr_cli.errors import ConfigError, ModelError
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.source import is_repository, readable_size
from bigr_cli.zoo.text_encoders.t5 import quiet_transformers, require_transformers

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.imaging.originals import Original

VARIABLE = "BIGR_CLIPSEG"
PUBLISHED = "CIDAS/clipseg-rd64-refined"

_FILES = ("*.json", "*.safetensors", "merges.txt")
_WEIGHTS = "model.safetensors"
_PRESENT = 0.2  # the least probability, somewhere in the image, of what the words name
_SHARE = 0.5  # of the highest probability there: what has as much is part of it


class ClipSeg:
    """The mask finder `text`: a CLIPSeg on the model's device."""

    def __init__(self, network: Any, processor: Any) -> None:
        self._network, self._processor = network, processor

    def find(self, network: BinaryModel, image: Original, wanted: Prompt) -> NDArray[np.float32]:
        """Where (H, W) an image shows what words name, 1 there and 0 elsewhere."""
        import cv2

        found = self.probabilities(image.levels(), str(wanted), network.generator.positions.device)
        if found.max() < _PRESENT:
            return np.zeros(image.size[::-1], np.float32)
        whole = cv2.resize(found, image.size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(whole >= _SHARE * whole.max(), np.float32)

    @torch.inference_mode()
    def probabilities(self, levels: NDArray[np.uint8], words: str, device: torch.device) -> NDArray[np.float32]:
        """(H, W, 3) levels → for each pixel of CLIPSeg's own size (S, S) the probability that it is of these words."""
        given = self._processor(text=[words], images=[levels], return_tensors="pt", padding=True, truncation=True)
        logits = self._network.to(device)(**given.to(device)).logits
        return np.asarray(logits.reshape(logits.shape[-2:]).float().sigmoid().cpu().numpy(), np.float32)


def open_finder() -> ClipSeg:
    """The CLIPSeg that BIGR_CLIPSEG names, or the published one; fetched from the hub if it is not here.

    Raises:
        ConfigError: the variable names neither a folder nor a repository.
        ModelError: transformers is not installed, it is no CLIPSeg, or offline and not in the hub's cache.
        RunError: the hub does not answer as it should, or the disk is full.
    """
    require_transformers("--mask-text")
    source = os.environ.get(VARIABLE) or PUBLISHED
    folder = _folder(source)
    import transformers

    try:
        with quiet_transformers():
            processor = transformers.CLIPSegProcessor.from_pretrained(str(folder), local_files_only=True)
            kind: Any = transformers.CLIPSegForImageSegmentation
            network = kind.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except Exception as error:  # transformers raises what it likes about what it finds in a folder
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{source}: holds no CLIPSeg that can be read ({reason})") from error
    return ClipSeg(network.float().eval(), processor)


def _folder(source: str) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    repository, _, revision = source.partition("@")
    revision = revision or "main"
    if not is_repository(repository):
        raise ConfigError(f"{VARIABLE}: expected a folder, or a repository such as {PUBLISHED}, got {source!r}")
    cached = hub.cached_folder(repository, revision)
    if cached is not None and (cached / _WEIGHTS).is_file():
        return cached
    weights = hub.look_up(repository, _WEIGHTS, revision=revision)  # offline, it says what is missing
    hub.require_space(Path(constants.HF_HUB_CACHE), weights.size or 0)
    console.say(f"fetching {repository} ({readable_size(weights.size or 0)}) into the hub's cache")
    return hub.fetch_folder(repository, _FILES, revision=revision)
