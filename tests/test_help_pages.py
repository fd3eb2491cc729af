"""What `--help` shows, names that options have in other programs, and -m wherever a model is meant."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bigr_cli.app import build
from bigr_cli.help_pages import aliases, first_sentence, long_name
from bigr_cli.registry import MAKE, MANAGE, TRAIN, UNDERSTAND, discover

Run = Callable[..., Any]
SCREEN = 24  # lines of a terminal


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands and groups of them by their words."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), build(discover()))]
    for path, command in waiting:
        waiting += [((*path, name), below) for name, below in getattr(command, "commands", {}).items()]
    return iter(waiting)


@pytest.fixture(autouse=True)
def hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_the_first_screen_has_an_example_and_every_option_one_line(bigr: Run) -> None:
    wrong = []
    for path, command in commands():
        lines = bigr(*path, "--help-all").out.splitlines()
        name = " ".join(["bigr", *path])
        if not any(line.strip().startswith(f"$ {name}") for line in lines[:SCREEN]):
            wrong.append(f"{name}: no example")
        wrong += [f"{name}: {line}" for line in lines if path and re.match(r"│ {12,}\S", line)]
        shown = "\n".join(lines)
        wrong += [
            f"{name}: {long_name(one)} is missing"
            for one in command.params
            if one.param_type_name == "option" and not one.hidden and long_name(one)[2:] not in shown
        ]
    assert wrong == []


def test_inpaint_fits_on_two_screens_with_the_mask_first(bigr: Run) -> None:
    shown = bigr("inpaint", "--help").out
    assert len(shown.splitlines()) <= 80
    panels = re.findall(r"^╭─ ([\w ]+) ─", shown, re.MULTILINE)
    assert panels == ["Arguments", "Mask", "Painting", "Model", "Files", "Advanced", "Machine"]
    shown = shown.partition("─ Arguments")[2]
    assert shown.index("IMAGE ") < shown.index("--output") < shown.index("--mask ") < shown.index("--model")
    assert shown.index("─ Advanced") < shown.index("--steps") < shown.index("--temperature") < shown.index("─ Machine")
    assert "BIGR_" not in shown
    everything = bigr("inpaint", "--help-all").out
    assert "--see-masked" in everything and "--see-masked" not in shown


def test_commands_stand_in_four_panels(bigr: Run) -> None:
    shown = bigr("--help").out
    assert re.findall(r"^╭─ (\w+) ─", shown, re.MULTILINE) == [MAKE, UNDERSTAND, TRAIN, MANAGE, "Options"]
    assert shown.index("generate") < shown.index("embed") < shown.index("train ") < shown.index("models")
    assert bigr("-h").out == shown


def test_first_sentences() -> None:
    assert first_sentence("One, such as *.png. Two.") == "One, such as *.png."
    assert first_sentence("0.5 of it.\n  More") == "0.5 of it."
    assert first_sentence("None") == "None"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("generate cat --guidance-scale 3", "guidance", 3.0),
        ("generate cat --guidance_scale=3", "guidance", 3.0),
        ("generate cat --cfg-scale 3", "guidance", 3.0),
        ("inpaint a.png --num-inference-steps 7", "steps", 7),
        ("generate --prompt cat --prompt dog", "prompt", ["cat", "dog"]),
        ("generate cat --num-images 4", "count", 4),
        ("generate cat --num_images_per_prompt 4", "count", 4),
        ("evaluate generation --num-samples 4", "count", 4),
        ("generate cat --negative-prompt dog", "negative", "dog"),
        ("edit a.png --negative-prompt dog", "negative", "dog"),
        ("enrich a.png --prompt cat", "prompt", "cat"),
        ("inpaint a.png --class cat", "class_label", "cat"),
        ("train-generator --learning-rate 1e-3", "lr", 1e-3),
        ("train-generator -m scenes-64", "tokenizer", "scenes-64"),
        ("train-tokenizer -m scenes-64", "start", "scenes-64"),
        ("train scenes -m scenes-64 --max_train_steps 3", "start", "scenes-64"),
        ("models verify -m a -m b", "named", ["a", "b"]),
    ],
)
def test_names_of_other_programs(words: str, name: str, value: object) -> None:
    path, given = ["bigr"], words.split()
    command, context = build(discover()), None
    context = command.make_context("bigr", given)
    while hasattr(command, "commands"):
        path.append(given.pop(0))
        command = command.commands[path[-1]]
        context = command.make_context(path[-1], list(given), parent=context)
    assert context.params[name] == value


def test_no_name_means_two_things_in_a_command() -> None:
    for path, command in commands():
        names = [name for one in command.params for name in (*one.opts, *one.secondary_opts) if name.startswith("-")]
        assert len(set(names)) == len(names), path
        assert all(alias not in map(long_name, command.params) for one in command.params for alias in aliases(one))


@pytest.mark.parametrize("words", ["show", "labels", "path", "verify", "export -o x.safetensors --format safetensors"])
def test_a_model_is_named_by_m_too(bigr: Run, tiny_model: Path, words: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = bigr("models", *words.split(), "-m", tiny_model)
    assert done.code == 0, done.err
    assert bigr("models", "show", "scenes-64", "-m", tiny_model).code == 2


def test_a_prompt_is_a_label_or_a_text_as_the_model_has_it(
    bigr: Run, tiny_model: Path, tiny_text_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bigr("generate", "cat", "-m", tiny_model, "-o", "a.png").code == 0
    masked = ("inpaint", "a.png", "--mask-box", "0,0,8,8", "--dry-run", "--json", "--prompt")
    for model, word in ((tiny_model, "cat"), (tiny_text_model, "a red cat")):
        done = bigr(*masked, word, "-m", model)
        assert done.code == 0, done.err
        record = json.loads(done.out)
        assert (record["label"], record["options"]["prompt"]) == (word, word)
    for more in (("--class", "dog"), ("--text", "a dog"), ("--guess-class",)):
        done = bigr(*masked, "cat", *more, "-m", tiny_model)
        assert done.code == 2 and "exclude each other" in done.err, more
    job = {"image": "a.png", "mask-image": "a.png", "prompt": "dog", "guidance_scale": 2}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(job))
    done = bigr("inpaint", "--manifest", "jobs.jsonl", "-m", tiny_model, "--json", "-o", "b.png", "--mask-resize")
    assert done.code == 0, done.err
    assert json.loads(done.out)["recipe"]["sampling"]["guidance"] == 2.0
    again = bigr("info", "b.png").out.splitlines()[-1]
    assert "--prompt dog" in again


@pytest.mark.parametrize("command", ["train-tokenizer", "train-generator", "train"])
def test_a_training_without_anything_explains(bigr: Run, command: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = bigr(command)
    assert done.code == 2 and done.out == ""
    assert "bigr train photos/ -o runs/photos" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_learning_rate_is_a_setting(bigr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigr_cli.options import with_rate

    assert with_rate(["run.steps=3"], 1e-5) == ["optimizer.learning_rate=0.000010000000", "run.steps=3"]
    assert with_rate(None, None) == []
    for rate in ("0", "-1", "nan"):
        assert bigr("train", "scenes", "--lr", rate, "--plan").code == 2


def test_what_was_retired_works_with_a_warning(bigr: Run, tiny_model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = bigr("generate", "--all-labels", "-m", tiny_model, "-o", "out/")
    assert done.code == 0 and "warning: --all-labels is now the label all" in done.err
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_python_takes_the_same_names(tiny_model: Path) -> None:
    import bigr_cli
    from bigr_cli.errors import ConfigError

    model = bigr_cli.load(tiny_model)
    assert model.settings(guidance_scale=3, num_inference_steps=2) == model.settings(guidance=3, steps=2)
    with pytest.raises(ConfigError, match="guidance_scale: is guidance, which is given too"):
        model.settings(guidance_scale=3, guidance=2)
    (image,) = model.generate("cat", seed=1)
    ours, theirs = (
        model.edit(image, "dog", mask_box=["0,0,8,8"], seed=2, **{names[0]: 3.0, names[1]: 2, names[2]: "house"})
        for names in (("guidance", "steps", "negative"), ("guidance_scale", "num_inference_steps", "negative_prompt"))
    )
    assert ours[0].tobytes() == theirs[0].tobytes()


@pytest.mark.parametrize(
    ("words", "variable", "name"),
    [
        ("-n 0", "", "'-n':"),
        ("-n0", "", "'-n':"),
        ("--num_images=0", "", "'--num-images':"),
        ("--guidance-scale x", "1", "'--guidance-scale':"),
        ("", "x", "'--guidance' (env var: 'BIGR_GUIDANCE'):"),
    ],
)
def test_errors_name_an_option_as_it_was_given(
    bigr: Run, words: str, variable: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("BIGR_GUIDANCE", variable)
    done = bigr("generate", "cat", *words.split())
    assert done.code == 2 and done.err.startswith(f"error: Invalid value for {name} "), done.err


def test_a_missing_option_without_a_variable_is_named(bigr: Run) -> None:
    assert bigr("evaluate", "reconstruction").err.startswith("error: Missing option '--data'")
    assert bigr("search", "a.png").err.startswith("error: Missing option '--index'")
