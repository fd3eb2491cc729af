"""Files of every command: links stay links, modes are kept or as the umask says, nobody else's files are replaced."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.usefixtures("workplace"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs links and modes of POSIX"),
]

PAINT = ("inpaint", "in.png", "--mask-box", "0,0,9,9", "--seed", 1)
SCENES = ("evaluate", "generation", "imgs", "--reference", "imgs", "--metrics", "fid")

# Command lines that end with the file that they write.
WRITERS = {
    "generate.png": ("generate", "cat", "-o"),
    "generate.jpg": ("generate", "cat", "-o"),
    "generate.webp": ("generate", "cat", "-o"),
    "grid.png": ("generate", "cat", "-n", 2, "-o", "many/", "--grid"),
    "preview.gif": ("generate", "cat", "-o", "one.png", "--steps-preview"),
    "inpaint.png": (*PAINT, "-o"),
    "outpaint.tif": ("outpaint", "in.png", "--left", 8, "-o"),
    "failures.jsonl": (*PAINT, "-o", "f.png", "--failures"),
    "interpolate.gif": ("interpolate", "cat", "dog", "--frames", 2, "-o"),
    "interpolate.mp4": ("interpolate", "cat", "dog", "--frames", 2, "-o"),
    "embed.npz": ("embed", "in.png", "-o"),
    "embed.npy": ("embed", "in.png", "-o"),
    "embed.jsonl": ("embed", "in.png", "-o"),
    "embed.parquet": ("embed", "in.png", "-o"),
    "embed.safetensors": ("embed", "in.png", "-o"),
    "samples.npz": ("evaluate", "generation", "-n", 8, "--reference", "imgs", "--metrics", "fid", "--npz"),
    "statistics.npz": (*SCENES, "--statistics"),
    "probe.safetensors": ("evaluate", "probe", "--data", "imgs", "--save"),
    "worst.png": ("evaluate", "reconstruction", "--data", "imgs", "--worst"),
    "export.safetensors": ("models", "export", os.devnull, "--format", "safetensors", "-o"),
    "export.pt": ("models", "export", os.devnull, "--format", "torch-checkpoint", "-o"),
}


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("sets") / "imgs", np.random.default_rng(0)
    for index in range(12):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return folder


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def hidden_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


@pytest.mark.parametrize("name", WRITERS)
def test_links_modes_and_umask(
    name: str, bigr: Callable, workplace: Path, umask: Callable, images: Path, tiny_model: Path
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (workplace / "imgs").symlink_to(images)
    words = [str(tiny_model) if word == os.devnull else word for word in WRITERS[name]]
    extra = ("--features", tiny_model) if words[0] == "evaluate" and words[1] != "probe" else ()
    real, link, new = workplace / "real" / name, workplace / "link" / name, workplace / "new" / name
    for folder in (real, link, new):
        folder.parent.mkdir()
    real.write_text("old")
    real.chmod(0o664)
    link.symlink_to(Path("..") / "real" / name)
    umask(0o027)
    for path in (new, link, real):
        done = bigr(*words, path, *extra, "--overwrite")
        assert done.code == 0, done.err
    assert link.is_symlink() and os.readlink(link) == f"../real/{name}"
    assert (mode_of(real), mode_of(new)) == (0o664, 0o640)
    written = real.read_bytes()
    assert written != b"old"
    assert hidden_files(workplace) == []


def test_links_that_lead_nowhere_are_noticed_before_the_work_and_devices_take_it(bigr: Callable) -> None:
    Path("loop.png").symlink_to("loop.png")
    Path("far.png").symlink_to("missing/real.png")
    for name in ("loop.png", "far.png"):
        done = bigr(*PAINT, "-o", name, "--overwrite")
        assert done.code == 2 and name in done.err and "seed" not in done.err
    done = bigr(*PAINT, "-o", os.devnull)
    assert done.code == 0, done.err


def test_scenes_and_folders(bigr: Callable, workplace: Path, umask: Callable, tiny_model: Path) -> None:
    umask(0o077)
    assert bigr("data", "scenes", "--count", 2, "-o", "s").code == 0
    first = next(Path("s").rglob("*.png"))
    for path in (first, Path("s/captions.jsonl")):
        kept = workplace / f"kept-{path.name}"
        path.rename(kept)
        kept.chmod(0o664)
        path.symlink_to(kept)
    umask(0o022)
    assert bigr("data", "scenes", "--count", 2, "--seed", 5, "-o", "s", "--overwrite").code == 0
    assert first.is_symlink() and Path("s/captions.jsonl").is_symlink()
    assert mode_of(workplace / f"kept-{first.name}") == 0o664
    assert len((workplace / "kept-captions.jsonl").read_text().splitlines()) == 2
    assert hidden_files(workplace) == []
    assert bigr("models", "default", tiny_model).code == 0
    assert mode_of(Path(os.environ["BIGR_HOME"]) / "default-model") == 0o644


def test_a_report_replaces_its_own_files_alone(bigr: Callable, workplace: Path, images: Path, tiny_model: Path) -> None:
    (workplace / "imgs").symlink_to(images)
    words = (*SCENES, "--features", tiny_model, "--report")
    project = Path("proj")
    (project / "thesis").mkdir(parents=True)
    (project / "thesis" / "chapter1.tex").write_text("precious")
    (project / "results.json").write_text('{"mine":1}')
    refused = bigr(*words, "proj", "--overwrite")
    assert refused.code == 2 and "something else than a report" in refused.err
    assert (project / "results.json").read_text() == '{"mine":1}'
    assert bigr(*words, "r").code == 0
    before = (Path("r") / "results.json").read_text()
    (Path("r") / "thesis").mkdir()
    (Path("r") / "thesis" / "chapter1.tex").write_text("precious")
    (Path("r") / "drawing.svg").write_text("<svg>mine</svg>")
    (Path("r") / "index.html.bak").write_text("mine")
    assert bigr(*words, "r").code == 2
    done = bigr(*words, "r", "--overwrite")
    assert done.code == 0, done.err
    assert (Path("r") / "thesis" / "chapter1.tex").read_text() == "precious"
    assert (Path("r") / "drawing.svg").read_text() == "<svg>mine</svg>"
    assert (Path("r") / "index.html.bak").read_text() == "mine"
    assert json.loads((Path("r") / "results.json").read_text()).keys() == json.loads(before).keys()
    assert hidden_files(workplace) == []


def test_model_folders_replace_their_own_files_alone(bigr: Callable, workplace: Path) -> None:
    given = Path(__file__).parents[1] / "data" / "published"
    files = ("--tokenizer", given / "binaryae_ema_1000.th", "--generator", given / "bigr_tiny.pt")
    words = ("models", "import", *files, "--heads", 4, "--image-size", 16, "-o")
    assert bigr(*words, "m").code == 0
    for command in (words, ("models", "export", "m", "--format", "published", "-o")):
        for name in ("notes/chapter1.tex", "notes.txt", "config.yaml/mine", "tokenizer.th/mine"):
            folder = workplace / f"f-{command[1]}-{name.replace('/', '-')}"
            path = folder / name
            path.parent.mkdir(parents=True)
            path.write_text("precious")
            refused = bigr(*command, folder, "--overwrite")
            assert refused.code == 2 and "holds other files" in refused.err, refused.err
            assert path.read_text() == "precious"


def test_parts_of_features_are_removed_and_nothing_else(bigr: Callable, workplace: Path) -> None:
    (workplace / ".f.npz.features").mkdir()
    (workplace / ".f.npz.features" / "mine.txt").write_text("precious")
    assert bigr("embed", "in.png", "-o", "f.npz").code == 0
    assert [path.name for path in (workplace / ".f.npz.features").iterdir()] == ["mine.txt"]


def test_a_list_of_failures_loses_nothing(bigr: Callable, workplace: Path) -> None:
    Path("broken.png").write_bytes(b"no image")
    Path("thesis.txt").write_text("precious")
    Path("file").touch()
    for words in (("inpaint", "in.png", "--mask-box", "0,0,9,9", "-o", "out/"), ("embed", "in.png", "-o", "e.npz")):
        for path in ("thesis.txt", "file/list.jsonl", "out"):
            Path("out").mkdir(exist_ok=True)
            refused = bigr(*words, "--failures", path)
            assert refused.code == 2 and path.partition("/")[0] in refused.err
        assert Path("thesis.txt").read_text() == "precious"
        assert list(Path("out").iterdir()) == [] and not Path("e.npz").exists()
    again = ("inpaint", "in.png", "broken.png", "--mask-box", "0,0,9,9", "--seed", 1, "-o", "out/", "--skip-existing")
    for _ in range(2):  # as the manual has it: the same command goes on
        assert bigr(*again, "--failures", "failed.jsonl").code == 1
    (line,) = map(json.loads, Path("failed.jsonl").read_text().splitlines())
    assert line["source"] == "broken.png"
    Path("failed.jsonl").write_text('{"source": "before.png", "error": "x"}\n')
    assert bigr(*again, "--failures", "failed.jsonl").code == 1
    assert [json.loads(line)["source"] for line in Path("failed.jsonl").read_text().splitlines()] == [
        "before.png",
        "broken.png",
    ]
    assert bigr(*again, "--failures", "thesis.txt").code == 2
    assert Path("thesis.txt").read_text() == "precious"
    assert bigr(*PAINT, "-o", "o.png", "--failures", "thesis.txt", "--overwrite").code == 0
    assert Path("thesis.txt").read_text() == ""


@pytest.mark.parametrize("form", ["published", "safetensors", "torch-checkpoint"])
def test_exports_on_a_full_disk_say_so(form: str, bigr: Callable, workplace: Path, tiny_model: Path) -> None:
    import resource
    import signal

    given = Path(__file__).parents[1] / "data" / "published"
    files = ("--tokenizer", given / "binaryae_ema_1000.th", "--generator", given / "bigr_tiny.pt")
    assert bigr("models", "import", *files, "--heads", 4, "--image-size", 16, "-o", "m").code == 0
    name = {"published": "p", "safetensors": "m.safetensors", "torch-checkpoint": "m.pt"}[form]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        done = bigr("models", "export", "m", "--format", form, "-o", name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert done.code == 1 and f"error: {name}: cannot be written: File too large" in done.err
    assert not Path(name).exists() and hidden_files(workplace) == []
    Path("file").touch()
    assert bigr("models", "export", "m", "--format", form, "-o", f"file/{name}").code == 2


def test_files_have_the_figures_even_if_nobody_reads_stdout(
    bigr: Callable, workplace: Path, images: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    (workplace / "imgs").symlink_to(images)
    monkeypatch.setattr("bigr_cli.console.table", closed)
    monkeypatch.setattr("bigr_cli.console.json_line", closed)
    monkeypatch.setattr("bigr_cli.app.os.dup2", lambda *_: None)  # of the stdout that the test has
    for words in (
        (*SCENES, "--features", tiny_model, "--report", "r.generation"),
        ("evaluate", "reconstruction", "--data", "imgs", "--features", tiny_model, "--report", "r.reconstruction"),
        ("evaluate", "probe", "--data", "imgs", "--plot", "r.svg"),
        ("evaluate", "probe", "--data", "imgs", "--json", "--save", "r.safetensors"),
    ):
        assert bigr(*words).code == 1
        assert Path(words[-1]).exists(), words


def test_what_the_task_made_is_taken_where_it_is_named(bigr: Callable, workplace: Path, tiny_model: Path) -> None:
    words = ("--mask-box", "2,2,6,6", "--seed", 1, "-m", tiny_model)
    Image.effect_noise((20, 20), 50).convert("RGB").save("boat.png")
    bigr("inpaint", "boat.png", *words, "-o", "car.png")
    named = bigr("inpaint", "boat.png", "car.png", *words, "-o", "{stem}-2.png")
    assert named.code == 0 and "passed over" not in named.err
    assert Path("boat-2.png").exists() and Path("car-2.png").exists()
    found = bigr("inpaint", ".", *words, "-o", "{stem}-3.png")
    assert "made by inpaint of others" in found.err and not Path("car-3.png").exists()


def test_a_bmp_file_without_a_recipe_is_said(bigr: Callable, workplace: Path, tiny_model: Path) -> None:
    made = bigr("generate", "cat", "-n", 2, "--seed", 1, "-m", tiny_model, "-o", "{seed}.bmp")
    assert made.code == 0 and made.err.count("no room for a recipe") == 1
    quiet = bigr("generate", "cat", "--seed", 3, "-m", tiny_model, "-o", "{seed}.bmp", "--no-metadata")
    assert "no room" not in quiet.err
