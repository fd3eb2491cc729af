"""Texts in the words of a model that knows a fixed set of things: right, or the word named."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.architectures import TextConfig
from bigr_cli.data import scenes
from bigr_cli.data.scenes.description import COLOR_WORDS, MOMENTS, OBJECT_WORDS, PLACES, phrase, vocabulary
from bigr_cli.errors import UnknownWordError, UsageError
from bigr_cli.prompts import label_index, prompt_of
from bigr_cli.text_reading import read
from bigr_cli.vocabulary import Vocabulary, counted, plural, singulars
from bigr_cli.zoo.config import ModelConfig, dump_config, read_config
from bigr_cli.zoo.find import packaged_models

Run = Callable[..., Any]
LINES = (Path(__file__).parent / "phrases.jsonl").read_text(encoding="utf-8").splitlines()
PHRASES = [json.loads(line) for line in LINES]


@pytest.fixture(scope="module")
def shipped() -> ModelConfig:
    return read_config(packaged_models() / "scenes-64-text")


@pytest.fixture
def worded(tiny_text_model: Path, tmp_path: Path, shipped: ModelConfig) -> Path:
    """The folder of a tiny model that has the shipped one's name and vocabulary."""
    folder = tmp_path / "worded"
    folder.mkdir()
    for file in tiny_text_model.iterdir():
        (folder / file.name).symlink_to(file)
    config = read_config(tiny_text_model)
    (folder / "config.yaml").unlink()
    named = replace(config, name="scenes-64-text", vocabulary=shipped.vocabulary)
    (folder / "config.yaml").write_text(dump_config(named), encoding="utf-8")
    return folder


@pytest.mark.parametrize("line", PHRASES, ids=[each["text"] for each in PHRASES])
def test_a_phrase_is_right_or_its_word_named(
    line: dict[str, str], shipped: ModelConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""
    try:
        made = prompt_of(shipped, line["text"])
    except UsageError as error:
        made, said = None, f"{error} | {error.hint}"
    err = capfd.readouterr().err
    assert made == line.get("read")
    assert re.search(line.get("says", ""), said + err)
    if made is not None and made != line["text"]:
        assert f"reads {line['text']!r} as {made!r}" in err


def test_enough_phrases_of_every_kind() -> None:
    assert len(PHRASES) >= 60
    kinds = {"synonym", "plural", "unknown", "language", "emoji", "typo", "two", "negation", "colour"}
    assert {line["kind"] for line in PHRASES} >= kinds


@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**43))
def test_captions_of_scenes_are_read_as_what_they_say(seed: int, index: int) -> None:
    known, scene = vocabulary(), scenes.describe(seed, index)
    said = phrase(scene)
    reading = read(said, known, "m")
    assert not reading.changed or re.search(r"\bone\b|\bsingle\b|s\b|men\b", said)
    assert read(scene.caption, known, "m").text == scene.caption
    assert not read(reading.text, known, "m").changed


def parts_of(names: dict[str, tuple[str, ...]]) -> Any:
    return st.one_of(st.none(), st.sampled_from([(name, said) for name, all_ in names.items() for said in all_]))


@given(*map(parts_of, (COLOR_WORDS, OBJECT_WORDS, PLACES, MOMENTS)), st.permutations(range(3)))
def test_any_order_of_known_words_means_the_same(
    color: Any, thing: Any, place: Any, moment: Any, order: list[int]
) -> None:
    noun = " ".join(part[1] for part in (color, thing) if part)
    words = [(noun, place and place[1], moment and moment[1])[number] for number in order]
    text = " ".join(word for word in words if word)
    if not text:
        return
    found = read(f"the {text}", vocabulary(), "m").text
    said = found if thing and thing[0] == "star" else found.replace("under the stars", "at night")
    for part, names in ((color, COLOR_WORDS), (thing, OBJECT_WORDS), (place, PLACES), (moment, MOMENTS)):
        mentioned = {name for name, every in names.items() if re.search(rf"\b({'|'.join((name, *every))})\b", said)}
        assert mentioned == ({part[0]} if part else set())


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    try:
        found = read(text, vocabulary(), "m")
    except UsageError as error:
        assert len(str(error)) < 1000
    else:
        assert not read(found.text, vocabulary(), "m").changed


