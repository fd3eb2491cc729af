"""Texts through the commands: what they are read as, in every task, however odd they are."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.model import load

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _texts(workplace: Path, tiny_text_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside `in.png`, with the tiny model of texts as the default."""
    monkeypatch.setenv("BIGR_MODEL", str(tiny_text_model))
    monkeypatch.setenv("BIGR_DTYPE", "float32")


def pixels(path: str | Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def test_images_from_texts(bigr: Run) -> None:
    done = bigr("generate", "A red  house", "a boat", "none", "-n", 2, "--seed", 5, "-o", "out/", "--json")
    assert done.code == 0
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["text"] for record in records] == ["A red house"] * 2 + ["a boat"] * 2 + ["none"] * 2
    assert all("label" not in record for record in records)
    assert records[0]["path"] == "out/A-red-house-5.png"
    recipe = read_metadata(Path("out/a-boat-7.png"))
    assert (recipe.condition, recipe.labels) == ("text", ("a boat",))
    assert len({pixels(path) for path in Path("out").iterdir()}) == 6


def test_case_and_blanks_do_not_matter(bigr: Run) -> None:
    assert bigr("generate", "A  RED house", "--seed", 5, "-o", "a.png").code == 0
    assert bigr("generate", "a red house", "--seed", 5, "-o", "b.png").code == 0
    assert pixels("a.png") == pixels("b.png")


def test_prompts_from_a_file_and_from_stdin(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("texts.txt").write_text("a boat\n\n  a fish at night \n", encoding="utf-8")
    assert bigr("generate", "a cat", "--prompts", "texts.txt", "--seed", 1).code == 0
    assert sorted(path.name for path in Path().glob("a-*.png")) == [
        "a-boat-2.png",
        "a-cat-1.png",
        "a-fish-at-night-3.png",
    ]

    class Stdin:
        buffer = io.BytesIO("ein Boot\n\udc80".encode("utf-8", "surrogateescape"))

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", Stdin())
    done = bigr("generate", "--prompts", "-", "--seed", 1, "--json")
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == ["ein Boot", "\ufffd"]


@pytest.mark.parametrize("content", [None, b"", b"\n  \n"])
def test_prompts_that_are_none(bigr: Run, content: bytes | None) -> None:
    if content is not None:
        Path("texts.txt").write_bytes(content)
    done = bigr("generate", "--prompts", "texts.txt")
    assert (done.code, done.out) == (2, "") and "texts.txt: " in done.err
    assert not list(Path().glob("*-*.png"))


def test_negative_leads_elsewhere_and_is_in_the_recipe(bigr: Run) -> None:
    assert bigr("generate", "a boat", "--seed", 1, "-o", "plain.png").code == 0
    assert bigr("generate", "a boat", "--negative", "at night", "--seed", 1, "-o", "away.png").code == 0
    assert pixels("plain.png") != pixels("away.png")
    shown = bigr("info", "--json", "away.png")
    assert "--negative 'at night'" in json.loads(shown.out)["command"]
    assert bigr("generate", "--recipe", "away.png", "-o", "again.png").code == 0
    assert pixels("again.png") == pixels("away.png")
    sheet = bigr("generate", "a boat", "--negative", "at night", "--seed", 1, "--grid", "sheet.png", "-o", "x.png")
    assert sheet.code == 0 and read_metadata(Path("sheet.png")).options["negative"] == "at night"


ODD = [
    "",
    " ",
    "x",
    "ab " * 700,
    "👩\u200d🎨🏠",
    "בית אדום על הדשא",
    "\x1b[31mred\x07",
    "\ud83d",
    "\u202egnp",
    "-",
    "none",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_have_a_image(bigr: Run, text: str) -> None:
    done = bigr("generate", "--seed", 1, "-o", "odd.png", "--json", "--", text)
    assert done.code == 0, done.err
    (record,) = [json.loads(line) for line in done.out.splitlines()]
    assert record["text"].replace("\u200d", "").isprintable()
    assert ("are not seen" in done.err) == (len(text.encode("utf-8", "replace")) > 40)
    assert bigr("generate", "--recipe", "odd.png", "-o", "again.png").code == 0
    assert pixels("again.png") == pixels("odd.png")


def test_every_task_takes_a_text(bigr: Run) -> None:
    box = ("--mask-box", "10,8,12,12")
    tasks = {
        "inpaint": ("in.png", *box),
        "outpaint": ("in.png", "--right", 8),
        "edit": ("in.png", *box),
        "enrich": ("in.png", "--strength", 1),
    }
    before = np.asarray(Image.open("in.png"))
    for task, words in tasks.items():
        for name, text in (("a", "a red house"), ("b", "sea by night")):
            done = bigr(task, *words, "--text", text, "--seed", 2, "-o", f"{task}-{name}.png", "--json")
            assert done.code == 0, done.err
            assert json.loads(done.out)["text"] == text
        assert pixels(f"{task}-a.png") != pixels(f"{task}-b.png"), task
        negative = bigr(task, *words, "--text", "a red house", "--negative", "x", "--seed", 2, "-o", f"{task}-c.png")
        assert negative.code == 0 and pixels(f"{task}-c.png") != pixels(f"{task}-a.png"), task
    after = np.asarray(Image.open("inpaint-a.png"))
    outside = np.ones(before.shape[:2], dtype=bool)
    outside[8:20, 10:22] = False
    assert np.array_equal(before[outside], after[outside])


def test_an_edit_without_a_mask_is_told_what_an_image_shows(bigr: Run) -> None:
    words = ("edit", "in.png", "--text", "a red house", "--seed", 2)
    done = bigr(*words, "-o", "a.png")
    assert done.code == 0 and done.err.count("60% of it is sampled anew; --from-class says it") == 1, done.err
    for options in (("--from-class", "a blue house"), ("--strength", 0.6), ("--from-class", "a red house")):
        done = bigr(*words, *options, "-o", "b.png", "--overwrite")
        assert done.code == 0 and "sampled anew" not in done.err, done.err
    (command,) = (line for line in bigr("info", "b.png").out.splitlines() if "bigr edit" in line)
    assert "--from-class 'a red house'" in command


def test_ways_between_texts(bigr: Run) -> None:
    done = bigr("interpolate", "a red house", "a blue boat", "--frames", 3, "--seed", 1, "-o", "way/", "--json")
    assert done.code == 0, done.err
    frames = sorted(Path("way").iterdir())
    assert frames[0].name == "a-red-house-to-a-blue-boat-1-000.png"
    assert json.loads(done.out.splitlines()[0])["text"] == ["a red house", "a blue boat"]
    settings = ("--seed", 1, "-o")
    assert bigr("generate", "a red house", *settings, "first.png").code == 0
    assert pixels("first.png") == pixels(frames[0])
    assert bigr("interpolate", "in.png", "in.png", "--text", "a boat", "--frames", 3, "-o", "p.png").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("inpaint", "in.png", "--mask-box", "1,1,9,9", "--class", "cat"),
            "reads texts and has no classes for --class",
        ),
        (("inpaint", "in.png", "--mask-box", "1,1,9,9", "--guess-class"), "has no classes for --guess-class"),
        (("edit", "in.png", "--mask-box", "1,1,9,9"), "no text given"),
        (("generate",), "no text given"),
        (("generate", "--all-labels"), "reads texts and has no labels"),
        (("interpolate", "a", "none"), '"none" is no stop'),
    ],
)
def test_what_a_model_of_texts_does_not_take(bigr: Run, words: tuple[str, ...], message: str) -> None:
    done = bigr(*words)
    assert done.code == 2 and message in done.err, done.err


