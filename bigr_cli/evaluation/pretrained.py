"""Pretrained networks for evaluation: weights of torch-fidelity's own, and CLIP models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigr_cli.errors import ModelError, ModelFormatError, UsageError
from bigr_cli.files import reading
from bigr_cli.zoo.checkpoint import is_inflated
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.source import is_repository
from bigr_cli.zoo.text_encoders.t5 import quiet_transformers, require_transformers

INCEPTION = "inception-v3-compat"
LPIPS = "lpips-vgg16"

_FILES = ("*.json", "*.safetensors", "merges.txt")


def weights_for(name: str) -> Path | None:
    """The file in torch's cache that holds the weights of a feature extractor of torch-fidelity's; None if none does.

    Those that come as code beside their weights (DINOv2) count as not here.
    """
    url = _urls().get(name)
    return None if url is None else _cached(url)


def lpips_at_hand() -> bool:
    """Whether both files that LPIPS needs are in torch's cache."""
    from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS

    return _cached(URL_VGG16_LPIPS) is not None and _cached(_urls()["vgg16"]) is not None


def check_weights(path: Path, name: str) -> None:
    """Look into a file of weights before anything runs that it may hold.

    Raises:
        UsageError: there is no such file, or the network takes none.
        ModelFormatError: it is not a file of tensors.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if name.startswith("dinov2"):
        raise UsageError(f"{name}: takes no file of weights")
    if name.startswith("clip"):
        return  # a TorchScript archive, which torch reads by itself
    state = load_tensors(path)
    known = {INCEPTION: "Mixed_7c.branch_pool.conv.weight", "vgg16": "features.28.weight"}[name]
    if not isinstance(state, dict) or not isinstance(state.get(known), torch.Tensor):
        raise ModelFormatError(f"{path}: not the weights of {name}: they have a tensor {known}")


def load_tensors(path: Path) -> Any:
    """What a file of torch's holds: tensors, NumPy arrays and plain values; ModelFormatError for anything else."""
    import numpy as np

    if is_inflated(path):
        raise ModelFormatError(f"{path}: is a compressed archive, not a file of tensors made by torch.save")
    rebuild: Any = np.empty(0).__reduce__()[0]
    scalars = [type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int64", "bool")]
    # NumPy 2 has moved what files of NumPy 1 name.
    rebuilds = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    made_of: list[Any] = [np.ndarray, np.dtype, *scalars, *rebuilds]
    with reading(path, ModelError):
        try:
            with torch.serialization.safe_globals(made_of), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles of other kinds, which are refused below
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch's readers raise what they like about damaged files
            # What torch says of pickles ends with the advice to read them without its protection.
            raise ModelFormatError(
                f"{path}: not a file of tensors made by torch.save, or it is damaged, or reading it would run code",
                hint="only files that hold nothing but tensors, arrays and plain values are read",
            ) from error


def _urls() -> dict[str, str]:
    from torch_fidelity.feature_extractor_clip import MODEL_URLS
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchvision.models import VGG16_Weights

    return {INCEPTION: URL_INCEPTION_V3, "vgg16": VGG16_Weights.IMAGENET1K_V1.url, **MODEL_URLS}


def _cached(url: str) -> Path | None:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    return path if path.is_file() else None


class Clip:
    """A CLIP on a device."""

    def __init__(self, network: Any, processor: Any, device: torch.device) -> None:
        self._network, self._processor, self._device = network.to(device).eval(), processor, device

    @torch.inference_mode()
    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(B, 3, H, W) images in [0, 1] and B texts → the cosine of each pair, (B,); long texts are cut off."""
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