def test_plurals() -> None:
    for single, several in (("cat", "cats"), ("fish", "fishes"), ("snowman", "snowmen"), ("lily", "lilies")):
        assert plural(single) == several and single in singulars(several)


def test_a_text_goes_through_every_command(bigr: Run, worded: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = tmp_path / "in.png"
    Image.new("RGB", (16, 16), "red").save(image)
    model = ("-m", worded, "--seed", 1, "--overwrite", "-o", tmp_path / "out.png")
    done = bigr("generate", "cats", *model, "--json")
    assert done.code == 0 and json.loads(done.out)["text"] == "a cat"
    assert done.err.count("reads 'cats' as 'a cat': it paints one object") == 1
    for words in (
        ("generate", "a dog"),
        ("generate", "a cat", "--negative", "a dog"),
        ("edit", image, "--text", "a dog", "--mask-box", "0,0,8,8"),
        ("inpaint", image, "--text", "a dog", "--mask-box", "0,0,8,8"),
        ("outpaint", image, "--text", "a dog", "--left", 8),
        ("enrich", image, "--text", "a dog"),
        ("interpolate", "a cat", "a dog", "--frames", 3),
        ("embed", image, "--text", "a dog"),
    ):
        done = bigr(*words, *(model if words[0] != "embed" else ("-m", worded, "-o", tmp_path / "f.npz")))
        assert done.code == 2, words
        if words[0] != "embed":
            assert "'dog' is not among the words that scenes-64-text knows; nearest: cat, bird" in done.err, words
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"image": str(image), "text": "a dog", "mask_box": [0, 0, 8, 8]}))
    done = bigr("inpaint", "--manifest", tmp_path / "jobs.jsonl", "-m", worded, "-o", tmp_path / "made")
    assert done.code == 2 and "jobs.jsonl, line 1" in done.err and "'dog' is not among" in done.err
    assert not (tmp_path / "made").exists()


def test_python_gets_the_same_checks(worded: Path) -> None:
    import bigr_cli

    model = bigr_cli.load(worded)
    with pytest.raises(UnknownWordError, match="'dog' is not among the words") as raised:
        model.generate("a dog")
    assert raised.value.suggestions == ["cat", "bird"]
    assert model.generate("cats", seed=1)[0].tobytes() == model.generate("a cat", seed=1)[0].tobytes()


def test_the_words_are_listed(bigr: Run, worded: Path, tiny_text_model: Path) -> None:
    lines = bigr("models", "labels", worded).out.splitlines()
    assert [line.split("\t")[0] for line in lines].count("object") == 16
    assert "color\tred\tcrimson, scarlet" in lines and any(line.startswith("time\tnight\tat night") for line in lines)
    found = bigr("models", "labels", worded, "--search", "kitty", "--json").out
    assert json.loads(found)["name"] == "cat"
    done = bigr("models", "labels", tiny_text_model)
    assert (done.code, done.out) == (0, "") and "does not note" in done.err


def test_a_class_model_names_a_model_for_sentences(bigr: Run) -> None:
    done = bigr("generate", "a red cat on grass", "-m", "scenes-64")
    assert done.code == 2 and "knows labels, not sentences" in done.err and "-m scenes-64-text" in done.err


def test_words_of_other_captions_are_named_in_a_warning(
    shipped: ModelConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    own = replace(shipped, name="mine", vocabulary=counted(["A small dog, on a sofa.", "two dogs"]))
    assert prompt_of(own, "dogs on a couch") == "dogs on a couch"
    assert "mine: 'couch' is not among the 7 words of its captions" in capfd.readouterr().err
    assert shipped.generator is not None
    general = replace(shipped.generator, text=TextConfig("t5", 8, 16, source="x"))
    assert prompt_of(replace(own, generator=general), "a zebra") == "a zebra"
    assert capfd.readouterr().err == ""


def test_a_vocabulary_is_bounded_and_kept(shipped: ModelConfig) -> None:
    found = counted(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(3000))
    assert (len(found.words), found.more) == (2000, 1000)
    assert counted([]) == Vocabulary()
    assert shipped.vocabulary is not None and shipped.vocabulary.formal and not shipped.vocabulary.more
    with pytest.raises(UsageError):
        label_index(shipped, "cat")
