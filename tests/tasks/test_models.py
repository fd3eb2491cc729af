"""`bigr models ...`, through the command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

GIVEN = Path(__file__).parents[1] / "data" / "published"
Bigr = Callable[..., Any]


class Evil:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def importing(**changes: object) -> list[str]:
    """The words of an import of the given files, with some options changed, left out (None) or added."""
    options: dict[str, object] = {
        "tokenizer": GIVEN / "binaryae_ema_1000.th",
        "generator": GIVEN / "0001000.pt",
        "heads": 4,
        "image-size": 16,
        "name": "tiny",
    }
    given = {**options, **{name.replace("_", "-"): value for name, value in changes.items()}}
    words = [[f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in given.items() if value]
    return ["models", "import", *(word for pair in words for word in pair)]


@pytest.fixture
def tiny(bigr: Bigr, home: Path) -> Path:
    """An imported model in the user's home."""
    outcome = bigr(*importing())
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert outcome.err == f"made {home}/models/tiny\n"
    return home / "models" / "tiny"


def test_list(bigr: Bigr, tiny: Path) -> None:
    outcome = bigr("models", "list")
    assert outcome.code == 0
    (row,) = [line.split() for line in outcome.out.splitlines() if " tiny " in line]
    assert row == ["tiny", "ready", "16", "px", "10", "classes", "1.0", "M", "4.0", "MB", "home"]
    records = [json.loads(line) for line in bigr("models", "list", "--json").out.splitlines()]
    (record,) = [record for record in records if record["name"] == "tiny"]
    assert record["path"] == str(tiny)
    assert (record["parameters"], record["classes"], record["default"]) == (998_483, 10, False)


def test_the_default_has_a_star(bigr: Bigr, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_MODEL", "tiny")
    assert "* tiny" in bigr("models", "list").out
    assert bigr("models", "path").out == f"{tiny}\n"


def test_a_broken_model_does_not_hide_the_others(bigr: Bigr, tiny: Path) -> None:
    (tiny.parent / "broken").mkdir()
    (tiny.parent / "worse").mkdir()
    (tiny.parent / "broken" / "config.yaml").write_text("format: 1\nnam: x")
    (tiny.parent / "worse" / "config.yaml").write_bytes(b"[\xff")
    outcome = bigr("models", "list")
    assert outcome.code == 0
    assert " tiny " in outcome.out
    assert "unknown key 'nam'; did you mean name?" in outcome.err
    assert "worse/config.yaml: is not UTF-8 text" in outcome.err
    assert bigr("models", "show", "broken").code == bigr("models", "show", "worse").code == 2
    assert bigr("models", "verify").code == 2


def test_show(bigr: Bigr, tiny: Path) -> None:
    outcome = bigr("models", "show", "tiny")
    assert outcome.code == 0
    assert f"folder   {tiny}" in outcome.out
    assert "  architecture: autoencoder" in outcome.out
    record = json.loads(bigr("models", "show", tiny, "--json").out)
    assert record["config"]["generator"]["heads"] == 4
    assert record["state"] == "ready"


def test_list_and_show_import_no_torch(tiny: Path) -> None:
    code = (
        "import sys; from bigr_cli.app import main; "
        "assert all(main(['models', *words]) == 0 for words in (['list'], ['show', 'tiny'], ['labels', 'tiny'])); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_labels(bigr: Bigr, tiny: Path, tmp_path: Path) -> None:
    assert bigr("models", "labels", "tiny").out.split() == [str(index) for index in range(10)]
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"thing {index}, stuff" for index in range(10)) + "\n\n")
    assert bigr(*importing(name="named", labels=names)).code == 0
    assert bigr("models", "labels", "named").out.splitlines()[3] == "3\tthing 3, stuff"
    lines = bigr("models", "labels", "named", "--json").out.splitlines()
    assert json.loads(lines[9]) == {"index": 9, "label": "thing 9, stuff"}
    assert bigr("models", "labels", "named", "--search", "THING 7").out == "7\tthing 7, stuff\n"


