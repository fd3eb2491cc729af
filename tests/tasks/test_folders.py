"""Every command finds the same images in a folder, a pattern or an archive, and says what it passes over."""

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("workplace")

QUICK = ("--steps", "1", "--timesteps", "1")
MASK = ("--mask-box", "0,0,9,9")
TRAIN = ("run.steps=1", "run.batch=2", "run.validate_every=100", "data.validation=1", "data.workers=0")
SMALL = (
    *("generator.layers=1", "generator.dim=16", "generator.heads=2", "generator.ffn_multiple=8"),
    *("generator.transcoder_layers=1", "generator.transcoder_width=16"),
)
TOKENIZER = (
    "tokenizer={architecture: compact, image_size: 16, bits: 6, channels: [8, 16], encoder_blocks: [0, 1], "
    "decoder_blocks: [1, 1], attention_heads: 2}"
)
LATIN = os.fsdecode(b"caf\xe9")


def image(name: str, kind: str | None = None) -> None:
    """An image that is different for each name."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = list(os.fsencode(path.name))
    levels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()  # Pillow writes no JPEG 2000 to a name that is not UTF-8
    Image.init()
    Image.fromarray(levels).save(buffer, kind or Image.EXTENSION[path.suffix.lower()])
    path.write_bytes(buffer.getvalue())


@pytest.fixture
def odd() -> tuple[str, int]:
    """The folder `in` with four classes, one of them linked, loops and what is passed over; how many images it has."""
    names = [f"{folder}/{number}.png" for folder in ("2", "10", LATIN, "d[1]") for number in range(4)]
    names += [f"{LATIN}/{LATIN}.jpg", "d[1]/[x].gif", "d[1]/~.webp", "d[1]/u\u0308.input.png", "2/a.avif", "10/b.jp2"]
    for name in [*names, "10/.hidden.png"]:
        image(f"in/{name}")
    Path("in/2").rename("store")
    Path("in/2").symlink_to("../store")
    Path("in/10/up").symlink_to("..")
    Path("in/10/here").symlink_to(".")
    Path("in/10/old.tga").write_bytes(b"old")
    Path("in/none").mkdir()
    os.mkfifo("in/10/pipe.png")
    return "in", len(names)


def check(said: str, where: str) -> None:
    for part in (
        f"warning: {where}: 3 files and 3 folders passed over: ",
        "1 hidden (10/.hidden.png)",
        "1 .tga (10/old.tga)",
        "1 that are pipes, sockets or devices (10/pipe.png)",
        "1 linking back up (10/up)",
        "1 linked to a folder that is taken (10/here)",
        "1 without images (none)",
    ):
        assert part in said


def test_embedding_and_searching(bigr: Run, odd: tuple[str, int]) -> None:
    where, count = odd
    done = bigr("embed", where, "-o", "e.npz", "--json")
    assert (done.code, json.loads(done.out)["count"]) == (0, count), done.err
    check(done.err, where)
    with np.load("e.npz") as file:
        labels, paths = file["labels"].tolist(), file["paths"].tolist()
    assert list(dict.fromkeys(labels)) == ["2", "10", "caf\\xe9", "d[1]"]
    assert all(Path(path).exists() for path in paths)
    query = f"{where}/{LATIN}/{LATIN}.jpg"
    assert json.loads(bigr("search", query, "--index", "e.npz", "-n", 1, "--json").out)["path"] == query
    for pattern, expected in (("in/**/*", count), (f"in/*/{LATIN}.jpg", 1), ("in/d[1]/*", 7), ("in/d[1]/[[]x].gif", 1)):
        done = bigr("embed", pattern, "-o", "f.npz", "--json", "--overwrite")
        assert json.loads(done.out)["count"] == expected, pattern
    accent = "in/d[1]/\u00fc.input.png"  # kept with its accent apart
    assert bigr("embed", accent, "-o", "g.npz").code == 0
    assert bigr("search", accent, "--index", "e.npz", "-n", 1).code == 0


def test_probes_and_classifying(bigr: Run, odd: tuple[str, int]) -> None:
    where, count = odd
    done = bigr("evaluate", "probe", "--data", where, "--save", "p.safetensors")
    assert done.code == 0, done.err
    check(done.err, where)
    done = bigr("classify", where, "--probe", "p.safetensors", "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == count
    assert {row["label"] for row in rows} <= {"2", "10", "caf\\xe9", "d[1]"}


def test_evaluation(bigr: Run, odd: tuple[str, int], tiny_model: Path) -> None:
    where, count = odd
    words = ("--features", tiny_model, "--metrics", "fid", "--json")
    done = bigr("evaluate", "generation", where, "--reference", where, *words)
    assert done.code == 0, done.err
    assert f'"count": {count}' in done.out
    check(done.err, where)
    done = bigr("evaluate", "reconstruction", tiny_model, "--data", where, "--json", "--features", tiny_model)
    assert done.code == 0, done.err
    assert f'"count": {count}' in done.out


def test_training(bigr: Run, odd: tuple[str, int], tiny_model: Path) -> None:
    where, _ = odd
    done = bigr("train-tokenizer", "--data", where, "-o", "t", TOKENIZER, *TRAIN)
    assert done.code == 0, done.err
    check(done.err, where)
    left_out = [f"--exclude={name}" for name in ("pipe.png", "up", "here")]  # tar itself would never end
    subprocess.run(["tar", *left_out, "-hcf", "in.tar", "in/10", f"in/{LATIN}", "in/d[1]", "in/2"], check=True)
    for number, data in enumerate((where, "./i[n].tar")):
        done = bigr("train-generator", "--tokenizer", tiny_model, "--data", data, "-o", f"g{number}", *TRAIN, *SMALL)
        assert done.code == 0, done.err
        shown = bigr("models", "labels", f"g{number}")
        assert [line.split("\t")[1] for line in shown.out.splitlines()] == ["2", "10", "caf\\xe9", "d[1]"]


@pytest.mark.parametrize(
    "words",
    [("inpaint", *MASK), ("outpaint", "--left", "4"), ("edit", "--class", "cat"), ("enrich",)],
    ids=lambda words: words[0],
)
def test_painting(bigr: Run, odd: tuple[str, int], words: tuple[str, ...]) -> None:
    where, count = odd
    task, *options = words
    done = bigr(task, where, "--recursive", *options, *QUICK, "--seed", 1, "-o", "out/")
    assert done.code == 0, done.err
    check(done.err, where)
    made = [path for path in Path("out").rglob("*") if path.is_file()]
    assert len(made) == count
    assert {path.parent.relative_to("out") for path in made} == {Path(name) for name in ("2", "10", LATIN, "d[1]")}
    shown = bigr("info", "out", "--recursive", "--json")
    assert len(shown.out.splitlines()) == count
    assert (
        "nothing to do"
        in bigr(task, where, "--recursive", *options, *QUICK, "--seed", 1, "-o", "out/", "--skip-existing").err
    )


def test_a_pipe_is_named_and_the_rest_is_done(bigr: Run) -> None:
    os.mkfifo("x.png")
    image("ok.png")
    for words in (("inpaint", *MASK, *QUICK, "-o", "o/"), ("embed", "-o", "e.npz"), ("info",), ("enrich", "-o", "p/")):
        task, *options = words
        done = bigr(task, "x.png", *options)
        assert (done.code, "x.png: is a named pipe, not a file" in done.err) == (2, True)
        done = bigr(task, "x.png", "ok.png", *options)
        assert (done.code, "x.png: is a named pipe, not a file" in done.err) == (2 if task == "info" else 1, True)
    done = bigr("interpolate", "x.png", "ok.png", *QUICK, "-o", "f.gif")
    assert (done.code, "x.png: is a named pipe" in done.err) == (2, True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_texts_in_any_encoding(bigr: Run, encoding: str, tiny_text_model: Path) -> None:
    Path("prompts.txt").write_bytes("a red house\na blue house\n".encode(encoding))
    words = ("--prompts", "prompts.txt", *QUICK, "-m", tiny_text_model, "--seed", 1, "-o", "t/", "--json")
    done = bigr("generate", *words)
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == ["a red house", "a blue house"], done.err
    for name in ("sub/\u00e9a.png", "sub/b.png"):
        image(name)
    jobs = [{"image": name, "seed": 1} for name in ("./sub/e\u0301a.png", "sub/../sub/b.png")]
    Path("jobs.jsonl").write_bytes("\n".join(map(json.dumps, jobs)).encode(encoding))
    done = bigr("inpaint", "--manifest", "jobs.jsonl", *MASK, *QUICK, "-o", "out/")
    assert (done.code, len(os.listdir("out"))) == (0, 2), done.err


def test_a_manifest_that_is_no_text(bigr: Run) -> None:
    Path("jobs.jsonl").write_bytes(b"\xff\xfe{\0")
    assert bigr("inpaint", "--manifest", "jobs.jsonl", *MASK).code == 2
    Path("jobs.jsonl").write_bytes(b'{"image": "caf\xe9.png"}')
    done = bigr("inpaint", "--manifest", "jobs.jsonl", *MASK)
    assert (done.code, "jobs.jsonl, line 1: is not UTF-8" in done.err) == (2, True)


def test_manifests_know_the_home_folder(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    image("home/a.png")
    monkeypatch.setenv("HOME", os.path.abspath("home"))
    Path("deep").mkdir()
    Path("deep/jobs.jsonl").write_text('{"image": "~/a.png"}')
    assert bigr("inpaint", "--manifest", "deep/jobs.jsonl", *MASK, *QUICK, "-o", "out/").code == 0
    assert len(os.listdir("out")) == 1
