"""Images in, images out: what every task does around its own work on one image."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bigr_cli import console
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.options.groups import Batch, Machine, Writing
from bigr_cli.progress import progress_bar
from bigr_cli.runtime.processes import Team
from bigr_cli.tasks._earlier import POLL, Watch
from bigr_cli.tasks._given import Chooser, Given, config_of, given_by, given_by_manifest
from bigr_cli.tasks._jobs import Job, Plan, Planner, pass_path
from bigr_cli.tasks._results import FailureList, Results, check_stdout, resumption
from bigr_cli.tasks._sharing import Turn, load_on_every_rank, sharing, turn
from bigr_cli.tasks._sheets import before_after_path, write_before_after

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.editing.batched_sampling import Iteration, SamplingCoroutine
    from bigr_cli.editing.repaint import Painted
    from bigr_cli.editing.request import EditRequest
    from bigr_cli.imaging.originals import Original
    from bigr_cli.model import Model
    from bigr_cli.plain_text import Background

_READERS = 2
_AHEAD = 8  # images that are read beyond those in work
_AHEAD_BYTES = 160 * 2**20  # of memory that these may take, unless it is one alone
_SLOW = 2.0  # seconds that an image takes before its own progress is shown


def run(context: typer.Context, task: str, kind: "type[EditRequest]") -> None:
    """Do a task for all images that the command line, or its manifest, asks for; several processes share them."""
    writing, dry_run = given_by(context).group(Writing), bool(context.params["dry_run"])
    with sharing() as processes:
        waits = writing.skip_existing and not dry_run
        with turn(processes, writing.output, skip_existing=waits) as mine:
            _run(context, task, kind, processes, mine)


def _run(context: typer.Context, task: str, kind: "type[EditRequest]", processes: Team, mine: Turn) -> None:
    from bigr_cli.imaging.output_names import Earlier
    from bigr_cli.zoo.config import ModelConfig

    base = given_by(context)
    batch, writing, machine = base.group(Batch), base.group(Writing), base.group(Machine)

    def prepared() -> tuple[list[Given], Chooser, str | None, ModelConfig, Path | None, FailureList]:
        if writing.overwrite and writing.skip_existing:
            raise UsageError("--overwrite and --skip-existing exclude each other")
        if processes.count > 1 and (batch.watch or str(batch.manifest) == "-"):
            raise UsageError("--watch and --manifest - are for one process")
        lines = given_by_manifest(context, batch.manifest) if batch.manifest else [base]
        chooser = Chooser(base, base.params.get("recipe"))
        name = chooser.model(base.params["model"])
        listed = FailureList(batch.failures, overwrite=writing.overwrite, skip_existing=writing.skip_existing)
        return lines, chooser, name, config_of(name), before_after_path(batch, writing), listed

    lines, chooser, name, config, sheet, listed = processes.after_the_first(prepared)
    default_seed, model = processes.broadcast(secrets.randbelow(2**32)), None
    watch = Watch(Earlier(task, watching=batch.watch))
    planner = Planner(
        task=task, kind=kind, config=config, default_seed=default_seed, earlier=watch.earlier, heard=watch.heard
    )
    results: Results | None = None
    failed: list[tuple[str, BigrError]] = []
    while True:
        mine.take()
        leave = watch.done | (watch.unsettled(lines) if batch.watch else set())
        skip = writing.skip_existing or (batch.watch and not writing.overwrite)
        make = partial(planner.plan, lines, leave=leave, skip_existing=skip)
        planned = _planned(processes, make, json=writing.json)
        if batch.dry_run:
            if processes.first:
                _list_dry_run(planned, task, json=writing.json)
            return
        if planned.jobs:
            if model is None:
                model = _loaded(name, chooser.option("dtype", machine.dtype), machine, planned, processes)
            results, made = _work(model, task, planned, writing, machine, batch, listed, failed, processes)
            if sheet is not None and made and processes.first:
                write_before_after(sheet, made, writing)
        elif not batch.watch:
            console.say(f"nothing to do: {planned.skipped} done already")
        if not batch.watch:
            if results is not None:
                results.finish()
            return
        watch.note(planned)
        console.detail(f"watching; {len(watch.done)} images so far")
        mine.leave()
        time.sleep(POLL)


def _planned(processes: Team, make: Callable[[], Plan], *, json: bool) -> Plan:
    """The same plan in all processes, before any of them makes a file."""

    def checked() -> Plan:
        planned = make()
        if planned.paths is None:
            check_stdout(json=json)
        if processes.count > 1 and any(job.source.path is None for job in planned.jobs):
            raise UsageError("an image on stdin is for one process")
        return planned

    planned = processes.after_the_first(checked)
    paths = processes.broadcast(planned.paths)
    if paths != planned.paths:
        raise UsageError(f"process {processes.rank} finds other images than the first one")
    processes.wait()
    return planned


def _loaded(name: str | None, dtype: str, machine: Machine, planned: Plan, processes: Team) -> "Model":
    model = load_on_every_rank(name, machine.placing(dtype), processes)
    console.say(model.description(planned.jobs[0].seed, random_seed=planned.jobs[0].random_seed))
    return model


def _work(
    model: "Model",
    task: str,
    planned: Plan,
    writing: Writing,
    machine: Machine,
    batch: Batch,
    listed: FailureList,
    failed: list[tuple[str, BigrError]],
    processes: Team,
) -> "tuple[Results, list[tuple[Job, Image]]]":
    """Do the jobs, and write each image as soon as it is there; keeps the images only if there is to be a sheet."""
    from bigr_cli.editing.batched_sampling import paint_together

    results = Results(
        paths=planned.paths,
        overwrite=writing.overwrite,
        metadata=not writing.no_metadata,
        json=writing.json,
        alone=len(planned.jobs) + planned.skipped == 1,
    )
    if model.network.held_out is None and any(getattr(job.request, "strict", False) for job in planned.jobs):
        console.warn(f"--strict refuses nothing: {model.name} has no statistics of held-out images to compare with")
    size = machine.batch_size or model.batch_size()
    readers = ThreadPoolExecutor(_READERS, "bigr-reader")
    kept: list[tuple[int, Image]] = []
    jobs = processes.share(planned.jobs)
    last = began = time.perf_counter()
    with progress_bar(len(jobs), task) as bar:

        def watch(seen: "Iteration") -> None:
            if time.perf_counter() - last > _SLOW:
                bar.detail(seen.index + 1, seen.steps, "this batch")

        try:
            work = _coroutines(model, jobs, readers)
            for job, made in paint_together(model.network, work, batch_size=size, watch=watch):
                now = time.perf_counter()
                if isinstance(made, BigrError):
                    results.fail(job.source.name, made)
                else:
                    path = None if planned.paths is None else planned.paths[job.index]
                    _save(results, model, task, job, made, path, seconds=now - last)
                    kept += [(job.index, made.image)] if batch.grid else []
                last = now
                bar.advance()
        except BaseException as error:
            _close(results, planned, listed, failed, None, resumption(error, len(jobs)))
            raise
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
    _close(results, planned, listed, failed, processes)
    if len(planned.jobs) > 1:
        console.detail(f"{len(planned.jobs) / (time.perf_counter() - began):.2f} images a second")
    every = [entry for part in processes.all_gather(kept) for entry in part]
    return results, [(planned.jobs[index], image) for index, image in every]


def _close(
    results: Results,
    planned: Plan,
    listed: FailureList,
    failed: list[tuple[str, BigrError]],
    processes: Team | None,
    interrupted: tuple[int, str] = (0, ""),
) -> None:
    """Wait for the files, and tell what was made and what was not."""
    results.report(skipped=planned.skipped, processes=processes, interrupted=interrupted)
    failed += results.failures
    if processes is None or processes.first:
        listed.write([(name, str(error)) for name, error in failed])


def _save(
    results: Results, model: "Model", task: str, job: Job, made: "Painted", path: Path | None, *, seconds: float
) -> None:
    from bigr_cli.prompts import name_of

    label = job.label if made.label is None else name_of(model.config, made.label)
    recipe = model.recipe(
        job.request.sampling,
        task=task,
        labels=[label],
        seed=job.seed,
        options={"image": job.source.name, **job.options},
    )
    score: dict[str, Any] = {} if made.score is None else {"score": round(made.score, 6)}
    if made.familiarity is not None:
        score["familiarity"] = made.familiarity.described()
        results.unfamiliar.note(model.name, job.source.name, made.familiarity, made.left, made.windows)
    if made.windows:
        score |= {"windows": made.windows, "windows_left": made.left}
    beside = [(pass_path(path, turn), image) for turn, image in enumerate(made.earlier, 1)] if path else []
    results.save(job.index, made.image, recipe, seconds=seconds, beside=beside, source=job.source.name, **score)


def _coroutines(
    model: "Model", jobs: Sequence[Job], readers: ThreadPoolExecutor
) -> "Iterator[tuple[Job, SamplingCoroutine[Painted]]]":
    """The jobs' coroutines; the images are read ahead, and what belongs to them."""
    ahead: deque[tuple[Job, Future[tuple[Original, EditRequest]], int]] = deque()
    coming = deque(jobs)
    while coming or ahead:
        while coming and len(ahead) < _AHEAD:
            size = _expected_bytes(coming[0])
            if ahead and sum(taken for _, _, taken in ahead) + size > _AHEAD_BYTES:
                break
            job = coming.popleft()
            ahead.append((job, readers.submit(_opened, job, model.config.ground), size))
        job, future, _ = ahead.popleft()
        coroutine = _begun(model, job, future)
        del future  # which has the image, for as long as the next one is not asked for
        yield job, coroutine
        del coroutine


