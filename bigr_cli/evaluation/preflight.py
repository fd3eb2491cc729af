"""What an evaluation can be refused for before torch and torch-fidelity, which take long, are imported."""

from __future__ import annotations

import os
from pathlib import Path

from bigr_cli.data.images import read_header
from bigr_cli.data.sources import SCENES, find_data_set
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.file_names import expanded
from bigr_cli.file_tree import image_tree
from bigr_cli.files import reading

CHOICES = (
    "--features scenes (the classifier that comes with the package), --features MODEL (a bigr model's representation),"
    " --weights FILE, or --fetch-weights to let torch-fidelity download its Inception"
)
_LOOKED_AT = 100  # images of a folder; all of them are looked at later


def refuse_sizes(samples: str | None, reference: str | None) -> None:
    """Raise UsageError where the first images of these folders differ in size; what is no folder is passed over."""
    sizes = [_size(where) for where in (samples, reference)]
    if sizes[0] and sizes[1] and sizes[0] != sizes[1]:
        raise of_other_size(str(reference), sizes[1], sizes[0])


def plain_folder(where: str | None) -> str | None:
    """What is named, if it is neither scenes nor a data set of another kind. Raises UsageError for pickles."""
    return where if where and where != SCENES and find_data_set(where) is None else None


def _size(where: str | None) -> tuple[int, int] | None:
    """The size of a folder's first images; None where it is none, or has none."""
    path = expanded(where) if where else None
    if path is None or not path.is_dir():
        return None
    first: tuple[int, int] | None = None
    names = sorted(image_tree(path).files)[:_LOOKED_AT]
    for name in names:
        with reading(path / name, ImageError):
            size = read_header(path / name).size
        first = first or size
        if size != first:
            raise differing(str(path / names[0]), first, str(path / name), size)
    return first


def of_other_size(what: str, size: tuple[int, int], samples: tuple[int, int]) -> UsageError:
    """The error about a reference of another size (width, height) than the samples."""
    return UsageError(
        f"{what}: {size[0]} × {size[1]} pixels, the samples have {samples[0]} × {samples[1]}",
        hint="--resize N cuts the square out of the middle of all and scales it to N × N",
    )


def differing(first: str, size: tuple[int, int], other: str, others: tuple[int, int]) -> UsageError:
    """The error about two images of two sizes (width, height)."""
    sizes = [f"{width} × {height}" for width, height in (size, others)]
    return UsageError(
        f"{first} has {sizes[0]} pixels, {other} has {sizes[1]}: figures would depend on how they are scaled",
        hint="--resize N cuts the square out of the middle of each and scales it to N × N",
    )


def refuse_weights(weights: Path | None, *, inception: bool) -> None:
    """Raise UsageError for a file of weights that is not there, or where torch-fidelity's Inception has none.

    Args:
        weights: what --weights names.
        inception: whether torch-fidelity's Inception is what looks at the images, and may not be fetched.
    """
    if weights is not None and not weights.expanduser().is_file():
        raise UsageError(f"{weights}: no such file")
    if not inception or weights is not None:
        return
    # Where torch.hub keeps files: https://docs.pytorch.org/docs/stable/hub.html#torch.hub.get_dir
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    folder = Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser() / "hub" / "checkpoints"
    if not any(folder.glob("*inception*")):
        raise UsageError("inception-v3-compat: its weights are not here", hint=f"choose {CHOICES}")
