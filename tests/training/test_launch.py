import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import load_file

from bigr_cli import schema
from bigr_cli.core.architectures import CompactConfig
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.sources import ScenesSource, Source
from bigr_cli.errors import ConfigError, RunError, UnknownNameError, UsageError
from bigr_cli.options.declare import training_config
from bigr_cli.training.checkpoint import list_checkpoints
from bigr_cli.training.config import DataConfig, GeneratorTraining, TokenizerTraining
from bigr_cli.training.data import HELD_OUT, open_data
from bigr_cli.training.launch import launch, pin_tokenizer, read_training
from bigr_cli.training.tokenizer import TokenizerObjective
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import packaged_models
from bigr_cli.zoo.folder import check_model

DEFAULT = TokenizerTraining(CompactConfig(64, 24))
CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path, tokenizer_training: TokenizerTraining) -> Path:
    """The folder of a run that has a config and nothing else."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "training.yaml").write_text(schema.dump_yaml(tokenizer_training), encoding="utf-8")
    return folder


def read(config: Path | None = None, resume: Path | None = None, *settings: str) -> TokenizerTraining:
    return read_training(TokenizerTraining, config=config, resume=resume, settings=list(settings), default=DEFAULT)


def test_settings_override_the_default_or_the_file(tmp_path: Path) -> None:
    assert read() == DEFAULT
    assert read(None, None, "run.steps=7", "tokenizer.bits=8").run.steps == 7
    path = tmp_path / "mine.yaml"
    path.write_text("tokenizer: {architecture: compact, image_size: 32, bits: 4}\nrun: {steps: 5, batch: 2}\n")
    chosen = read(path, None, "run.steps=9")
    assert (chosen.run.steps, chosen.run.batch, chosen.tokenizer.image_size) == (9, 2, 32)


def test_the_command_line_brings_what_a_file_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: x\nrun: {steps: 5}\n")
    kept = dict(config=path, resume=None, default=GeneratorTraining(""))
    chosen = read_training(GeneratorTraining, settings=[], given={"tokenizer": "a: b"}, **kept)  # type: ignore[arg-type]
    assert (chosen.tokenizer, chosen.name, chosen.run.steps) == ("a: b", "x", 5)
    also = read_training(GeneratorTraining, settings=["tokenizer=2024"], **kept)  # type: ignore[arg-type]
    assert also.tokenizer == "2024"
    with pytest.raises(ConfigError, match=r"mine\.yaml: missing key 'tokenizer'"):
        read_training(GeneratorTraining, settings=["run.steps=3"], **kept)  # type: ignore[arg-type]
    assert read(path, None, "tokenizer.architecture=compact", "tokenizer.image_size=32", "tokenizer.bits=4").name == "x"


def test_the_published_training_is_shipped() -> None:
    """script/train.sh, but for what the command line brings: the tokenizer and the images."""
    path = training_config("published-generator-l")
    found = read_training(
        GeneratorTraining,
        config=path,
        resume=None,
        settings=[],
        default=GeneratorTraining(""),
        given={"tokenizer": "bigr-l-d24", "data.source": "imagenet"},
    )
    run, optimizer = found.run, found.optimizer
    assert (run.batch, run.precision, run.ema) == (512, "bfloat16", 0.9999)
    assert (found.data.flip, found.generator.dropout, found.masking.label_dropout) == (True, 0.1, 0.1)
    assert (optimizer.name, optimizer.learning_rate, optimizer.schedule, optimizer.warmup) == (
        "adamw",
        1e-4,
        "constant",
        0,
    )
    assert (optimizer.betas, optimizer.weight_decay, optimizer.clip) == ((0.9, 0.95), 0.02, 1.0)
    card = read_config(packaged_models() / "bigr-l-d24").generator
    assert card == found.generator.complete(grid=16, bits=24, classes=1000)


def test_the_published_tokenizer_is_shipped() -> None:
    found = read(training_config("published-tokenizer"))
    assert found.tokenizer == read_config(packaged_models() / "bigr-l-d24").tokenizer
    losses = found.losses
    assert (losses.l1, losses.perceptual, losses.adversarial.start, found.optimizer.learning_rate) == (
        1,
        1,
        30_001,
        3 * 4.5e-6,
    )
    with pytest.raises(typer.BadParameter, match="published-generator-l, published-tokenizer"):
        training_config("../configs/published-tokenizer")


def test_a_run_goes_on_with_its_own_config(run: Path, tokenizer_training: TokenizerTraining) -> None:
    assert read(None, run) == tokenizer_training
    assert read(None, run, "run.steps=99", "optimizer.learning_rate=1e-5").run.steps == 99


def test_what_cannot_go_on(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a training run: it has no training\.yaml"):
        read(None, tmp_path / "none")
    with pytest.raises(UsageError, match="--config has no place"):
        read(run / "training.yaml", run)
    with pytest.raises(ConfigError, match=r"tokenizer\.bits: the run has 6, got 7"):
        read(None, run, "tokenizer.bits=7")
    with pytest.raises(ConfigError, match=r"tokenizer\.image_size: the run has 16, got 32"):
        read(None, run, "tokenizer.image_size=32")
    with pytest.raises(ConfigError, match=r"tokenizer\.channels"):
        read(None, run, "tokenizer={architecture: autoencoder, image_size: 16, bits: 6}")


def test_runs_of_the_other_kind_are_told_apart(
    run: Path, tmp_path: Path, generator_training: GeneratorTraining, tokenizer_training: TokenizerTraining
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "training.yaml").write_text(schema.dump_yaml(generator_training), encoding="utf-8")
    with pytest.raises(UsageError, match="of another kind") as caught:
        read(None, other)
    assert f"bigr train-generator --resume {other}" in str(caught.value.hint)
    with pytest.raises(UsageError, match="of another kind") as caught:
        read_training(GeneratorTraining, config=None, resume=run, settings=[], default=generator_training)
    assert "bigr train-tokenizer" in str(caught.value.hint)


def test_dropout_may_change_while_a_run_goes_on(tmp_path: Path, generator_training: GeneratorTraining) -> None:
    (tmp_path / "training.yaml").write_text(schema.dump_yaml(generator_training), encoding="utf-8")
    kept = {"config": None, "resume": tmp_path, "default": generator_training}
    changed = read_training(GeneratorTraining, settings=["generator.dropout=0.2"], **kept)  # type: ignore[arg-type]
    assert changed.generator.dropout == 0.2
    with pytest.raises(ConfigError, match=r"generator\.heads: the run has 2, got 4"):
        read_training(GeneratorTraining, settings=["generator.heads=4"], **kept)  # type: ignore[arg-type]


def test_the_tokenizer_is_pinned(tiny_model: Path, generator_training: GeneratorTraining) -> None:
    pinned = pin_tokenizer(generator_training, tiny_model)
    assert len(pinned.tokenizer_sha256) == 64
    assert pin_tokenizer(pinned, tiny_model) == pinned
    with pytest.raises(ConfigError, match=r"tokenizer_sha256: expected ffffffffffff…, .* has "):
        pin_tokenizer(replace(generator_training, tokenizer_sha256="f" * 64), tiny_model)


def test_held_out_scenes_are_out_of_reach() -> None:
    training, held_out = open_data(DataConfig(validation=9, seed=4), 16)
    assert isinstance(training, ScenesSource) and isinstance(held_out, ScenesSource)
    assert (held_out.start, len(held_out), held_out.seed) == (HELD_OUT, 9, 4)
    assert training.start + len(training) <= HELD_OUT


def images(root: Path, count: int) -> str:
    for number in range(count):
        Image.new("RGB", (20, 16), (number, 0, 0)).save(root / f"{number}.png")
    return str(root)


def test_a_tenth_of_a_folder_is_held_out_at_most(tmp_path: Path) -> None:
    source = images(tmp_path, 30)
    training, held_out = open_data(DataConfig(source, validation=512, flip=True, crop=0.8), 16)
    assert isinstance(training, FolderSource) and isinstance(held_out, FolderSource)
    assert (len(training), len(held_out)) == (27, 3)
    assert (training.flip, training.crop, held_out.flip, held_out.crop) == (True, 0.8, False, 1.0)
    training, held_out = open_data(DataConfig(source, validation=2, count=10), 16)
    assert (len(training), len(held_out)) == (10, 2)


def test_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected at least 10 images, of which one is held out, got 9"):
        open_data(DataConfig(images(tmp_path, 9)), 16)


Start = Callable[..., Path]


@pytest.fixture
def start(tokenizer_training: TokenizerTraining) -> Start:
    """Train the small tokenizer."""

    def run(
        output: Path | None = None, resume: Path | None = None, training: TokenizerTraining = tokenizer_training
    ) -> Path:
        def build(held_out: Source) -> TokenizerObjective:
            return TokenizerObjective(training, held_out)

        return launch(training, build, size=16, output=output, resume=resume, device=CPU)

    return run


def test_a_run_becomes_a_model_folder(
    start: Start, tmp_path: Path, tokenizer_training: TokenizerTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = start(tmp_path / "deep" / "run")
    assert folder == tmp_path / "deep" / "run"
    assert check_model(folder) == []
    assert schema.load_yaml(TokenizerTraining, folder / "training.yaml") == tokenizer_training
    assert f"done: {folder} is a model folder" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    start(resume=folder)
    assert "finished, after 4 steps; with a larger run.steps it would go on" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    longer = replace(tokenizer_training, run=replace(tokenizer_training.run, steps=6))
    start(resume=folder, training=longer)
    assert "going on after step 4 of 6" in capsys.readouterr().err
    assert schema.load_yaml(TokenizerTraining, folder / "training.yaml") == longer
    assert check_model(folder) == []


def test_the_name_is_the_place(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert start() == Path("runs/small")
    assert (tmp_path / "runs" / "small" / "config.yaml").is_file()


def test_places_that_are_taken(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file, not a folder"):
        start(tmp_path / "file")
    with pytest.raises(UsageError, match="exists and is not empty") as caught:
        start(tmp_path)
    assert f"--resume {tmp_path}" in str(caught.value.hint)
    with pytest.raises(UsageError, match="-o has no place"):
        start(tmp_path / "new", resume=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_place_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        start(tmp_path / "file" / "run")


def test_what_a_killed_process_left_is_removed(start: Start, run: Path) -> None:
    (run / "checkpoints").mkdir()
    leftovers = [run / ".config.yaml.bigr.part", run / "checkpoints" / ".step-00000002.safetensors.bigr1.part"]
    others = [run / ".film.mkv.part", run / ".step-00000002.part", run / "checkpoints" / ".mine.part"]
    for path in (*leftovers, *others):
        path.write_bytes(b"half")
    sharded = run / "checkpoints" / ".step-00000002.part"
    sharded.mkdir()
    (sharded / "shard-00001.safetensors").write_bytes(b"half")
    start(resume=run)  # from the beginning, since there is no checkpoint
    assert not any(leftover.exists() for leftover in (*leftovers, sharded))
    assert all(other.read_bytes() == b"half" for other in others)
    assert len(list_checkpoints(run)) == 2


def test_a_run_that_left_only_a_half_written_file_can_begin_again(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".training.yaml.bigr.part").write_bytes(b"half")
    (folder / ".film.mkv.part").write_bytes(b"another program's")
    with pytest.raises(UsageError, match="exists and is not empty"):
        start(folder)
    (folder / ".film.mkv.part").unlink()
    start(folder)
    assert not list(folder.glob(".*"))


def test_what_is_wrong_leaves_no_folder(start: Start, tmp_path: Path, tokenizer_training: TokenizerTraining) -> None:
    with pytest.raises(UsageError):
        start(tmp_path / "run", training=replace(tokenizer_training, data=DataConfig(str(tmp_path))))
    assert not (tmp_path / "run").exists()


def test_a_run_that_does_not_fit_keeps_its_config(
    start: Start, tmp_path: Path, tokenizer_training: TokenizerTraining
) -> None:
    folder = start(tmp_path / "run")
    kept = (folder / "training.yaml").read_text(encoding="utf-8")
    optimizer = replace(tokenizer_training.optimizer, name="adamw")
    longer = replace(tokenizer_training.run, steps=9)
    with pytest.raises(ConfigError, match=r"optimizer\.name"):
        start(resume=folder, training=replace(tokenizer_training, optimizer=optimizer, run=longer))
    assert (folder / "training.yaml").read_text(encoding="utf-8") == kept


def test_a_run_starts_from_a_model_and_goes_on_without_it(
    start: Start, tmp_path: Path, tokenizer_training: TokenizerTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start(tmp_path / "first")
    still = replace(tokenizer_training.optimizer, learning_rate=1e-12, matrix_learning_rate=1e-12)
    begun = replace(tokenizer_training, init=str(first), optimizer=still)
    second = start(tmp_path / "second", training=begun)
    ours, theirs = (load_file(folder / "tokenizer.safetensors") for folder in (second, first))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in theirs)
    shutil.rmtree(first)
    start(resume=second, training=replace(begun, run=replace(begun.run, steps=6)))
    assert "going on after step 4 of 6" in capsys.readouterr().err
    with pytest.raises(UnknownNameError, match="unknown model"):
        start(tmp_path / "third", training=begun)
    assert not (tmp_path / "third").exists()