def _expected_bytes(job: Job) -> int:
    """About how much memory an image and its mask will take, by the file's header; 0 if it has none."""
    from bigr_cli.data.images import read_header

    if job.source.path is None:
        return 0
    try:
        width, height = read_header(job.source.path).size
    except BigrError:  # what is wrong with it is said when it is read
        return 0
    return 8 * width * height


def _begun(model: "Model", job: Job, future: "Future[tuple[Original, EditRequest]]") -> "SamplingCoroutine[Painted]":
    image, request = future.result()
    return (yield from request.paint(model.network, image, job.seed))


def _opened(job: Job, background: "Background") -> "tuple[Original, EditRequest]":
    from bigr_cli.data.images import read_image
    from bigr_cli.imaging.inputs import read_stdin

    source = job.source
    image = read_image(read_stdin() if source.path is None else source.path, source.name, background=background)
    return image, job.request.for_image(image)


def _list_dry_run(planned: Plan, task: str, *, json: bool) -> None:
    """Say what would be done."""
    paths: Sequence[Path | str] = planned.paths or ["-"] * len(planned.jobs)
    for job, path in zip(planned.jobs, paths, strict=True):
        if json:
            record = {"path": path, "task": task, "source": job.source.name, "label": job.label}
            console.json_line(record | {"seed": job.seed, "options": job.options})
        else:
            console.result(f"{job.source.name} -> {path}")
    skipped = f", {planned.skipped} are there already" if planned.skipped else ""
    console.say(f"{len(planned.jobs)} would be made{skipped}; nothing was done")
