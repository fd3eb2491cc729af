"""`bigr evaluate generation`: how much generated images look like real ones."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from bigr_cli import console, options
from bigr_cli.options.groups import Machine, Messages, Sampling, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import UNDERSTAND, group, task
from bigr_cli.tasks._generation import Comparing, Plan, SampleOptions, Words, planned
from bigr_cli.tasks._measuring import EvaluatorOptions, Reporting, command_line, loaded

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from bigr_cli.evaluation.generation import LoadedEvaluator
    from bigr_cli.evaluation.image_sets import ImageSet
    from bigr_cli.evaluation.preflight import Point
    from bigr_cli.evaluation.samples import Results, Samples

TASK = "evaluate generation"

group("evaluate", help="Measure how well a model samples, reconstructs and understands images.")


@task(
    TASK,
    panel=UNDERSTAND,
    help="Measure how much generated images look like real ones: FID, IS, KID, precision.",
    examples=(
        "bigr evaluate generation --reference scenes --count 2000",
        "bigr evaluate generation samples/ --reference photos/ --weights inception.pth",
        "bigr evaluate generation --reference scenes --sweep guidance=1,2,3 steps=8,16 --report sweep/",
        "bigr evaluate generation -m bigr-l-d24 -n 50000 --reference VIRTUAL_imagenet256_labeled.npz --fetch-weights",
        "bigr evaluate generation --count 50000 --npz samples.npz",
    ),
)
@grouped
def generation(
    context: typer.Context,
    words: Words = None,
    model: options.Model = None,
    *,
    comparing: Comparing,
    evaluating: EvaluatorOptions,
    sample_options: SampleOptions,
    sampling: Sampling,
    reporting: Reporting,
    machine: Machine,
    messages: Messages,
) -> None:
    """Every figure comes out of torch-fidelity and bears its name; --json adds what makes figures comparable.

    Images are sampled of all classes in turn; number i has the seed SEED + i, whatever the batch size and the number
    of processes (torchrun --nproc-per-node 4 -m bigr_cli evaluate generation …). A run that was stopped goes on where
    it was when it is started again.
    """
    again = command_line(context)
    report = reporting.folder()
    plan = planned(
        words or [],
        model,
        comparing=comparing,
        evaluating=evaluating,
        sample_options=sample_options,
        sampling=sampling,
        overwrite=reporting.overwrite,
    )
    run = _Run(plan, sample_options, machine, reporting)
    if plan.images is not None:
        run.evaluate_given(plan.images)
    elif not run.evaluate_sampled(model):
        return
    try:
        if plan.comparison.metrics and not reporting.json:
            _show(run.records)
    finally:  # the report has the figures, even if nobody reads stdout
        if report is not None:
            from bigr_cli.evaluation.report_pages import generation_report

            page = generation_report(run.records, run.shown(), again)
            reporting.save(report, page)
    run.discard()


class _Run:
    """Samples on their way to figures: `records` has one for each point of the sweep."""

    def __init__(self, plan: Plan, sample_options: SampleOptions, machine: Machine, reporting: Reporting) -> None:
        self._plan, self._sample_options, self._machine, self._reporting = plan, sample_options, machine, reporting
        self._evaluator: LoadedEvaluator | None = None
        self._sets: list[ImageSet] = []
        self._samples: list[Samples] = []
        self._results: Results | None = None
        self.records: list[dict[str, Any]] = []

    def evaluate_given(self, images: "ImageSet") -> None:
        """Images that are there already."""
        from bigr_cli.runtime.device import select_device, set_threads

        set_threads(self._machine.threads)
        device = select_device(self._machine.device)
        self._sets = [images]
        with progress_bar(images.count, "looking at images") as bar:
            self._add(self._measured(images, images, {}, device, bar.advance))

    def evaluate_sampled(self, name: str | None) -> bool:
        """Images of all points of the sweep; False in a process that only samples for another one."""
        from bigr_cli.evaluation.report_pages import said
        from bigr_cli.evaluation.samples import Results, samples_of

        model = loaded(name, self._machine)
        plan = self._plan
        self._samples = [
            samples_of(model, plan.jobs, settings, self._machine.batch_size) for _, settings in plan.settings
        ]
        self._sets = [samples.images() for samples in self._samples]
        results = self._results = Results(self._identity())
        if not self._share():
            return False
        for number, samples in enumerate(self._samples):
            point = plan.settings[number][0]
            found = results.find(number)
            if found is not None:
                console.say(f"{said(point) or 'all'}: was done before the last stop")
            else:
                with progress_bar(len(plan.jobs), f"sampling {said(point)}".strip()) as bar:
                    images = samples.images(bar.advance)
                    found = self._measured(images, self._sets[number], point, model.device, lambda _: None)
                results.keep(number, found)
            self._add(found)
        return True

    def shown(self) -> "list[Image]":
        """A sheet of the first images of each point."""
        from bigr_cli.evaluation.image_sets import sheet

        return [sheet(images) for images in self._sets]

    def discard(self) -> None:
        """Delete what was kept for the case of a stop."""
        for samples in self._samples:
            samples.discard()
        if self._results is not None:
            self._results.discard()

    def _share(self) -> bool:
        """With several processes, sample this one's share and wait for the others; False if it is done then."""
        from bigr_cli.runtime.processes import team

        with team() as processes:
            for samples in self._samples if processes.count > 1 else ():
                with progress_bar(-(-len(self._plan.jobs) // processes.count), "sampling") as bar:
                    samples.share(processes.rank, processes.count, bar.advance)
            processes.wait()
        return processes.first

    def _measured(
        self,
        images: "ImageSet",
        again: "ImageSet",
        point: "Point",
        device: "torch.device",
        advance: "Callable[[int], None]",
    ) -> dict[str, Any]:
        """The record of a set of samples, of which files are written if that was asked for.

        `again` is the same set, for another pass.
        """
        from bigr_cli.evaluation.generation import compared

        comparison = self._plan.comparison
        if self._evaluator is None:
            self._evaluator = comparison.evaluator(device, self._machine.batch_size)
        overwrite = self._reporting.overwrite
        record = compared(self._evaluator, comparison, images, again, overwrite=overwrite, advance=advance)
        return ({"task": TASK, "point": point} if point else {"task": TASK}) | record

    def _add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if self._reporting.json:
            console.json_line(record)

    def _identity(self) -> dict[str, Any]:
        """What the results depend on."""
        from bigr_cli.evaluation.generation import versions

        wanted = self._plan.comparison
        return {
            "draws": [str(samples.folder) for samples in self._samples],
            "extractor": wanted.extractor.name if wanted.extractor else None,
            "reference": wanted.reference.identity() if wanted.reference else None,
            "metrics": wanted.metrics,
            "resize": wanted.resize,
            "files": [str(self._sample_options.npz), str(self._sample_options.statistics)],
            "versions": versions(),
        }


def _show(records: Sequence[dict[str, Any]]) -> None:
    """A table on stdout, and what the figures depend on, on stderr."""
    from bigr_cli.evaluation.metrics import ARROWS, GENERATION, columns_of
    from bigr_cli.evaluation.report_pages import REAL
    from bigr_cli.evaluation.report_pages import generation_facts as facts

    swept, columns = list(records[0].get("point", {})), columns_of(GENERATION, records)
    real = records[0].get("real")
    if swept:
        rows = [
            [*(str(record["point"][name]) for name in swept), *(one.cell(record) for one in columns)]
            for record in records
        ]
        if real:
            rows.append([REAL, *[""] * (len(swept) - 1), *(one.cell(real) for one in columns)])
        console.table([*swept, *(one.heading for one in columns)], rows)
    else:
        figures = [records[0], *([real] if real else [])]
        rows = [[f"{one.name}{ARROWS[one.better]}", *(one.cell(each) for each in figures)] for one in columns]
        console.table(("metric", "value", *([REAL] if real else [])), rows)
    for name, text in facts(records[0]):
        console.say(f"{name}: {text}")
