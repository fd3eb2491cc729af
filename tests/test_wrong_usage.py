"""A hundred wrong command lines: each message names what is wrong, and says what to do.

A line is the command, a pattern for what must be named, and one for what to do, in the error or in its hint.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli import console
from bigr_cli.data.images import read_image
from bigr_cli.editing.generate import plan
from bigr_cli.errors import ImageError, RunError, UsageError
from bigr_cli.streams import write_stdout
from bigr_cli.zoo.config import read_config

Run = Callable[..., Any]

USAGES = r"""
genrate cat ;; genrate ;; Did you mean 'generate'
cat ;; 'cat' ;; bigr generate cat
txt2img cat ;; txt2img ;; bigr generate LABEL
img2img photo.png ;; img2img ;; bigr edit IMAGE --prompt
upscale photo.png ;; upscale ;; bigr enrich IMAGE --scale 2
remove-background photo.png ;; remove-background ;; bigr inpaint IMAGE --mask
version ;; version ;; bigr --version
help generate ;; help ;; bigr COMMAND --help
login ;; login ;; no account
--versio ;; --versio ;; --version
-m scenes-64 generate cat ;; -m ;; after the command: bigr generate cat -m
generate ;; no label given ;; bigr generate house
generate dog ;; 'dog' ;; labels of scenes-64: house, tree
generate catt ;; 'catt' ;; did you mean cat
generate 99 ;; '99' ;; labels of scenes-64
generate "a dog on the moon" ;; a dog on the moon ;; -m scenes-64-text reads texts
generate cat --width 512 --height 512 ;; --width ;; model's size decides
generate cat --size 512x512 ;; --size ;; bigr outpaint --size
generate cat --sampler euler ;; --sampler ;; --order
generate cat --strength 0.5 ;; --strength ;; bigr edit IMAGE
generate cat --mask mask.png ;; --mask ;; bigr inpaint IMAGE --mask
generate cat --init-image photo.png ;; --init-image ;; bigr edit IMAGE
generate cat --lora mine ;; --lora ;; bigr train
generate cat --gpu ;; --gpu ;; --device cuda
generate cat --format webp ;; --format ;; -o image.webp
generate cat --label house ;; --label ;; bigr generate cat
generate cat --steps ten ;; --steps.*'ten' ;; expected a whole number
generate cat --preset best ;; --preset.*'best' is none of quality, balanced, fast, draft ;; imported models
generate cat --grid --seed 3 ;; --grid.*--seed ;; --grid FILE
generate cat -n --seed 3 ;; -n.*--seed ;; -n N
inpaint a.png --mask --mask_grow 4 ;; --mask.*--mask_grow ;; --mask FILE
generate cat --steps 0 ;; --steps.*'0' ;; expected at least 1
generate cat --steps 1000 ;; steps.*1000 ;; expected 1 to 64
generate cat --timesteps 9999 ;; timesteps.*9999 ;; expected 1 to 256
generate cat --seed random ;; --seed.*'random' ;; whole number
generate cat --seed -1 ;; --seed.*-1 ;; from 0 to 2\^63
generate cat -n 0 ;; '-n'.*'0' ;; expected at least 1
generate cat -n -3 ;; '-n'.*'-3' ;; expected at least 1
generate cat --temperature hot ;; --temperature.*'hot' ;; expected a number
generate cat --temperature -1 ;; --temperature.*-1 ;; above 0
generate cat --guidance much ;; --guidance.*'much' ;; expected a number
generate cat --guidance-interval 0.9,0.1 ;; 0.9,0.1 ;; 0 <= A < B <= 1
generate cat --dtype fp16 ;; fp16 ;; Did you mean 'float16'
generate cat --device tpu ;; tpu ;; auto, cpu, cuda
generate cat --preset fastest ;; fastest ;; Did you mean 'fast'
generate cat --order entropie ;; entropie ;; Did you mean 'entropy'
generate all cat ;; cat among them ;; bigr generate all, or
generate cat --negative dog ;; 'dog' ;; labels of scenes-64
generate cat --prompts missing.txt ;; missing.txt.*No such file ;; a label or text a line
generate cat -m no-such-model ;; no-such-model ;; bigr models list
generate cat -m photo.png ;; photo.png: is a file ;; bigr models list
generate cat -m stabilityai/sdxl ;; stabilityai/sdxl ;; bigr models pull stabilityai/sdxl
generate cat -m empty ;; empty: is not a model folder ;; bigr models list
generate cat --recipe missing.json ;; missing.json ;; does not exist
generate cat --recipe photo.png ;; photo.png: holds no recipe ;; --no-metadata
generate cat -o out.xyz ;; \.xyz ;; expected .png, .webp
generate cat -n 3 -o one.png ;; one.png: is one file for 3 ;; one-\{seed\}.png
generate cat -o - --json ;; both want stdout ;; -o FILE
generate cat --overwrite --skip-existing ;; --overwrite and --skip-existing ;; exclude each other
generate -m scenes-64-text ;; no text given ;; bigr generate "a blue house
generate cat --model ;; --model ;; a value follows it
inpaint ;; no (image|image) given ;; bigr inpaint \w+.png
inpaint photo.png ;; no mask given ;; --mask FILE, --mask-box X,Y,W,H
inpaint missing.png --mask mask.png ;; missing.png: there is no such file ;; files, folders, patterns
inpaint photo.pgn --mask mask.png ;; photo.pgn: there is no such file ;; did you mean photo.png
inpaint https://example.com/photo.png --mask mask.png ;; no such file ;; download it first
inpaint photo.png cat --mask mask.png ;; cat: there is no such file ;; --prompt cat
inpaint photo.png --mask mask.png --prompt dog ;; 'dog' ;; labels of scenes-64
inpaint photo.png --mask mask.png --text "a cat" ;; reads no --text ;; -m scenes-64-text
inpaint photo.png --mask mask.png --blend alpha ;; alpha ;; 'poisson', 'feather', 'none'
inpaint photo.png --mask mask.png --window 0 ;; --window.*'0' ;; expected at least 1
inpaint photo.png --mask mask.png -o a.png -n 2 ;; a.png: is one file for 2 ;; a-\{seed\}.png
inpaint empty --mask mask.png ;; empty: there are no images ;; images end with .png
inpaint onlysub --mask mask.png ;; onlysub: there are no images ;; --recursive
inpaint "none/*.png" --mask mask.png ;; none/\*.png: no images fit ;; images end with
inpaint --manifest missing.jsonl ;; missing.jsonl ;; does not exist
inpaint --manifest notes.txt ;; notes.txt, line 1: is not JSON ;; a job a line
outpaint photo.png ;; a larger canvas ;; --left, --right, --top
outpaint photo.png --left 50px ;; '50px' ;; pixels such as 64
outpaint photo.png --size 128 ;; '128' ;; such as 800x600
outpaint photo.png --aspect 16x9 ;; '16x9' ;; such as 16:9
outpaint photo.png --expand 32 ;; --expand ;; --left, --right
outpaint photo.png --left 10 --aspect 16:9 ;; --aspect ;; exclude each other
edit photo.png ;; no class given ;; --prompt says what to paint
edit photo.png cat ;; cat: there is no such file ;; bigr edit IMAGE --prompt cat
edit photo.png "make it a cat" ;; make it a cat ;; --prompt 'make it a cat'
edit photo.png --prompt cat --strength 50 ;; --strength.*50 ;; at most 1
edit photo.png --prompt cat --strength 50% ;; --strength.*'50%' ;; expected a number
interpolate cat ;; two stops ;; bigr interpolate cat bird
interpolate cat dog ;; 'dog' ;; labels of scenes-64
interpolate cat photo.png ;; photo.png ;; either all labels or all
interpolate photo.png missing.png ;; missing.png.*No such file ;; in another folder
interpolate cat house --frames 1 ;; --frames.*'1' ;; expected at least 2
interpolate cat house -o out.mov ;; \.mov ;; expected .png
enrich photo.png --scale 1.5 ;; --scale.*'1.5' ;; expected a whole number
enrich photo.png --scale 100 ;; --scale.*'100' ;; expected at most 16
enrich photo.png --upscale 2 ;; --upscale ;; bigr enrich IMAGE --scale 2
embed ;; IMAGE ;; bigr embed photos/ -o photos.npz
embed photo.png ;; -o ;; bigr embed photos/ -o photos.npz
embed photo.png -o f.txt ;; '.txt' ;; f.npz
embed photo.png -o f.npz --layer 99 ;; layer.*99 ;; expected 0 to 7
embed photo.png -o f.npz --pool max ;; 'max' ;; 'mean', 'tokens', 'codes'
search photo.png ;; --index ;; bigr search cat.png --index photos.npz
search photo.png --index missing.npz ;; missing.npz ;; bigr embed
classify photo.png ;; --probe ;; --probe probe.safetensors
classify photo.png --probe missing ;; missing ;; bigr evaluate probe --save
train ;; missing ;; bigr train photos/
train missing ;; missing: no such folder ;; folder of images
train photo.png ;; photo.png: is a file ;; folder of images
train mixed ;; a.png has no class ;; subfolders are classes
train mixed --epochs 10 ;; --epochs ;; --time 2h
train mixed --time 2hours ;; '2hours' ;; such as 45m, 2h
train --resume missing ;; missing: is no training ;; the folder of a bigr train
train-tokenizer ;; nothing says what to train on ;; bigr train-tokenizer --data
train-tokenizer pics ;; 'pics' ;; --data
train-tokenizer --data scenes steps=3 ;; 'steps' ;; did you mean run.steps
train-tokenizer --data scenes run.steps=many ;; run.steps.*'many' ;; expected a whole number
train-tokenizer --resume missing ;; missing: not a training run ;; --resume takes the folder
train-generator ;; nothing says ;; bigr train-generator --tokenizer
evaluate fid a b ;; 'fid' ;; bigr evaluate generation FOLDER
evaluate psnr ;; 'psnr' ;; bigr evaluate reconstruction
evaluate foo ;; 'foo' ;; generation, probe, reconstruction, text
evaluate reconstruction ;; --data ;; bigr evaluate reconstruction --data
evaluate probe --data missing ;; missing: no such folder ;; folder of images
models install bigr-l ;; 'install' ;; bigr models pull
models remove scenes-64 ;; 'remove' ;; models path
models list bigr-l ;; bigr-l ;; takes no such words
models show nothing ;; 'nothing' ;; bigr models list
models export scenes-64 ;; -o ;; bigr models export
models export scenes-64 -o x --format onnx ;; 'onnx' ;; 'published', 'safetensors'
data scenes ;; -o ;; bigr data scenes -n
data scenes -o photo.png -n 2 ;; photo.png ;; -o takes a folder
data imagenet ;; 'imagenet' ;; bigr data scenes
info ;; FILE ;; bigr info cat-7.png
info photo.png ;; photo.png: holds no recipe ;; bigr did not make it
info photo.pgn ;; photo.pgn ;; did you mean photo.png
doctor --fix ;; --fix ;; bigr doctor --help
tasks list ;; list ;; takes no such words
serve nothing ;; 'nothing' ;; bigr models list
serve --port 99999 ;; --port.*'99999' ;; expected at most 65535
bench --steps many ;; 'many' ;; expected a whole number
labels ;; 'labels' ;; bigr models labels
models inspect scenes-64 ;; 'inspect' ;; bigr models show
generate cat --num 4 ;; No such option: --num \| ;; -n N, --count N
generate cat --samples 4 ;; --samples ;; -n N, --count N
generate cat --num_outputs 4 ;; --num.outputs ;; -n N, --count N
generate cat --outdir images ;; --outdir ;; -o FILE, FOLDER/
evaluate generation --input1 pics --input2 mixed ;; --input1 ;; FOLDER --reference FOLDER
montage a.png b.png ;; 'montage' ;; --grid FILE
generate -m scenes-64-text "a red car" "a car driving" "a cup" ;; 'a car driving'.*: 'driving' ;; bigr models labels
generate -m scenes-64-text a red boat at sunset ;; . ;; quote the text: "a red boat at sunset"
generate -m scenes-64-text --prompts captions.txt ;; captions.txt, line 2: ;; models labels
generate --prompts notes.txt ;; notes.txt, line 1: unknown label 'hello' ;; labels of scenes-64
outpaint photo.png --left 0.5 ;; 0.5 pixels ;; 50% is a share
outpaint photo.png --top 0.125 ;; 0.125 pixels ;; 12.5% is a share
report ;; report ;; --report
""".strip().splitlines()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a newcomer has: an image, a mask, a text, and folders."""
    folder = tmp_path_factory.mktemp("newcomer")
    image = Image.new("RGB", (64, 64), "red")
    for name in ("photo.png", "mask.png", "pics/a.png", "onlysub/x/c.png", "mixed/a.png", "mixed/sub/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    (folder / "notes.txt").write_text("hello\n", encoding="utf-8")
    (folder / "captions.txt").write_text("a red car\n# a comment\na cup\n", encoding="utf-8")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = sorted(path.relative_to(place) for path in place.rglob("*"))
    monkeypatch.chdir(place)
    yield
    assert sorted(path.relative_to(place) for path in place.rglob("*")) == before


def test_there_are_a_hundred() -> None:
    assert len({line.split(" ;; ")[0] for line in USAGES}) == len(USAGES) >= 100


@pytest.mark.parametrize("line", USAGES, ids=[line.split(" ;; ")[0] for line in USAGES])
def test_a_message_says_what_is_wrong_and_what_to_do(line: str, bigr: Run) -> None:
    command, wrong, instead = line.split(" ;; ")
    done = bigr(*shlex.split(command))
    assert (done.code, done.out) == (2, "")
    text = " | ".join(each for each in done.err.splitlines() if each.startswith(("error:", "hint:")))
    assert done.err.count("error: ") == 1
    assert re.search(wrong, text), text
    assert re.search(instead, text), text
    assert "env var" not in text and "Input should be" not in text


def test_a_variable_that_is_wrong_is_blamed(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_STEPS", "ten")
    done = bigr("generate", "cat")
    assert done.code == 2 and "'--steps' (env var: 'BIGR_STEPS')" in done.err
    assert "expected a whole number, got 'ten'" in done.err


def test_an_option_given_twice_is_warned_of(bigr: Run) -> None:
    words = ("edit", "photo.png", "--prompt", "cat", "--dry-run")
    done = bigr(*words, "--seed", "1", "--seed=2", "--steps", "4", "--steps", "8", "--steps", "9", "--dry-run")
    assert done.code == 0
    warnings = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert warnings == ["warning: --seed is given twice: 2 counts", "warning: --steps is given 3 times: 9 counts"]
    assert "given" not in bigr("generate", "--prompt", "catt", "--prompt", "dogg").err


def test_the_numbers_of_a_box_may_stand_apart(bigr: Run) -> None:
    done = bigr("inpaint", "photo.png", "--mask-box", "10", "10", "5%", "5", "--dry-run")
    assert done.code == 0 and "1 would be made" in done.err


def test_contradictions_and_extremes_are_warned_of(bigr: Run) -> None:
    done = bigr("edit", "photo.png", "--prompt", "cat", "--negative", "cat", "--guidance", "1000", "--dry-run")
    assert (done.code, done.out.count("->")) == (0, 1)
    assert "warning: 'cat' is asked for, and is the negative prompt too" in done.err
    assert "warning: guidance 1000 is far beyond the 6 of scenes-64" in done.err


def test_a_manifests_missing_file_fails_its_line_only(bigr: Run, tiny_model: Path, tmp_path: Path, place: Path) -> None:
    lines = [{"image": str(place / "photo.png")}, {"image": "missing.png"}]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    words = ("-m", tiny_model, "--seed", 1, "-o", tmp_path / "out/")
    done = bigr("inpaint", "--manifest", tmp_path / "jobs.jsonl", "--mask-box", "0,0,9,9", *words)
    assert done.code == 1 and len(list((tmp_path / "out").iterdir())) == 1
    assert done.err.count("missing.png: cannot be read: No such file") == 1
    assert done.err.splitlines()[-1].startswith("error: 1 ")


def test_a_deep_manifest_is_refused_in_its_own_words(bigr: Run, tmp_path: Path) -> None:
    (tmp_path / "deep.jsonl").write_text("[" * 100_000 + "]" * 100_000, encoding="utf-8")
    done = bigr("inpaint", "--manifest", tmp_path / "deep.jsonl")
    assert done.code == 2 and "line 1: is not JSON (nested too deeply)" in done.err


def test_an_image_without_a_number_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = np.full((8, 8), np.nan, np.float32)
    Image.fromarray(pixels).save(tmp_path / "nan.tif")
    with pytest.raises(ImageError, match=r"nan\.tif: none of its pixels is a number"):
        read_image(tmp_path / "nan.tif")
    pixels[2:] = 0.5
    Image.fromarray(pixels).save(tmp_path / "some.tif")
    assert read_image(tmp_path / "some.tif").size == (8, 8)
    assert "some.tif: 16 of its pixels are NaN or infinite, and count as 0" in capfd.readouterr().err


def test_the_other_image_of_a_stereo_pair_is_mentioned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    left, right, preview = (Image.new("RGB", (size, size), "red") for size in (32, 32, 8))
    left.save(tmp_path / "pair.mpo", save_all=True, append_images=[right])
    left.save(tmp_path / "photo.mpo", save_all=True, append_images=[preview])
    console.configure(verbose=True)
    for name in ("pair", "photo"):
        assert read_image(tmp_path / f"{name}.mpo").size == (32, 32)
    err = capfd.readouterr().err
    assert "pair.mpo: holds another image of the same size" in err and "photo.mpo" not in err


def test_a_blank_class_is_named_with_its_folder(bigr: Run, tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / "data" / (" " if number % 2 else "cat")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), "red").save(folder / f"{number}.png")
    done = bigr("train", tmp_path / "data", "--plan")
    assert done.code == 2 and " /1.png is in the class ' ', a blank name" in done.err and "rename" in done.err


def test_a_label_that_cannot_be_shown_is_refused_before_any_work(tiny_model: Path) -> None:
    config = replace(read_config(tiny_model), labels=("cat\x1b[2J", "dog", "house", "tree"))
    with pytest.raises(UsageError, match=r"label 0, 'cat.x1b.2J', has characters that cannot be shown"):
        plan(config, [0])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_stdout_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(RunError, match="stdout cannot be written: No space left"):
            write_stdout(b"x" * 100)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_sigterm_ends_the_work_and_leaves_whole_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bigr_cli", "data", "scenes", "-n", "100000", "-o", "many"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as running:
        while not list(tmp_path.rglob("*.png")):
            time.sleep(0.05)
            assert running.poll() is None
        running.terminate()
        assert running.wait(20) == 143
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "many" / "captions.jsonl").exists()
    for path in list(tmp_path.rglob("*.png"))[:20]:
        with Image.open(path) as image:
            image.load()
