"""Weights of torch-fidelity's own networks: whether they are here already, and whether a file holds any."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from bigr_cli.errors import ModelError, ModelFormatError, UsageError
from bigr_cli.files import reading
from bigr_cli.zoo.checkpoint import is_inflated

INCEPTION = "inception-v3-compat"
LPIPS = "lpips-vgg16"


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
