"""Fixtures of the core's tests: the published network with its numbers."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def parity() -> ModuleType:
    """`benchmarks/parity.py`, which computes what is compared and prints what these tests check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("parity")


@pytest.fixture(scope="session")
def published(parity: ModuleType) -> Any:
    """The published network, imported, with the numbers that the published code gives for it."""
    return parity.load_published()
