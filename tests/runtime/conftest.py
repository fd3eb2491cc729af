"""Fixtures of the tests of what computes."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A model folder of a test's own."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))
