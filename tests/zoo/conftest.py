"""A small model of random weights, its folder, and a hub of this machine alone."""

from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from bigr_cli.core.architectures import CompactConfig, GeneratorConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.folder import save_model

TOKENIZER = CompactConfig(16, 6, channels=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1), attention_heads=2)
GENERATOR = GeneratorConfig(
    grid=4, bits=6, classes=3, layers=2, heads=2, dim=16, ffn_multiple=8, transcoder_layers=1, transcoder_width=16
)


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig(name="small", image_size=16, tokenizer=TOKENIZER, generator=GENERATOR, labels=("a", "b", "c"))


@pytest.fixture
def model() -> BinaryModel:
    torch.manual_seed(0)
    return BinaryModel(TOKENIZER, GENERATOR).eval()


@pytest.fixture
def save(config: ModelConfig, model: BinaryModel) -> Callable[[Path], Path]:
    """Save the small model at some place."""

    def write(directory: Path) -> Path:
        save_model(directory, config, model.tokenizer, model.generator)
        return directory

    return write


@pytest.fixture
def folder(tmp_path: Path, save: Callable[[Path], Path]) -> Path:
    """The folder of the small model."""
    return save(tmp_path / "small")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A FakeHub, which huggingface_hub takes for the real one; its cache is empty and nobody is logged in."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import close_session

    spec = spec_from_file_location("fake_hub", Path(__file__).with_name("fake_hub.py"))
    if spec is None or spec.loader is None:
        pytest.fail("fake_hub.py is not there")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    fake = module.FakeHub()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", fake.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    close_session()
    yield fake
    close_session()
    fake.stop()


@pytest.fixture(scope="session")
def training_files() -> ModuleType:
    """`benchmarks/training_files.py`, which knows the form of the published training's checkpoints."""
    spec = spec_from_file_location("training_files", Path(__file__).parents[2] / "benchmarks" / "training_files.py")
    if spec is None or spec.loader is None:
        pytest.fail("benchmarks/training_files.py is not there")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