def test_path(bigr: Bigr, tiny: Path) -> None:
    assert bigr("models", "path", "tiny").out == f"{tiny}\n"
    outcome = bigr("models", "path", "tinny")
    assert outcome.code == 2
    assert outcome.err.startswith("error: unknown model 'tinny'; did you mean tiny?\nhint: ")


def test_verify(bigr: Bigr, tiny: Path) -> None:
    outcome = bigr("models", "verify", "tiny")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{tiny}: ok\n", "")
    file = tiny / "generator.safetensors"
    whole = file.read_bytes()
    for place in (len(whole) - 1, len(whole) // 2, 20):
        content = bytearray(whole)
        content[place] ^= 1
        file.write_bytes(content)
        outcome = bigr("models", "verify", "tiny")
        assert outcome.code == 2
        assert outcome.out == f"{tiny}: damaged\n"
        assert "generator.safetensors: " in outcome.err
    assert "has SHA-256" in outcome.err
    record = json.loads(bigr("models", "verify", tiny, "--json").out)
    assert (record["path"], record["ok"]) == (str(tiny), False)
    file.write_bytes(whole)
    assert f"{tiny}: ok\n" in bigr("models", "verify").out


def test_import_to_a_folder(bigr: Bigr, tmp_path: Path) -> None:
    output = tmp_path / "a" / "My Model"
    outcome = bigr(*importing(name=None, output=output, licence="MIT", json=True))
    assert outcome.code == 0
    record = json.loads(outcome.out)
    assert (record["path"], record["licence"]) == (str(output), "MIT")
    assert "My-Model" in (output / "config.yaml").read_text()
    assert (output / "README.md").read_text().startswith("---\nlicense: mit\n")


def test_import_does_not_replace_unasked(bigr: Bigr, tiny: Path) -> None:
    before = (tiny / "config.yaml").stat().st_mtime_ns
    outcome = bigr(*importing())
    assert outcome.code == 2
    assert "exists already" in outcome.err
    assert "hint: --overwrite replaces it" in outcome.err
    assert (tiny / "config.yaml").stat().st_mtime_ns == before
    assert bigr(*importing(overwrite=True)).code == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "0001000.pt: 3 heads do not fit a width of 64"),
        ({"heads": -1}, "heads"),
        ({"image_size": 64}, "--image-size should be 16"),
        ({"generator": GIVEN / "config.json"}, "config.json: is not a checkpoint"),
        ({"generator": "nowhere.pt"}, "nowhere.pt: cannot be read"),
        (
            {"tokenizer": GIVEN / "bigr_tiny.pt", "generator": GIVEN / "binaryae_ema_1000.th"},
            "are the two files swapped?",
        ),
        ({"name": "../../evil"}, "name: expected letters"),
        ({"name": None}, "needs --output or --name"),
        ({"labels": Path(__file__)}, "labels: "),
        ({"labels": GIVEN / "bigr_tiny.pt"}, "bigr_tiny.pt: cannot be read as text"),
        ({"heads": None}, "heads"),
    ],
)
def test_wrong_use(bigr: Bigr, home: Path, changes: dict[str, object], message: str) -> None:
    outcome = bigr(*importing(**changes))
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert list(home.rglob("*")) == []


def test_code_in_a_checkpoint_is_refused_and_not_run(bigr: Bigr, home: Path, tmp_path: Path) -> None:
    torch.save({"ema": Evil(tmp_path / "mark")}, tmp_path / "evil.pt")
    outcome = bigr(*importing(generator=tmp_path / "evil.pt"))
    assert outcome.code == 2
    assert "evil.pt: is refused" in outcome.err
    assert not (tmp_path / "mark").exists()
    assert list(home.rglob("*")) == []


def test_the_default_can_be_set(bigr: Bigr, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bigr("models", "default").out == "scenes-64\n"
    assert bigr("models", "default", "tiny").code == 0
    assert bigr("models", "default").out == "tiny\n"
    assert bigr("models", "path").out == f"{tiny}\n"
    assert bigr("models", "default", "tinny").code == 2
    assert bigr("models", "default", tiny).code == 0
    assert bigr("models", "default").out == f"{tiny.resolve()}\n"
    monkeypatch.setenv("BIGR_MODEL", "scenes-64")
    assert bigr("models", "default").out == "scenes-64\n"
