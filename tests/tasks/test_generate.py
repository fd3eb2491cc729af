import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.app import main
from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.model import Model
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.presets import sampling_settings

Run = Callable[..., Any]
LABELS = ("cat", "dog", "house", "tree")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, on the CPU, with the tiny model as the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    monkeypatch.setenv("BIGR_DEVICE", "cpu")
    monkeypatch.setenv("BIGR_DTYPE", "float32")


def listing() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def pixels(path: str) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def test_one_image(bigr: Run) -> None:
    done = bigr("generate", "cat", "--seed", 3)
    assert (done.code, done.out) == (0, "")
    assert done.err == "tiny on cpu in float32, seed 3\nwrote cat-3.png\n"
    assert listing() == ["cat-3.png"]
    with Image.open("cat-3.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (16, 16))


def test_several_labels_count_on_with_the_seed(bigr: Run) -> None:
    assert bigr("generate", "TREE", "0", "none", "-n", 2, "--seed", 10, "-o", "a/b").code == 0
    assert listing() == [f"a/b/{name}.png" for name in ("cat-12", "cat-13", "none-14", "none-15", "tree-10", "tree-11")]


def test_all_labels(bigr: Run) -> None:
    assert bigr("generate", "all", "--seed", 0, "-q").err == ""
    assert bigr("generate", "--all-labels", "--seed", 0, "-o", "other/").code == 0
    names = [f"{label}-{seed}.png" for seed, label in enumerate(LABELS)]
    assert listing() == sorted(names + [f"other/{name}" for name in names])
    assert all(pixels(name) == pixels(f"other/{name}") for name in names)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batch_size_and_company_change_nothing(bigr: Run, batch_size: int) -> None:
    assert bigr("generate", "cat", "dog", "-n", 4, "--seed", 5, "--batch-size", batch_size).code == 0
    assert bigr("generate", "dog", "--seed", 10, "-o", "alone.png").code == 0
    assert pixels("alone.png") == pixels("dog-10.png")
    assert len({pixels(name) for name in listing()}) == 8


def test_a_drawn_seed_is_said_and_recorded(bigr: Run) -> None:
    done = bigr("generate", "cat")
    (name,) = listing()
    seed = name.removeprefix("cat-").removesuffix(".png")
    assert f"seed {seed} (drawn)" in done.err
    assert read_metadata(Path(name)).seed == int(seed)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tiff", "gif"])
def test_kinds_of_files(bigr: Run, suffix: str) -> None:
    assert bigr("generate", "cat", "-o", f"new/folder/x.{suffix}").code == 0
    assert listing() == [f"new/folder/x.{suffix}"]
    assert read_metadata(Path(listing()[0])).labels == ("cat",)


def test_patterns(bigr: Run) -> None:
    pattern = "{task}/{model}/{label}/{index:03}-{seed}.webp"
    assert bigr("generate", "cat", "dog", "-o", pattern, "--seed", 7).code == 0
    assert listing() == ["generate/tiny/cat/000-7.webp", "generate/tiny/dog/001-8.webp"]


def test_stdout_gets_the_image_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["generate", "cat", "--seed", "3", "-o", "-"]) == 0
    captured = capfdbinary.readouterr()
    assert captured.err == b"tiny on cpu in float32, seed 3\n"
    assert main(["generate", "cat", "--seed", "3", "-q"]) == 0
    assert captured.out == Path("cat-3.png").read_bytes()


