"""Finding models by name and folder."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bigr_cli.errors import ModelError, UnknownNameError, UsageError
from bigr_cli.zoo import find
from bigr_cli.zoo.find import describe_model, find_model, list_models

Save = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for packaged models, instead of the real one."""
    place = tmp_path / "packaged"
    monkeypatch.setattr(find, "packaged_models", lambda: place)
    return place


def test_by_folder_and_by_name(home: Path, packaged: Path, tmp_path: Path, save: Save) -> None:
    folder = save(tmp_path / "elsewhere" / "x")
    mine, theirs = save(home / "models" / "mine"), save(packaged / "theirs")
    assert find_model(folder) == find_model(str(folder)) == folder
    assert find_model("mine") == mine
    assert find_model("theirs") == theirs


def test_a_model_at_home_hides_a_packaged_one(home: Path, packaged: Path, save: Save) -> None:
    save(packaged / "same")
    mine = save(home / "models" / "same")
    assert find_model("same") == mine
    assert [(entry.name, entry.where) for entry in list_models()] == [("same", "home")]


def test_the_default(packaged: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = save(packaged / "scenes-64"), save(packaged / "other")
    assert find_model() == first
    monkeypatch.setenv("BIGR_MODEL", "other")
    assert find_model() == second


def test_a_folder_of_the_name_here_is_meant_first(
    packaged: Path, tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(packaged / "x")
    save(tmp_path / "work" / "x")
    monkeypatch.chdir(tmp_path / "work")
    assert find_model("x") == Path("x")


def test_an_unknown_name(packaged: Path, save: Save) -> None:
    save(packaged / "scenes-64")
    with pytest.raises(UnknownNameError) as caught:
        find_model("scene-64")
    assert str(caught.value) == "unknown model 'scene-64'; did you mean scenes-64?"
    assert caught.value.hint == "bigr models list shows the models there are"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "..", "../secret", "../../etc", "a/../b", "~", "models/../../secret", "\0"])
def test_a_name_leads_nowhere_outside(home: Path, save: Save, name: str) -> None:
    save(home / "secret")
    (home / "models").mkdir()
    with pytest.raises(UsageError):
        find_model(name)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a model folder: it has no config\.yaml"):
        find_model(tmp_path)


def test_states(home: Path, save: Save) -> None:
    models = home / "models"
    save(models / "ready")
    (save(models / "card") / "tokenizer.safetensors").unlink()
    (save(models / "broken") / "config.yaml").write_text("format: 9")
    save(models / "a b")
    (models / "no-model").mkdir()
    entries = {entry.name: entry for entry in list_models()}
    assert {name: entry.state for name, entry in entries.items()} == {
        "ready": "ready",
        "card": "no weights",
        "broken": "broken",
    }
    assert "config.yaml: format: expected 1, got 9" in entries["broken"].problem
    assert entries["ready"].size == sum(file.stat().st_size for file in (models / "ready").glob("*.safetensors"))
    assert entries["broken"].parameters is None


def test_any_folder_can_be_described(tmp_path: Path, home: Path, save: Save) -> None:
    assert describe_model(save(tmp_path / "x")).where == "folder"
    assert describe_model(save(home / "models" / "y")).where == "home"


def test_no_torch_is_imported(home: Path, save: Save) -> None:
    save(home / "models" / "x")
    code = (
        "import sys; from bigr_cli.zoo.find import find_model, list_models; "
        "find_model('x'); assert list_models()[0].parameters; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
