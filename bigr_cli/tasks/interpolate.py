"""`bigr interpolate`: from one label to another, or from one image to another."""

import os
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options, prompts
from bigr_cli.editing.requests import Interpolate
from bigr_cli.errors import BigrError, RunError
from bigr_cli.options import argument, number, option
from bigr_cli.options.groups import Machine, Messages, Sampling, Writing, grouped
from bigr_cli.registry import MAKE, task
from bigr_cli.tasks._given import Chooser, given_by
from bigr_cli.tasks._image_log import Log
from bigr_cli.tasks._interpolations import TASK, Job, plan, write_frames
from bigr_cli.tasks._results import FailureList, Unfamiliar
from bigr_cli.tasks._sharing import load_on_every_rank, sharing

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.model import Model

PANEL = "Film"

Fps = Annotated[float, option("--fps", "Frames a second of a film.", PANEL, callback=number(0.1, 120), metavar="N")]


@task(
    TASK,
    panel=MAKE,
    help="Change one label, or one image, into another.",
    examples=(
        "bigr interpolate cat bird",
        "bigr interpolate cat bird house --loop --frames 60 --fps 15 -o tour.mp4",
        "bigr interpolate a.png b.png --refine 100 --frames 24 -o morph.gif",
        "bigr interpolate tree mushroom --frames 30 -o frames/",
        "bigr interpolate cat bird -n 4 -o morphs/{label}-{seed}.gif",
        "bigr interpolate --manifest paths.jsonl -o films/{label}-{seed}.mp4",
        "bigr interpolate boat rocket --strength 1 --fps 10 -o everything.webp",
        "bigr interpolate cat bird --mixed even --frames 12 -o whole.png",
    ),
)
@grouped
def interpolate(
    context: typer.Context,
    stops: Annotated[
        list[str] | None, argument("STOP STOP...", "Labels or texts, or files of images; two or more.")
    ] = None,
    model: options.Model = None,
    count: options.Count = 1,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    manifest: options.Manifest = None,
    dry_run: options.DryRun = False,
    failures: options.Failures = None,
    fps: Fps = 8.0,
    *,
    request: Interpolate,
    sampling: Sampling,
    writing: Writing,
    machine: Machine,
    messages: Messages,
) -> None:
    """-o decides what becomes of the frames: a strip (.png, .webp, .jpg, .tif), a film (.gif, .mp4, or .webp with --fps
    given), or single files (a folder, or a pattern with {index}).

    Between labels, ever more of the first one's image is sampled anew under mixed embeddings. Between images, the bits
    in which they differ are switched, the most certain first; --prompt guides those, or the label that fits the nearer.

    With -n, variant i has the seed SEED + i. A line of a manifest is a path of its own: {"stops": ["cat", "bird"]}.
    Under torchrun or accelerate launch, the processes share them.
    """
    base = given_by(context)
    with sharing() as processes:
        chooser = processes.after_the_first(lambda: Chooser(base, recipe))
        name = processes.decided(lambda: chooser.model(model))
        default_seed = processes.broadcast(secrets.randbelow(2**32))
        jobs = processes.after_the_first(lambda: plan(context, base, name, default_seed, processes))
        kept = {"overwrite": writing.overwrite, "skip_existing": writing.skip_existing}
        listed = processes.after_the_first(lambda: FailureList(failures, **kept))
        processes.wait()
        todo = [job for job in jobs if job.target.wanted]
        if dry_run:
            _list_dry_run(todo if processes.first else [], json=writing.json)
            return
        if not todo:
            console.say(f"nothing to do: {'it is' if len(jobs) == 1 else 'all are'} there already")
            return
        loaded = load_on_every_rank(name, machine.placing(chooser.option("dtype", machine.dtype)), processes)
        console.say(loaded.description(todo[0].seed, random_seed=todo[0].random_seed))
        failed = _work(loaded, processes.share(todo), writing, machine.batch_size, alone=len(todo) == 1)
        every = [one for part in processes.all_gather(failed) for one in part]
        if processes.first:
            listed.write([(name, str(error)) for name, error in every])
        if every and processes.first:
            if len(todo) == 1:
                raise every[0][1]
            raise RunError(f"{len(every)} of {len(todo)} failed: {', '.join(name for name, _ in every)}")


def _list_dry_run(jobs: Sequence[Job], *, json: bool) -> None:
    """Say what would be done."""
    for job in jobs:
        if json:
            record = {"path": job.target.described, "task": TASK, "source": job.keyframes.name, "seed": job.seed}
            console.json_line(record | {"frames": job.request.count, "options": job.options})
        else:
            console.result(f"{job.keyframes.name}, {job.request.count} frames -> {job.target.described}")
    console.say(f"{len(jobs)} would be made; nothing was done")


def _work(
    model: "Model", jobs: Sequence[Job], writing: Writing, batch_size: int | None, *, alone: bool
) -> list[tuple[str, BigrError]]:
    """Make the frames of jobs, and write those of each as soon as they are there; returns what failed, and why.

    What fails is said at once, unless it is the only one.
    """
    from bigr_cli.editing.batched_sampling import paint_together

    failed, log, unfamiliar = list[tuple[str, BigrError]](), Log(), Unfamiliar()
    began, done = time.perf_counter(), 0
    work = ((job, _begun(model, job)) for job in jobs)
    try:
        for job, made in paint_together(model.network, work, batch_size=batch_size or model.batch_size()):
            try:
                if isinstance(made, BigrError):
                    raise made
                log.add(_saved(model, job, made, writing, unfamiliar, seconds=time.perf_counter() - began))
            except BigrError as error:
                if not alone:
                    console.error(f"{job.keyframes.name}: {error}", error.hint)
                failed.append((job.keyframes.name, error))
            began = time.perf_counter()
            done += 1
    except BaseException as error:
        if not isinstance(error, Exception) and len(jobs) > 1:
            console.say(f"interrupted after {done} of {len(jobs)} interpolations; --skip-existing goes on")
        raise
    finally:
        log.write()
    return failed


def _begun(model: "Model", job: Job) -> "SamplingCoroutine[list[Image]]":
    return (yield from job.request.paint(model.network, job.keyframes.read(model.config.ground), job.seed))


def _saved(
    model: "Model", job: Job, images: "list[Image]", writing: Writing, unfamiliar: Unfamiliar, *, seconds: float
) -> dict[str, Any]:
    """Write the frames; what the log notes of them."""
    labels = [prompts.name_of(model.config, label) for label in job.keyframes.labels]
    made = model.recipe(job.request.sampling, task=TASK, labels=labels, seed=job.seed, options=job.options)
    kept = None if writing.no_metadata else made
    familiarity = getattr(images, "familiarity", None)
    more = {} if familiarity is None else {"familiarity": familiarity.described()}
    write_frames(job.target, images, job.fps, kept, overwrite=writing.overwrite)
    record: dict[str, Any] = {"task": TASK, "model": model.name, "seed": job.seed, **dict([made.subject])}
    record |= {"frames": len(images), "seconds": round(seconds, 3), "recipe": made.to_dict()}
    for path in job.target.paths if writing.json else ():
        console.json_line({"path": path, **record, **more})
    console.say(f"wrote {len(images)} frames to {job.target.described}")
    if familiarity is not None:
        unfamiliar.note(model.name, job.keyframes.name, familiarity)
    folder = job.target.paths[0].parent if job.target.shape == "frames" else None
    return record | {"path": f"{folder}{os.sep}" if folder else next(iter(job.target.paths), None)}