def test_json_is_one_line_per_image(bigr: Run, tiny_model: Path) -> None:
    done = bigr("generate", "cat", "dog", "--seed", 7, "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["path"] for line in lines] == ["cat-7.png", "dog-8.png"]
    assert [(line["task"], line["model"], line["label"], line["seed"]) for line in lines] == [
        ("generate", "tiny", "cat", 7),
        ("generate", "tiny", "dog", 8),
    ]
    assert all(line["seconds"] > 0 for line in lines)
    Path("line.json").write_text(done.out.splitlines()[1])
    assert bigr("generate", "--recipe", "line.json", "-o", "again.png").code == 0
    assert pixels("again.png") == pixels("dog-8.png")


def test_nothing_is_overwritten_unasked(bigr: Run) -> None:
    Path("cat-4.png").write_bytes(b"mine")
    done = bigr("generate", "cat", "-n", 3, "--seed", 3)
    assert (done.code, done.out, listing()) == (2, "", ["cat-4.png"])
    assert done.err.splitlines() == ["error: cat-4.png: exists already", "hint: pass --overwrite to replace it"]
    skipped = bigr("generate", "cat", "-n", 3, "--seed", 3, "--skip-existing", "--json")
    assert [json.loads(line)["seed"] for line in skipped.out.splitlines()] == [3, 5]
    assert "skipped 1 image that was there already" in skipped.err
    assert Path("cat-4.png").read_bytes() == b"mine"
    assert bigr("generate", "cat", "-n", 3, "--seed", 3, "--skip-existing").err.startswith("nothing to do")
    assert bigr("generate", "cat", "-n", 3, "--seed", 3, "--overwrite").code == 0
    assert pixels("cat-4.png")
    assert bigr("generate", "cat", "--overwrite", "--skip-existing").code == 2


def test_without_metadata(bigr: Run) -> None:
    assert (
        bigr("generate", "cat", "--no-metadata", "-o", "x.png", "--grid", "g.png", "--steps-preview", "s.gif").code == 0
    )
    for name in listing():
        assert bigr("info", name).code == 2


def test_grid(bigr: Run) -> None:
    assert bigr("generate", "cat", "dog", "-n", 3, "--seed", 1, "--grid", "sheets/g.png").code == 0
    with Image.open("sheets/g.png") as sheet:
        assert sheet.size == (3 * 18 - 2, 2 * 18 - 2)
        for index, name in enumerate(("cat-1", "cat-2", "cat-3", "dog-4", "dog-5", "dog-6")):
            left, top = 18 * (index % 3), 18 * (index // 3)
            assert sheet.crop((left, top, left + 16, top + 16)).tobytes() == pixels(f"{name}.png")
    again = bigr("generate", "cat", "dog", "-n", 3, "--seed", 1, "--skip-existing", "--grid", "h.png", "--columns", 6)
    assert again.code == 0
    with Image.open("h.png") as sheet:
        assert sheet.size == (6 * 18 - 2, 16)
        assert sheet.crop((90, 0, 106, 16)).tobytes() == pixels("dog-6.png")
    assert bigr("generate", "cat", "--seed", 9, "--grid", "c.png", "--captions").code == 0
    with Image.open("c.png") as sheet:
        assert sheet.height > 16


def test_steps_preview_shows_tokens_being_settled(bigr: Run) -> None:
    order = ("--order", "raster", "--steps", 4)
    assert bigr("generate", "cat", "--seed", 1, *order, "--steps-preview", "s.webp").code == 0
    greyness = []
    with Image.open("s.webp") as film:
        assert film.size == (256, 256)
        assert film.n_frames == 4
        for frame in range(4):
            film.seek(frame)
            cells = [film.convert("RGB").crop((0, 64 * row, 256, 64 * row + 64)) for row in range(4)]
            extrema = [max(high - low for low, high in cell.getextrema()) for cell in cells]
            greyness.append([spread < 60 for spread in extrema])
        assert film.convert("RGB").resize((16, 16), Image.Resampling.NEAREST).tobytes() == pixels("cat-1.png")
    assert greyness[0][3], greyness
    assert not greyness[3][3], greyness


def test_steps_preview_of_several(bigr: Run) -> None:
    assert bigr("generate", "all", "--seed", 1, "--batch-size", 3, "--steps-preview", "s.gif").code == 0
    with Image.open("s.gif") as film:
        assert min(film.size) >= 256
        assert film.n_frames == 4
    refused = bigr("generate", "cat", "-n", 65, "--steps-preview", "t.gif")
    assert refused.code == 2
    assert "at most 64" in refused.err


def test_recipes_give_what_is_not_given_explicitly(bigr: Run) -> None:
    assert bigr("generate", "dog", "--seed", 5, "--steps", 3, "--guidance", 4, "--order", "halton").code == 0
    assert bigr("generate", "--recipe", "dog-5.png", "-o", "again.png").code == 0
    assert Path("again.png").read_bytes() == Path("dog-5.png").read_bytes()
    assert bigr("generate", "cat", "--recipe", "dog-5.png", "--guidance", 1, "--seed", 6).code == 0
    other = read_metadata(Path("cat-6.png"))
    assert (other.labels, other.sampling.guidance, other.sampling.steps, other.sampling.order) == (
        ("cat",),
        1,
        3,
        "halton",
    )


def test_a_recipe_comes_before_the_environment(bigr: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bigr("generate", "dog", "--seed", 5, "--steps", 3, "-m", tiny_model).code == 0
    for name, value in (
        ("MODEL", "gone"),
        ("SEED", "8"),
        ("STEPS", "2"),
        ("PRESET", "draft"),
        ("DTYPE", "float16"),
        ("COUNT", "9"),
    ):
        monkeypatch.setenv(f"BIGR_{name}", value)
    assert bigr("generate", "--recipe", "dog-5.png", "-o", "again.png").code == 0
    assert Path("again.png").read_bytes() == Path("dog-5.png").read_bytes()


def test_presets_stand_for_settings(bigr: Run, tiny_model: Path) -> None:
    """Options given beside one go before it; a recipe has the settings themselves, and a preset goes before those."""
    assert bigr("generate", "cat", "--seed", 3, "--preset", "fast", "--steps", 2, "-o", "fast.png").code == 0
    recipe = read_metadata(Path("fast.png"))
    expected = sampling_settings(read_config(tiny_model), {"preset": "fast", "steps": 2})
    assert recipe.sampling == expected and expected.rank_timesteps > 0
    assert bigr("generate", "--recipe", "fast.png", "-o", "again.png").code == 0
    assert pixels("again.png") == pixels("fast.png")
    assert bigr("generate", "--recipe", "fast.png", "--preset", "quality", "-o", "quality.png").code == 0
    assert read_metadata(Path("quality.png")).sampling == read_config(tiny_model).sampling


def test_a_preset_that_there_is_not(bigr: Run) -> None:
    done = bigr("generate", "cat", "--preset", "best")
    assert done.code == 2 and "quality, balanced, fast" in " ".join(done.err.split())


def test_recipes_of_sheets_make_all_of_it(bigr: Run) -> None:
    assert bigr("generate", "dog", "cat", "-n", 2, "--seed", 5, "--grid", "g.png").code == 0
    assert bigr("generate", "--recipe", "g.png", "-o", "again/").code == 0
    assert listing()[:4] == [f"again/{name}.png" for name in ("cat-7", "cat-8", "dog-5", "dog-6")]


def test_a_recipe_of_other_weights_is_warned_about(bigr: Run, tiny_model: Path) -> None:
    assert bigr("generate", "cat", "--seed", 1).code == 0
    recipe = read_metadata(Path("cat-1.png")).to_dict() | {"weights": {}, "folder": str(tiny_model)}
    Path("r.json").write_text(json.dumps(recipe))
    done = bigr("generate", "--recipe", "r.json", "-o", "x.png")
    assert done.code == 0
    assert done.err.startswith("warning: no model here has the recipe's weights")


def test_what_is_finished_stays_after_an_interruption(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Model.make

    def interrupted(self: Model, *arguments: Any, **options: Any) -> Iterator[Any]:
        for image in whole(self, *arguments, **options):
            if image.index == 2:
                raise KeyboardInterrupt
            yield image

    monkeypatch.setattr(Model, "make", interrupted)
    done = bigr("generate", "cat", "-n", 5, "--seed", 0, "--grid", "g.png", "-o", "out/")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted after 2 of 5 images in out/; --skip-existing goes on"
    assert listing() == ["out/cat-0.png", "out/cat-1.png"]
    done = bigr("generate", "cat", "-n", 4, "-o", "more/")
    assert re.search(r"interrupted after 2 of 4 images in more/; --seed \d+ --skip-existing goes on", done.err)


def test_a_file_that_cannot_be_written_does_not_stop_the_others(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Model.make

    def disturbed(self: Model, *arguments: Any, **options: Any) -> Iterator[Any]:
        Path("dog").write_text("a file where a folder should be")
        yield from whole(self, *arguments, **options)

    monkeypatch.setattr(Model, "make", disturbed)
    done = bigr("generate", "cat", "dog", "tree", "--seed", 0, "-o", "{label}/{seed}.png")
    assert done.code == 1
    assert "error: dog/1.png: cannot be written" in done.err
    assert done.err.splitlines()[-1] == "error: 1 image of 3 failed"
    assert listing() == ["cat/0.png", "dog", "tree/2.png"]


def test_no_label_lists_them(bigr: Run) -> None:
    done = bigr("generate")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "error: no label given; tiny knows cat, dog, house, tree",
        "hint: for example: bigr generate cat -n 4, or: bigr generate all",
    ]


def test_unknown_label_suggests(bigr: Run) -> None:
    done = bigr("generate", "cat", "hose")
    assert (done.code, done.out, listing()) == (2, "", [])
    assert done.err.splitlines()[0] == "error: unknown label 'hose'; did you mean house?"


def test_wrong_usage_is_told_before_torch_is_imported() -> None:
    code = "import sys; from bigr_cli.app import main; sys.exit(10 * main(sys.argv[1:]) + ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, "generate", "catt"], capture_output=True, check=False)
    assert done.returncode == 20


TEXT = st.text(max_size=30)
NOT_A_LABEL = TEXT.filter(lambda text: text.strip().casefold() not in {*LABELS, "none", "all", *map(str, range(5))})
WRONG_OPTIONS = st.one_of(
    st.tuples(st.sampled_from(["-n", "--steps", "--timesteps", "--batch-size", "--threads"]), st.integers(max_value=0)),
    st.tuples(st.sampled_from(["-n", "--steps", "--timesteps"]), st.integers(min_value=10**7)),
    st.tuples(st.just("--seed"), st.integers(max_value=-1) | st.integers(min_value=2**63)),
    st.tuples(
        st.sampled_from(["--guidance", "--gumbel", "--temperature"]), st.floats(max_value=-0.01) | st.just("nan")
    ),
    st.tuples(st.sampled_from(["--guidance", "--gumbel", "--seed", "-n"]), st.text("abcxyz.,-", min_size=1)),
    st.tuples(
        st.sampled_from(["--order", "--guidance-schedule", "--gumbel-schedule", "--dtype", "--guidance-interval"]),
        st.text("abcxyz,.-", min_size=1),
    ),
    st.tuples(st.sampled_from(["--device", "-m", "--recipe"]), st.text("abcxyz", min_size=1, max_size=3)),
    st.tuples(st.just("--recipe"), st.just("old.png")),
    st.tuples(st.text("abcxyz", min_size=3).map("--x{}".format)),
    st.sampled_from(
        [("-o", "-", "--json"), ("-o", "-", "-n", 2), ("--overwrite", "--skip-existing"), ("--columns", 3)]
    ),
)
WRONG_OUTPUTS = st.one_of(
    st.sampled_from(
        ["", "x.xyz", ".png", "old.png", "old.png/x.png", "old.png/", "{}.png", "{seed.png", "x}.gif", "x.{seed}"]
    ),
    st.text("abc{}[]!:.", min_size=1, max_size=8).map("{{q{}}}.png".format),
    st.integers(253, 2000).map(lambda length: "x" * length + ".png"),
    TEXT.map(lambda text: text.replace("{", "").replace("}", "") + "\0.png"),
)
WRONG = st.one_of(
    st.lists(NOT_A_LABEL, min_size=1, max_size=3).map(lambda labels: ["--", "cat", *labels]),
    WRONG_OPTIONS.map(lambda words: ["cat", *words]),
    WRONG_OUTPUTS.map(lambda output: ["cat", "-o", output]),
    st.sampled_from(["--grid", "--steps-preview"]).flatmap(
        lambda option: st.sampled_from(["", "x", "x.txt", "old.png", "cat-1.png"]).map(
            lambda name: ["cat", "--seed", 1, option, name]
        )
    ),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(words=WRONG)
def test_wrong_input_is_a_line_and_exit_2(bigr: Run, words: list[object]) -> None:
    Path("old.png").write_bytes(b"old")
    done = bigr("generate", *words)
    assert (done.code, done.out, os.listdir()) == (2, "", ["old.png"]), done.err
    lines = done.err.splitlines()
    assert len(lines) <= 2
    assert lines[0].startswith("error: ")
    assert "Traceback" not in done.err
    assert Path("old.png").read_bytes() == b"old"
