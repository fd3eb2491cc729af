"""`bigr evaluate reconstruction`: how well tokenizers give images back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.evaluation.metrics import choices, named
from bigr_cli.evaluation.reconstruction import RECONSTRUCTION
from bigr_cli.options import argument, option
from bigr_cli.options.groups import Messages, SameModels, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._measuring import EVALUATION, EvaluatorOptions, Reporting, command_line
from bigr_cli.tasks._sheets import sheet_path

if TYPE_CHECKING:
    from bigr_cli.evaluation.image_sets import ImageSet
    from bigr_cli.evaluation.tokenizers import Reconstructions

TASK = "evaluate reconstruction"

Models = Annotated[
    list[str] | None,
    argument("[MODEL]...", "Models whose tokenizers are compared. Names or folders; without one, the default model."),
]
Data = Annotated[str, option("--data", "A folder, tables, arrays or scenes.", options.INPUT, metavar="DIR|scenes")]
Count = Annotated[
    int | None, options.count("How many images. Without it all of a folder, or 5000 scenes.", options.INPUT, most=10**7)
]
Metrics = Annotated[
    str | None,
    option(
        "--metrics",
        f"Which figures, such as psnr,ssim. Some of {choices(RECONSTRUCTION)}; without it, all that can be had.",
        EVALUATION,
        metavar="LIST",
    ),
]
Worst = Annotated[
    Path | None,
    option(
        "--worst",
        "Write a sheet of the 16 worst images of every tokenizer. Originals are above.",
        options.OUTPUT,
        metavar="FILE",
    ),
]


@task(
    TASK,
    panel=UNDERSTAND,
    help="Measure how well tokenizers give images back, and how they use their bits.",
    examples=(
        "bigr evaluate reconstruction --data scenes --worst worst.png",
        "bigr evaluate reconstruction scenes-64 runs/tok --data scenes --count 1000 --report tokenizers/",
        "bigr evaluate reconstruction --data photos/ --refine 100",
        "bigr evaluate reconstruction bigr-l-d24 bigr-xxl-d32 --data photos/ --weights inception.pth",
    ),
)
@grouped
def reconstruction(
    context: typer.Context,
    data: Data,
    models: Models = None,
    model: SameModels = None,
    count: Count = None,
    refine: options.Refine = None,
    metrics: Metrics = None,
    worst: Worst = None,
    batch_size: options.BatchSize = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    *,
    evaluating: EvaluatorOptions,
    reporting: Reporting,
    messages: Messages,
) -> None:
    """PSNR, SSIM and LPIPS of every image, the Fréchet distance of all of them (rFID), and the use of the bits.

    A bit is used if its entropy is above 0.8, and a duplicate if it correlates with an earlier one by more than 0.9.

    LPIPS is measured if its weights are in torch's cache, or with --fetch-weights.
    """
    from bigr_cli.evaluation.tokenizers import distance_extractor, lpips_of, reconstruction_record
    from bigr_cli.runtime.device import select_device, set_threads
    from bigr_cli.zoo.folder import load_tokenizer

    again = command_line(context)
    report = reporting.folder()
    sheet = sheet_path(worst, overwrite=reporting.overwrite)
    rows = named(metrics, RECONSTRUCTION)
    sets = _opened([*(models or ()), *(model or ())] or [None], data, count)
    evaluator, wanted = evaluating.evaluator(), [images for _, images in sets]
    extractor = distance_extractor(evaluator, data, wanted, rows, asked=metrics is not None)
    set_threads(threads)
    chosen = select_device(device)
    records: list[dict[str, Any]] = []
    reconstructions: dict[str, Reconstructions] = {}
    lpips = lpips_of(chosen, rows, fetch=evaluating.fetch_weights, asked=metrics is not None)
    for folder, images in sets:
        tokenizer, config = load_tokenizer(folder, device=chosen)
        with progress_bar(images.count, config.name) as bar:
            record, made = reconstruction_record(
                tokenizer,
                config,
                images,
                where=str(folder),
                extractor=extractor,
                lpips=lpips,
                batch=batch_size,
                refine=refine,
                metrics=rows,
                advance=bar.advance,
            )
        records.append({"task": TASK, **record})
        reconstructions[f"{config.name} ({folder})" if config.name in reconstructions else config.name] = made
        if reporting.json:
            console.json_line(records[-1])
    _finish(records, reconstructions, sheet, report, reporting, again)


def _opened(models: "list[str] | list[None]", data: str, count: int | None) -> "list[tuple[Path, ImageSet]]":
    """Each model's folder, and the images at its size."""
    from bigr_cli.evaluation.tokenizers import images_to_reconstruct
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    found: list[tuple[Path, ImageSet]] = []
    for name in models:
        directory = find_model(name)
        if any(directory.resolve() == other.resolve() for other, _ in found):
            raise UsageError(f"{name}: is given twice")
        found.append((directory, images_to_reconstruct(data, read_config(directory).image_size, count)))
    return found


def _finish(
    records: list[dict[str, Any]],
    reconstructions: "dict[str, Reconstructions]",
    sheet: Path | None,
    report: Path | None,
    reporting: Reporting,
    again: str,
) -> None:
    """Show and write everything."""
    from bigr_cli.evaluation.report_pages import reconstruction_report
    from bigr_cli.imaging.files import write_image
    from bigr_cli.imaging.montage import grid

    try:
        if not reporting.json:
            _show(records)
    finally:  # the files have the figures, even if nobody reads stdout
        if sheet is not None:
            made = [each.sheet() for each in reconstructions.values()]
            write_image(sheet, grid(made, columns=1), overwrite=reporting.overwrite)
            console.say(f"wrote {sheet}")
        if report is not None:
            page = reconstruction_report(records, reconstructions, again)
            reporting.save(report, page)


def _show(records: list[dict[str, Any]]) -> None:
    """A table on stdout, and what the figures depend on, on stderr."""
    from bigr_cli.evaluation.report_pages import reconstruction_facts as facts
    from bigr_cli.evaluation.report_pages import reconstruction_table as table

    shown = table(records)
    if len(records) == 1:
        console.table(("measure", "value"), list(zip(shown.columns, shown.rows[0], strict=True)))
    else:
        console.table(shown.columns, shown.rows)
    for name, text in facts(records[0]):
        console.say(f"{name}: {text}")
