"""A run that was killed ends with the same bits as one left alone; `benchmarks/kill_resume.py` tries more points."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
Run = Callable[..., object]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


@pytest.fixture(scope="module")
def kill_resume() -> Iterator[ModuleType]:
    """The benchmark, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import kill_resume

        yield kill_resume
        for name in ("kill_resume", "tables"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def trainings(kill_resume: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Every small training by name, its undisturbed run done."""
    every = kill_resume.trainings(tmp_path_factory.mktemp("undisturbed"))
    made = [training for training in every if len(training.stages) == 1]  # both stages have a test of their own
    for training in made:
        training.finish(training.undisturbed)
    return {training.name: training for training in made}


POINTS = [
    ("tokenizer", "while_saving"),
    ("tokenizer", "while_writing_the_model"),
    ("generator", "at_checkpoint"),
    ("generator, cached codes", "at_time"),
    ("generator, captions in shards", "at_checkpoint"),
]


@pytest.mark.parametrize(("name", "moment"), POINTS)
def test_a_killed_run_ends_with_the_same_bits(
    kill_resume: ModuleType, trainings: dict[str, object], tmp_path: Path, name: str, moment: str
) -> None:
    number = [each.__name__ for each in kill_resume.MOMENTS].index(moment)
    row = kill_resume.measure(trainings[name], tmp_path / "run", number, random.Random(0), 0.3)
    assert row["killed"] != "never"
    assert row["differing bits"] == 0
    runs = list(tmp_path.iterdir())
    assert not [path for run in runs for path in run.rglob("*.part") if run is runs[-1]]


def test_a_run_killed_again_and_again(kill_resume: ModuleType, trainings: dict[str, object], tmp_path: Path) -> None:
    training, run = trainings["tokenizer"], tmp_path / "run"
    for step in (4, 12, 28):
        wanted = run / "checkpoints" / f"step-{step:08d}.safetensors"
        assert kill_resume.kill_when(training.start(run), wanted.exists)  # type: ignore[attr-defined]
    training.finish(run)  # type: ignore[attr-defined]
    assert kill_resume.differing_bits(training.undisturbed, run) == 0  # type: ignore[attr-defined]


def test_an_interrupted_run_ends_with_the_same_bits(
    kill_resume: ModuleType, trainings: dict[str, object], tmp_path: Path
) -> None:
    training, run = trainings["generator"], tmp_path / "run"
    process = training.start(run)  # type: ignore[attr-defined]
    while not (run / "checkpoints").is_dir() or not list((run / "checkpoints").glob("step-*")):
        assert process.exitcode is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    assert 4 <= kill_resume.steps_saved(run) < 40
    training.finish(run)  # type: ignore[attr-defined]
    assert kill_resume.differing_bits(training.undisturbed, run) == 0  # type: ignore[attr-defined]


BOTH = (
    *("--size", "nano", "--image-size", "16", "--steps", "24", "tokenizer.channels=[16]", "tokenizer.bits=6"),
    *("tokenizer.encoder_blocks=[0]", "tokenizer.decoder_blocks=[0]", "generator.layers=1", "generator.heads=2"),
    *("generator.dim=16", "generator.transcoder_width=16", "generator.diffusion_timesteps=8", "sampling.steps=2"),
    *("sampling.timesteps=3", "data.workers=0", "run.batch=4", "run.precision=float32"),
)


def test_both_stages_killed_and_stopped_end_with_the_same_bits(kill_resume: ModuleType, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(24):
        folder = photos / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((24, 20), 40 + 5 * number).convert("RGB").save(folder / f"{number}.png")

    def start(folder: Path) -> object:
        begun = (folder / "train.yaml").exists()
        words = ["--resume", str(folder)] if begun else [str(photos), "-o", str(folder), *BOTH]
        words = ["train", *words, "--device", "cpu", "--threads", "1", "--quiet"]
        return kill_resume.started(words, tmp_path / "home")

    def finish(folder: Path) -> None:
        process = start(folder)
        process.join()  # type: ignore[attr-defined]
        assert process.exitcode == 0  # type: ignore[attr-defined]

    whole, killed = (tmp_path / name / "run" for name in ("whole", "killed"))
    finish(whole)
    moments = {
        killed / "tokenizer" / "checkpoints" / "step-00000006.safetensors": signal.SIGKILL,
        killed / "tokenizer" / "checkpoints" / "step-00000024.safetensors": signal.SIGKILL,
        killed / "generator" / "training.yaml": signal.SIGKILL,
        killed / "generator" / "checkpoints" / "step-00000012.safetensors": signal.SIGTERM,
    }
    for moment, number in moments.items():
        process = start(killed)
        while not moment.exists() and process.exitcode is None:  # type: ignore[attr-defined]
            time.sleep(0.001)
        if process.exitcode is None:  # type: ignore[attr-defined]
            os.kill(process.pid, number)  # type: ignore[attr-defined]
        process.join()  # type: ignore[attr-defined]
        assert process.exitcode in (0, -9, 143)  # type: ignore[attr-defined]
    finish(killed)
    for name in ("config.yaml", "tokenizer.safetensors", "generator.safetensors", "README.md"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    for stage in ("tokenizer", "generator"):
        last = f"{stage}/checkpoints/step-00000024.safetensors"
        assert (whole / last).read_bytes() == (killed / last).read_bytes(), last


def test_a_difference_is_seen(kill_resume: ModuleType, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "checkpoints").mkdir(parents=True)
        (folder / kill_resume.LAST).write_bytes(b"\x00\xff")
        (folder / "config.yaml").write_bytes(b"a")
    assert kill_resume.differing_bits(one, other) == 0
    (other / kill_resume.LAST).write_bytes(b"\x05\xff")
    assert kill_resume.differing_bits(one, other) == 2
    (other / "config.yaml").unlink()
    assert kill_resume.differing_bits(one, other) > 2 + 7
