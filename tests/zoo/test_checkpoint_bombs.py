"""Archives of little size that ask for much memory, in place of what torch.save writes."""

import zipfile
from pathlib import Path

import pytest
import torch

from bigr_cli.errors import CheckpointError, ModelFormatError
from bigr_cli.evaluation.extractors import load_tensors
from bigr_cli.zoo.checkpoint import Checkpoint, is_inflated


def test_compressed_archives_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": {"a": torch.zeros(300, 300)}}, path)
    assert not is_inflated(path)
    assert load_tensors(path)["model"]["a"].shape == (300, 300)
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    with pytest.raises(ModelFormatError, match=r"packed\.pt: is a compressed archive"):
        load_tensors(packed)
    with pytest.raises(CheckpointError, match=r"packed\.pt: is a compressed archive"):
        Checkpoint(packed)
