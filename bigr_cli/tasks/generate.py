"""`bigr generate`: images from labels or texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.options import argument, option
from bigr_cli.options.groups import Machine, Messages, Sampling, Writing, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.prompts import read_prompt
from bigr_cli.registry import MAKE, task
from bigr_cli.runtime.processes import Team
from bigr_cli.tasks._given import Chooser, config_of, given_by, prompts_given, wanted_prompts
from bigr_cli.tasks._results import Results, check_stdout, resumption
from bigr_cli.tasks._sharing import load_on_every_rank, sharing, turn
from bigr_cli.tasks._sheets import SheetMaker, Sheets, sheet_paths

if TYPE_CHECKING:
    from torch import Tensor

    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.editing.generate import Job
    from bigr_cli.model import Model
    from bigr_cli.prompts import Label
    from bigr_cli.zoo.config import ModelConfig

TASK = "generate"
PATTERN = "{label}-{seed}.png"


Labels = Annotated[
    list[str] | None,
    argument("LABEL|TEXT", "Labels by name or number, or texts; all is every label. And none is no label."),
]
Prompt = Annotated[
    list[str] | None, option("--prompt", "As the arguments; may be repeated.", options.PAINTING, metavar="LABEL|TEXT")
]
Prompts = Annotated[
    Path | None,
    option(
        "--prompts --prompt-file",
        "A file with labels or texts, one a line; - is stdin.",
        options.PAINTING,
        metavar="FILE",
    ),
]
AllLabels = Annotated[bool, option("--all-labels", "Now the label all.", options.PAINTING, hidden=True)]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to make: `count` images of each label."""

    jobs: "list[Job]"
    count: int
    settings: "SamplingConfig"
    random_seed: bool  # whether nobody asked for the seed
    options: dict[str, Any] = field(default_factory=dict)  # for the recipe


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Files, all checked. `paths` is None for stdout; `wanted` says which images are to be made."""

    paths: list[Path] | None
    wanted: list[bool]
    grid: Path | None
    film: Path | None


@task(
    TASK,
    panel=MAKE,
    help="Generate images from labels or texts.",
    examples=(
        "bigr generate cat",
        "bigr generate cat house -n 4 --seed 7 -o images/",
        "bigr generate all -n 8 --grid sheet.png -o 'all/{label}/{index:04}.webp'",
        "bigr generate cat --steps 10 --guidance 4 --order halton --steps-preview cat.gif",
        "bigr generate tree -o - > tree.png",
        "bigr generate -m scenes-64-text 'a blue boat on the sea at sunset' -n 4",
        "bigr generate -m scenes-64-text --prompts texts.txt --negative 'at night' -o out/",
    ),
)
@grouped
def generate(
    context: typer.Context,
    labels: Labels = None,
    prompt: Prompt = None,
    prompts: Prompts = None,
    all_labels: AllLabels = False,
    negative: options.Negative = None,
    model: options.Model = None,
    count: options.Count = 1,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    *,
    sampling: Sampling,
    writing: Writing,
    sheets: Sheets,
    machine: Machine,
    messages: Messages,
) -> None:
    """Image number i of a request has the seed SEED + i, so each can be made again alone.

    Files go to the current folder as {label}-{seed}.png, or where -o says: a file, folder, pattern, or - for stdout.

    Patterns know {label}, {seed}, {index}, {model} and {task}; {index:04} pads a number with zeros.

    Under torchrun or accelerate launch, the processes share the images, which are the same.

    Every image carries its recipe, which bigr info shows and --recipe takes settings, labels and seed from.
    """
    if all_labels:
        console.warn("--all-labels is now the label all: bigr generate all")
    with sharing() as processes, turn(processes, writing.output, skip_existing=writing.skip_existing) as mine:
        mine.take()
        chooser = processes.after_the_first(lambda: Chooser(given_by(context), recipe))
        name = processes.decided(lambda: chooser.model(model))

        def decide() -> tuple[Request, Targets]:
            config = config_of(name)
            wanted = wanted_prompts(config, prompts_given(labels, prompt, prompts), all_labels, chooser)
            made = _request(config, wanted, chooser, sampling, count=count, seed=seed, negative=negative)
            return made, _targets(made.jobs, config, writing, sheets, processes.count)

        made, targets = processes.decided(decide)
        if not any(targets.wanted) and targets.grid is None:
            console.say(f"nothing to do: all {len(made.jobs)} are there already")
            return
        loaded = load_on_every_rank(name, machine.placing(chooser.option("dtype", machine.dtype)), processes)
        console.say(loaded.description(made.jobs[0].seed, random_seed=made.random_seed))
        _make(loaded, made, targets, writing, sheets, machine.batch_size, processes)


def _request(
    config: "ModelConfig",
    labels: "Sequence[Label]",
    chooser: Chooser,
    sampling: Sampling,
    *,
    count: int,
    seed: int | None,
    negative: str | None,
) -> Request:
    from bigr_cli.editing.generate import plan
    from bigr_cli.zoo.presets import sampling_settings

    settings = sampling_settings(config, chooser.sampling(sampling))
    if negative is None and chooser.recipe is not None:
        negative = chooser.recipe.options.get("negative")
    read_prompt(config, negative)
    count, first = chooser.option("count", count), chooser.option("seed", seed)
    jobs = plan(config, labels, count=count, seed=first, negative=negative)
    options = {"negative": negative} if negative else {}
    return Request(jobs=jobs, count=count, settings=settings, random_seed=first is None, options=options)


def _targets(jobs: "Sequence[Job]", config: "ModelConfig", writing: Writing, sheets: Sheets, processes: int) -> Targets:
    """Where everything goes, checked before anything is made."""
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.imaging.output_names import Earlier, Made, numbered, resolve

    if writing.overwrite and writing.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    names = {"task": TASK, "model": config.name}
    fields: list[dict[str, str | int]] = [
        {"label": job.label, "seed": job.seed, "index": job.index, **names} for job in jobs
    ]
    paths = resolve(writing.output, fields, default=PATTERN)
    if paths is None:
        check_stdout(json=writing.json)
    else:  # names of labels are cut, and letters that no file name has are left out of them
        made = [Made(path, str(job.label), job.seed) for path, job in zip(paths, jobs, strict=True)]
        paths = numbered(made, Earlier(TASK))
    grid, film = sheet_paths(sheets, len(jobs), processes=processes)
    together = [path for path in (grid, film) if path is not None]
    written = check_targets(
        [*(paths or ()), *together], overwrite=writing.overwrite, skip_existing=writing.skip_existing
    )
    wanted, rest = (written[: len(paths)], written[len(paths) :]) if paths is not None else ([True], written)
    kept = {path for path, write in zip(together, rest, strict=True) if write}
    return Targets(paths=paths, wanted=wanted, grid=grid if grid in kept else None, film=film if film in kept else None)


def _make(
    model: "Model",
    request: Request,
    targets: Targets,
    writing: Writing,
    sheets: Sheets,
    batch_size: int | None,
    processes: Team,
) -> None:
    """Make this process's share of the images that are wanted, and write each as soon as it is there."""
    from bigr_cli.data.images import read_image
    from bigr_cli.imaging.montage import square_columns

    jobs, settings, metadata = request.jobs, request.settings, not writing.no_metadata
    rows = request.count > 1 and len(jobs) > request.count
    columns = sheets.columns or (request.count if rows else square_columns(len(jobs)))
    maker = SheetMaker(grid=targets.grid, film=targets.film, columns=columns, captions=sheets.captions)
    results = Results(paths=targets.paths, overwrite=writing.overwrite, metadata=metadata, json=writing.json)
    todo = processes.share([job for job, wanted in zip(jobs, targets.wanted, strict=True) if wanted])
    skipped = targets.wanted.count(False)

    with progress_bar(len(todo), "generating") as bar:

        def watch(batch: "Sequence[Job]", iteration: int, codes: "Tensor", masked: "Tensor") -> None:
            bar.advance(len(batch) / settings.iterations)
            maker.watch(model, batch, iteration, codes, masked)

        try:
            for image in model.make(todo, settings, batch_size=batch_size, watch=watch):
                recipe = model.recipe(
                    settings, task=TASK, labels=[image.label], seed=image.seed, options=request.options
                )
                results.save(image.index, image.image, recipe, seconds=image.seconds)
                maker.add(image.index, image.image, image.label)
        except BaseException as error:
            resume = f"--seed {jobs[0].seed} --skip-existing" if request.random_seed else "--skip-existing"
            results.report(skipped=skipped, interrupted=resumption(error, len(todo), resume))
            raise
    results.report(skipped=skipped, processes=processes)
    maker.gather(processes)
    if not processes.first:
        return
    if targets.grid is not None and targets.paths is not None:
        for job in jobs:
            if not targets.wanted[job.index]:
                maker.add(job.index, read_image(targets.paths[job.index]).image, job.label)
    whole = model.recipe(
        settings,
        task=TASK,
        labels=[job.label for job in jobs[:: request.count]],
        seed=jobs[0].seed,
        count=request.count,
        options=request.options,
    )
    for path in maker.write(whole, metadata=metadata, overwrite=writing.overwrite):
        console.say(f"wrote {path}")
    results.finish()
