"""What scenes are called, and scenes that are left out."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.conditions import byte_texts, fitting_bytes
from bigr_cli.data import scenes
from bigr_cli.data.scenes.description import COLOR_WORDS, MOMENTS, OBJECT_WORDS, PLACES, phrase
from bigr_cli.data.sources import ScenesSource, color_and_label
from bigr_cli.errors import UsageError

SCENES = [scenes.describe(3, index) for index in range(1500)]
PARTS = (("label", OBJECT_WORDS), ("color", COLOR_WORDS), ("ground", PLACES), ("time", MOMENTS))


def mentioned(text: str, names: dict[str, tuple[str, ...]]) -> set[str]:
    """The names of which some wording is in the text; the longest wording at a place counts."""
    wordings = {wording: name for name, all_of_it in names.items() for wording in (name, *all_of_it)}
    pattern = "|".join(sorted(map(re.escape, wordings), key=len, reverse=True))
    return {wordings[found] for found in re.findall(rf"\b(?:{pattern})\b", text)}


def test_every_value_has_words_of_its_own() -> None:
    assert set(OBJECT_WORDS) == set(scenes.LABELS)
    assert set(COLOR_WORDS) == set(scenes.COLORS)
    for names in (OBJECT_WORDS, COLOR_WORDS, PLACES, MOMENTS):
        every = [wording for wordings in names.values() for wording in wordings]
        assert len(set(every)) == len(every)


@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**43))
def test_a_caption_is_a_function_of_the_scene(seed: int, index: int) -> None:
    said = phrase(scenes.describe(seed, index))
    assert said == phrase(scenes.describe(seed, index))
    assert said == " ".join(said.split()) != ""
    assert len(said.encode()) <= 128
    assert bool(byte_texts([said], 128).mask.any()) and fitting_bytes(said, 128).decode() == said


def test_captions_say_nothing_false_and_leave_little_out() -> None:
    counts = dict.fromkeys(("label", "color", "ground", "time"), 0)
    for scene in SCENES:
        said = phrase(scene)
        for part, names in PARTS:
            if part == "label" and scene.label != "star":
                said = said.replace("under the stars", "")  # a moment, no object
            found = mentioned(phrase(scene) if part == "time" else said, names)
            assert found <= {getattr(scene, part)}, (said, part)
            counts[part] += bool(found)
    # A quarter are whole captions, and of the others 12 of 100 lack a part.
    for part, count in counts.items():
        assert 0.85 < count / len(SCENES) < 0.97, part


def test_captions_vary() -> None:
    house = [scene for scene in SCENES if scene.label == "house"]
    said = {phrase(scene) for scene in house}
    assert len(said) > 0.8 * len(house)
    assert any("cottage" in each for each in said) and any("home" in each for each in said)
    plain = sum(phrase(scene) == scene.caption for scene in SCENES) / len(SCENES)
    assert 0.2 < plain < 0.4


def test_pairs_of_color_and_object_can_be_left_out() -> None:
    without = frozenset({("red", "house"), ("blue", "cat")})
    whole, parted = ScenesSource(16, seed=1, count=2000), ScenesSource(16, seed=1, count=2000, without=without)
    changed = 0
    for index in range(2000):
        one, other = whole.scene(index), parted.scene(index)
        assert (other.color, other.label) not in without
        assert one.label == other.label == scenes.LABELS[parted.label(index)]
        if (one.color, one.label) in without:
            changed += 1
            assert other.color != one.color
        else:
            assert one == other
    assert changed > 10
    assert parted.caption(5) == phrase(parted.scene(5))
    assert parted.fingerprint() != whole.fingerprint()


def test_a_color_and_an_object() -> None:
    assert color_and_label("red house") == ("red", "house")
    for text in ("", "red", "house red", "red  house", "red house now"):
        with pytest.raises(UsageError, match="expected a colour and an object of the scenes"):
            color_and_label(text)
