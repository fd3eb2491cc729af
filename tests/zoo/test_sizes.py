"""How many parameters a model has: counted, read off files, and as cards say it."""

import shutil
from pathlib import Path

import pytest

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import describe_model, packaged_models
from bigr_cli.zoo.sizes import generator_parameters, parameters, stored_parameters


def folders() -> list[Path]:
    return sorted(path.parent for path in packaged_models().glob("*/config.yaml"))


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_files_and_cards_say_what_the_config_comes_to(folder: Path) -> None:
    config = read_config(folder)
    assert stored_parameters(folder, config) == parameters(config)
    assert describe_model(folder).parameters == sum(parameters(config).values())


def test_the_published_size() -> None:
    assert round(generator_parameters(GeneratorConfig(grid=16, bits=24, classes=1000)) / 1e6) == 336


def test_a_damaged_file_leaves_its_number_open(tmp_path: Path) -> None:
    folder = tmp_path / "scenes-64"
    shutil.copytree(packaged_models() / "scenes-64", folder)
    (folder / "generator.safetensors").write_bytes(b"no header")
    config = read_config(folder)
    assert stored_parameters(folder, config) == {"tokenizer": parameters(config)["tokenizer"]}
    assert describe_model(folder).parameters is None
