import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.imaging.output_names import expanded, fill, resolve, safe_text

DEFAULT = "{label}-{seed}.png"
CAT = {"label": "cat", "seed": 7, "index": 0, "task": "generate", "model": "m", "stem": "photo"}
DOG = CAT | {"label": "dog", "seed": 8, "index": 1}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, "cat-7.png"),
        ("x.jpg", "x.jpg"),
        ("new", "new/cat-7.png"),
        ("a/b.c/", "a/b.c/cat-7.png"),
        (".", "cat-7.png"),
        ("..", "../cat-7.png"),
        ("{task}/{model}/{stem}-{index:03}.webp", "generate/m/photo-000.webp"),
        ("{label}", "cat/cat-7.png"),
        ("{{{label}}}.png", "{cat}.png"),
        ("UPPER.PNG", "UPPER.PNG"),
    ],
)
def test_outputs(output: str | None, expected: str) -> None:
    assert resolve(output, [CAT], default=DEFAULT) == [Path(expected)]


def test_a_folder_that_exists_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "odd{name.v2").mkdir()
    assert resolve("odd{name.v2", [CAT, DOG], default=DEFAULT) == [
        Path("odd{name.v2/cat-7.png"),
        Path("odd{name.v2/dog-8.png"),
    ]


def test_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert resolve("~/x.png", [CAT], default=DEFAULT) == [Path("/somewhere/x.png")]


def test_stdout_takes_one() -> None:
    assert resolve("-", [CAT], default=DEFAULT) is None
    with pytest.raises(UsageError, match="stdout takes one image"):
        resolve("-", [CAT, DOG], default=DEFAULT)


def test_one_file_for_several_suggests_a_pattern() -> None:
    with pytest.raises(UsageError) as raised:
        resolve("out/x.png", [CAT, DOG], default=DEFAULT)
    assert str(raised.value) == "out/x.png: is one file for 2 images"
    assert "out/x-{seed}.png" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("{labl}.png", "unknown field 'labl'; did you mean label"),
        ("{}.png", "unknown field ''"),
        ("{label.__class__}.png", "unknown field"),
        ("{label[0]}.png", "unknown field"),
        ("{label!r}.png", "at most a width"),
        ("{label:>30}.png", "at most a width"),
        ("{seed:999999999}.png", "at most a width"),
        ("{seed:{index}}.png", "at most a width"),
        ("{label.png", "expected '}'"),
        ("label}.png", "Single '}'"),
        ("x.xyz", "unknown kind of image '.xyz'"),
        ("x.{label}", "unknown kind of image"),
        (".png", "no name before the suffix"),
        ("", "got nothing"),
    ],
)
def test_wrong_outputs(output: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(output, [CAT], default=DEFAULT)


def test_unknown_fields_name_the_known_ones() -> None:
    with pytest.raises(UnknownNameError) as raised:
        fill("{colour}", {"label": "cat", "seed": 1})
    assert raised.value.hint == "patterns know {label}, {seed}"


@pytest.mark.parametrize("text", ["../../x", "/etc/passwd", "..", ".", "", "a\\b", "C:x", "con", "LPT1.txt", "\x1b[0m"])
def test_labels_cannot_leave_their_place(text: str) -> None:
    (path,) = resolve("out/{label}.png", [CAT | {"label": text}], default=DEFAULT) or []
    assert path.parent == Path("out")
    assert path.name == os.path.basename(os.path.normpath(path))


@given(st.text(max_size=300))
@example("." * 300)
@example("a" * 300 + ".")
@example("ſ" * 300)
def test_safe_text_is_a_plain_name(text: str) -> None:
    safe = safe_text(text)
    assert safe
    assert len(safe) <= 65
    assert safe[0] not in "-."
    assert safe[-1] not in "-."
    assert not set(safe) & set('/\\:*?"<>|\0 \n')


def test_names_in_other_scripts_stay() -> None:
    assert safe_text("tench, Tinca tinca") == "tench-Tinca-tinca"
    assert safe_text("猫") == "猫"


@pytest.mark.parametrize("text", ["~\0", "~\0.png", "~no-such-user-of-this-machine/a"])
def test_a_tilde_without_a_user_stays(text: str) -> None:
    assert expanded(text) == Path(text)
