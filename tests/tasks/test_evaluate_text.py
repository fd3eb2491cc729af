"""`bigr evaluate text`, as its users meet it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
QUICK = ("--steps", 2, "--timesteps", 2)


@pytest.fixture(autouse=True)
def _texts(workplace: Path, tiny_text_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tiny model of texts, which was not shown red houses and blue fishes, as the default."""
    monkeypatch.setenv("BIGR_MODEL", str(tiny_text_model))
    monkeypatch.setenv("BIGR_DTYPE", "float32")


def test_a_table_of_scenes(bigr: Run) -> None:
    done = bigr("evaluate", "text", "-n", 8, *QUICK)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["captions", "images", "object", "color", "ground", "time", "all"]
    assert [line[0] for line in lines[-2:]] == ["seen", "held"]


def test_records_and_a_sweep(bigr: Run, home: Path) -> None:
    done = bigr("evaluate", "text", "-n", 20, *QUICK, "--sweep", "guidance=0,3", "--json")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [(each["point"], each["captions"]) for each in records] == [
        ({"guidance": 0}, "seen"),
        ({"guidance": 0}, "held out"),
        ({"guidance": 3}, "seen"),
        ({"guidance": 3}, "held out"),
    ]
    for each in records:
        assert each["count"] == 20 and each["judge"] == "scenes"
        assert each["all"] <= min(each[name] for name in ("object", "color", "ground", "time"))
    assert not list((home / "cache" / "evaluation").glob("*")), "codes are kept only until the end"
    again = bigr("evaluate", "text", "-n", 20, *QUICK, "--guidance", 3, "--json", "--batch-size", 3)
    shares = [{name: each[name] for name in ("object", "all")} for each in map(json.loads, again.out.splitlines())]
    assert shares == [{name: each[name] for name in ("object", "all")} for each in records[2:]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--captions", "texts.txt"), "texts of one's own need an evaluator"),
        (("--captions", "none.txt", "--clip", "clip"), "none.txt: cannot be read"),
        (("--sweep", "guidence=1,2"), "unknown setting 'guidence'"),
        (("--clip", "no such folder"), "neither a folder nor a repository"),
        (("--clip", "."), "holds no CLIP that can be read"),
        (("-n", "0"), "expected at least 1"),
    ],
)
def test_what_cannot_be(bigr: Run, words: tuple[str, ...], message: str) -> None:
    done = bigr("evaluate", "text", "-n", 4, *QUICK, *words)
    assert done.code == 2 and message in done.err, done.err


def test_a_model_of_classes(bigr: Run, tiny_model: Path) -> None:
    done = bigr("evaluate", "text", "-m", tiny_model)
    assert done.code == 2 and "knows classes and reads no texts" in done.err


def test_without_transformers(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigr_cli.zoo.text_encoders.t5.find_spec", lambda name: None)
    done = bigr("evaluate", "text", "-n", 4, "--clip", "openai/clip-vit-base-patch32")
    assert done.code == 2 and "pipx inject bigr-cli transformers" in done.err


def test_by_a_clip_of_random_weights(bigr: Run, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    save_clip(folder)
    Path("texts.txt").write_text("a red house\n\na blue boat on the sea\nfish\n", encoding="utf-8")
    done = bigr("evaluate", "text", "--captions", "texts.txt", "--clip", folder, *QUICK, "--json")
    assert done.code == 0, done.err
    (record,) = map(json.loads, done.out.splitlines())
    assert (record["captions"], record["count"], record["judge"]) == ("texts.txt", 3, str(folder))
    assert 0 <= record["clip"] <= 100
    table = bigr("evaluate", "text", "--captions", "texts.txt", "-n", 2, "--clip", folder, *QUICK)
    assert table.out.splitlines()[0].split() == ["captions", "images", "clip"]


def test_a_clip_of_the_hub_is_named_by_its_commit(bigr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default branch moves; owner/name@REVISION asks for one commit."""
    commit, asked = "0123456789abcdef" * 2 + "01234567", []
    save_clip(tmp_path / commit)

    def fetch_folder(repository: str, patterns: object, *, revision: str) -> Path:
        asked.append((repository, revision))
        return tmp_path / commit

    monkeypatch.setattr("bigr_cli.zoo.hub.client.fetch_folder", fetch_folder)
    monkeypatch.setattr("bigr_cli.zoo.hub.client.cached_folder", lambda *_: None)
    Path("texts.txt").write_text("a red house\n", encoding="utf-8")
    words = ["--captions", "texts.txt", *QUICK, "--json"]
    for source in ("lab/clip", f"lab/clip@{commit[:8]}"):
        done = bigr("evaluate", "text", "--clip", source, *words)
        assert json.loads(done.out)["judge"] == f"lab/clip@{commit}"
    assert asked == [("lab/clip", "main"), ("lab/clip", commit[:8])]


def save_clip(folder: Path) -> None:
    """A CLIP as transformers saves it, with random weights and a vocabulary of letters."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder.mkdir()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    texts = {**size, **ends, "vocab_size": len(words), "max_position_embeddings": 16}
    torch.manual_seed(0)
    network = CLIPModel(
        CLIPConfig(text_config=texts, vision_config={**size, "image_size": 32, "patch_size": 16}, projection_dim=8)
    )
    network.save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
