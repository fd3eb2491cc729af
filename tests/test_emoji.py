"""`scripts/emoji.py`: the font's emoji with their names, compositions kept apart, and the same files every time."""

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "emoji.py"
THUMBS = "\U0001f44d"


@pytest.fixture(scope="module")
def emoji() -> Iterator[Any]:
    spec = spec_from_file_location("emoji_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


def test_names(emoji: Any) -> None:
    family = "\U0001f468\u200d\U0001f467"
    assert emoji.caption("\U0001f436", {}) == "dog face"
    assert (
        emoji.caption(f"{THUMBS}\U0001f3fd", {f"{THUMBS}\U0001f3fd": "another"}) == "thumbs up sign: medium skin tone"
    )
    assert emoji.caption(family, {family: "family: man, girl"}) == "family: man, girl"
    assert emoji.caption(family, {}) == "man, girl"
    assert emoji.caption("\U0001faff", {}) == ""


def test_compositions_are_made_of_what_is_trained_on(emoji: Any) -> None:
    tones = list(emoji.TONES.values())
    captions = [f"thing {number}: {tone}" for number in range(60) for tone in tones]
    apart = emoji.held_out(captions)
    rest = set(captions) - set(apart)
    assert len(apart) == len(set(apart)) == 40 and apart == emoji.held_out(captions)
    assert {each.partition(": ")[2] for each in apart} == set(tones)
    for each in apart:
        base, _, tone = each.partition(": ")
        assert sum(other.startswith(f"{base}: ") for other in rest) == 4
        assert sum(other.endswith(f": {tone}") for other in rest) > 40
    known = {each.format("cat") for each in emoji.EXPRESSIONS} | {f"{each} face" for each in emoji.ANIMALS}
    faces = emoji.unseen_faces(known)
    assert len(faces) == len(set(faces)) == 24 and not known & set(faces)
    assert "crying cat face" not in faces
    assert not emoji.unseen_faces(known - {each.format("cat") for each in emoji.EXPRESSIONS})


LISTED = """# group: People & Body
1F600 ; fully-qualified # 😀 E1.0 grinning face
1F436 ; fully-qualified # 🐶 E0.6 dog face
263A FE0F ; fully-qualified # ☺️ E0.6 smiling face
263A ; unqualified # ☺ E0.6 smiling face
1F1E9 1F1EA ; fully-qualified # 🇩🇪 E0.6 flag: Germany
1F468 200D 1F680 ; fully-qualified # 👨‍🚀 E4.0 man astronaut
1F436 200D 1F680 ; fully-qualified # 🐶‍🚀 E99.0 dog astronaut
""" + "".join(f"1F44D {code:X} ; fully-qualified # x E1.0 thumbs up: tone\n" for code in range(0x1F3FB, 0x1F400))


def test_a_data_set(
    emoji: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not emoji.FONT.is_file() or not emoji.features.check("raqm"):
        pytest.skip("needs Debian's fonts-noto-color-emoji, and a Pillow with libraqm")
    names = tmp_path / "emoji-test.txt"
    names.write_text(LISTED, encoding="utf-8")
    made = []
    for output in ("one", "two"):
        monkeypatch.setattr(sys, "argv", ["emoji.py", "-o", str(tmp_path / output), "--names", str(names)])
        emoji.main()
        made.append(
            {path.relative_to(tmp_path / output): path.read_bytes() for path in (tmp_path / output).rglob("*.*")}
        )
    assert made[0] == made[1]
    images = tmp_path / "one" / "images"
    said = {path.stem: path.read_text(encoding="utf-8").strip() for path in images.glob("*.txt")}
    assert said["1f436"] == "dog face" and said["263a-fe0f"] == "white smiling face"
    assert said["1f1e9-1f1ea"] == "flag: germany" and said["1f468-200d-1f680"] == "man astronaut"
    kept = [path.read_text(encoding="utf-8").strip() for path in (tmp_path / "one" / "held-out").glob("*.txt")]
    assert len(kept) == 1 and kept[0].startswith("thumbs up sign: ") and len(said) == 9
    assert (tmp_path / "one" / "compositions.txt").read_text(encoding="utf-8").split("\n") == [*kept, ""]
    out = capsys.readouterr().out
    assert "9 emoji with their names" in out and "left out: 1 not in the font" in out
    for path in images.glob("*.png"):
        with Image.open(path) as image:
            levels = np.asarray(image)
        assert levels.shape == (64, 64, 3) and (levels[0, 0] == 255).all() and levels.std() > 20
    with pytest.raises(SystemExit):
        emoji.main()
    assert "is there already" in capsys.readouterr().err