def test_what_a_model_of_classes_does_not_take(bigr: Run, tiny_model: Path) -> None:
    done = bigr("inpaint", "in.png", "--mask-box", "1,1,9,9", "--text", "a cat", "-m", tiny_model)
    assert done.code == 2 and "knows classes and reads no --text" in done.err
    done = bigr("generate", "a red house on grass", "-m", tiny_model)
    assert done.code == 2 and "knows labels, not sentences" in done.err
    assert bigr("generate", "cat", "--negative", "dog", "--seed", 1, "-o", "a.png", "-m", tiny_model).code == 0
    assert bigr("generate", "cat", "--seed", 1, "-o", "b.png", "-m", tiny_model).code == 0
    assert pixels("a.png") != pixels("b.png")


def test_features_under_a_text(bigr: Run, tiny_text_model: Path) -> None:
    assert bigr("embed", "in.png", "-o", "a.npz").code == 0
    assert bigr("embed", "in.png", "--label", "a boat", "-o", "b.npz").code == 0
    plain, under = np.load("a.npz")["features"], np.load("b.npz")["features"]
    assert plain.shape == under.shape and not np.allclose(plain, under)


def test_lists_and_cards_tell_of_texts(bigr: Run, tiny_text_model: Path, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "tiny-text").symlink_to(tiny_text_model)
    assert "text (bytes)" in bigr("models", "list").out
    assert "images from texts" in (tiny_text_model / "README.md").read_text(encoding="utf-8")


def test_from_python(tiny_text_model: Path) -> None:
    model = load(tiny_text_model, device="cpu", dtype="float32")
    one, other = model.generate(["a red house", "a boat"], seed=3)
    assert one.tobytes() != other.tobytes()
    away = model.generate("a red house", seed=3, negative="a boat")[0]
    assert away.tobytes() != one.tobytes()
    image = Image.open("in.png")
    mask = np.zeros((30, 40), dtype=bool)
    mask[5:20, 5:20] = True
    assert model.inpaint(image, mask, label="a boat", seed=1)[0].size == (40, 30)
