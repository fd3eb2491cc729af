"""`bigr evaluate reconstruction`: how well tokenizers give pictures back."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.option_groups import Messages, grouped
from bigr_cli.registry import task
from bigr_cli.runtime import memory
from bigr_cli.tasks import _evaluation
from bigr_cli.tasks._evaluation import Judging, Reporting

if TYPE_CHECKING:
    import torch

    from bigr_cli.evaluation.extractors import Extractor
    from bigr_cli.evaluation.image_sets import PictureSet
    from bigr_cli.evaluation.tokenizers import Rebuilt

TASK = "evaluate reconstruction"
MANY = 5000  # scenes, unless another number is asked for
SHOWN = 16  # of the worst pictures
AT_ONCE = 64

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="Models by name or folder, of which the tokenizers are compared; without one, the default model.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option("--data", metavar="DIR|scenes", rich_help_panel=options.INPUT, help="A folder, or scenes."),
]
Count = Annotated[
    int | None,
    typer.Option(
        *("-n", "--count"),
        min=1,
        max=10**7,
        metavar="N",
        rich_help_panel=options.INPUT,
        help="How many pictures: without it all of a folder, or 5000 scenes.",
        show_default=False,
    ),
]
Worst = Annotated[
    Path | None,
    typer.Option(
        "--worst",
        metavar="FILE",
        rich_help_panel=options.OUTPUT,
        help=f"Write a sheet of the {SHOWN} worst pictures of every tokenizer, originals above.",
        show_default=False,
    ),
]


@task(
    TASK,
    help="Measure how well tokenizers give pictures back, and how they use their bits.",
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
    count: Count = None,
    refine: options.Refine = None,
    worst: Worst = None,
    batch_size: options.BatchSize = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    *,
    judging: Judging,
    reporting: Reporting,
    messages: Messages,
) -> None:
    """PSNR, SSIM and LPIPS of every picture, the Fréchet distance of all of them (rFID), and the use of the bits.

    A bit is used if its entropy is above 0.8, and a duplicate if it correlates with an earlier one by more than 0.9.

    LPIPS is measured if its weights are in torch's cache, or with --fetch-weights.
    """
    from bigr_cli.runtime.device import select_device, set_threads

    again = _evaluation.command_line(context)
    report = _evaluation.check_report(reporting)
    sheet = _checked(worst, overwrite=reporting.overwrite)
    sets = _opened(models or [None], data, count)
    extractor = _judge(judging, data, [pictures for _, pictures in sets])
    set_threads(threads)
    chosen = select_device(device)
    records, rebuilt = [], {}
    lpips = _lpips(chosen, fetch=judging.fetch_weights)
    for folder, pictures in sets:
        name, record, made = _measured(folder, pictures, extractor, lpips, chosen, batch_size, refine)
        if name in rebuilt:
            name = f"{name} ({folder})"
        records.append(record)
        rebuilt[name] = made
        if reporting.json:
            console.json_line(record)
    _finish(records, rebuilt, sheet, report, reporting, again)


def _checked(worst: Path | None, *, overwrite: bool) -> Path | None:
    """The file for the sheet, which can be written."""
    if worst is None:
        return None
    from bigr_cli.imaging.files import check_targets, kind_of

    path = worst.expanduser()
    kind_of(path)
    check_targets([path], overwrite=overwrite)
    return path


def _opened(models: "list[str] | list[None]", data: str, count: int | None) -> "list[tuple[Path, PictureSet]]":
    """Each model's folder, and the pictures at its size."""
    from bigr_cli.data.sources import SCENES
    from bigr_cli.evaluation.image_sets import folder, scenes
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    found: list[tuple[Path, PictureSet]] = []
    for name in models:
        directory = find_model(name)
        if any(directory.resolve() == other.resolve() for other, _ in found):
            raise UsageError(f"{name}: is given twice")
        size = read_config(directory).image_size
        pictures = scenes(size, count or MANY) if data == SCENES else folder(Path(data), count=count, resize=size)
        found.append((directory, pictures))
    return found


def _judge(judging: Judging, data: str, sets: "list[PictureSet]") -> "Extractor | None":
    """What rFID is taken with; None, and a word about it, where nothing was asked for and nothing is at hand."""
    from bigr_cli.evaluation.extractors import SCENES
    from bigr_cli.evaluation.fidelity import check_counts

    asked = judging.features is not None or judging.weights is not None or judging.fetch_weights
    try:
        extractor = _evaluation.open_judge(judging, scenes=data == SCENES)
        for pictures in sets:
            extractor.check_size(pictures.width, pictures.height, pictures.what)
    except UsageError as error:
        if asked:
            raise
        console.warn(f"rFID is left out: {error}")
        return None
    for pictures in sets:
        check_counts(("fid",), [(pictures.what, pictures.count)])
    return extractor


def _lpips(device: "torch.device", *, fetch: bool) -> Any:
    """LPIPS if its weights are here or may be fetched."""
    from bigr_cli.evaluation.pretrained import lpips_at_hand
    from bigr_cli.evaluation.tokenizers import load_lpips

    return load_lpips(device) if fetch or lpips_at_hand() else None


def _measured(
    folder: Path,
    pictures: "PictureSet",
    extractor: "Extractor | None",
    lpips: Any,
    device: "torch.device",
    asked: int | None,
    refine: int | None,
) -> "tuple[str, dict[str, Any], Rebuilt]":
    """A tokenizer's name, its record and what was measured of it."""
    from bigr_cli.evaluation.generation import versions
    from bigr_cli.evaluation.pretrained import LPIPS
    from bigr_cli.evaluation.tokenizers import measure_tokenizer
    from bigr_cli.zoo.config import TOKENIZER_FILE
    from bigr_cli.zoo.folder import load_tokenizer

    began = time.perf_counter()
    tokenizer, config = load_tokenizer(folder, device=device)
    refine = config.refine if refine is None else refine
    each = memory.refining_bytes(config.tokenizer) if refine else memory.coding_bytes(config.tokenizer)
    batch = asked or min(AT_ONCE, memory.fitting(each, memory.free_memory(device)))
    with console.progress(pictures.count, config.name) as bar:
        made = measure_tokenizer(
            tokenizer,
            pictures,
            extractor=extractor,
            lpips=lpips,
            batch=batch,
            shown=min(SHOWN, pictures.count),
            refine=refine,
            advance=bar.advance,
        )
    judge = None if extractor is None else {**extractor.about, "layer": extractor.layers["fid"]}
    record = {
        "task": TASK,
        "model": config.name,
        "folder": str(folder),
        "weights": config.sha256.get(TOKENIZER_FILE),
        "tokens": tokenizer.config.grid**2,
        "bits": tokenizer.config.bits,
        "refine": refine,
        **made.figures,
        "pictures": pictures.record(),
        "extractor": judge,
        "lpips_by": None if lpips is None else f"torch-fidelity, {LPIPS}",
        "device": device.type,
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 3),
    }
    return config.name, record, made


def _finish(
    records: list[dict[str, Any]],
    rebuilt: "dict[str, Rebuilt]",
    sheet: Path | None,
    report: Path | None,
    reporting: Reporting,
    again: str,
) -> None:
    """Show and write everything."""
    from bigr_cli.evaluation.report import write_report
    from bigr_cli.evaluation.report_reconstruction import reconstruction_report
    from bigr_cli.imaging.files import write_image
    from bigr_cli.imaging.grids import grid

    try:
        if not reporting.json:
            _show(records)
    finally:  # the files have the figures, even if nobody reads stdout
        if sheet is not None:
            made = [each.sheet() for each in rebuilt.values()]
            write_image(sheet, grid(made, columns=1), overwrite=reporting.overwrite)
            console.say(f"wrote {sheet}")
        if report is not None:
            page = reconstruction_report(records, rebuilt, again)
            write_report(report, page, overwrite=reporting.overwrite)
            console.say(f"wrote {report / 'index.html'}")


def _show(records: list[dict[str, Any]]) -> None:
    """A table on stdout, and what the figures depend on, on stderr."""
    from bigr_cli.evaluation.report_reconstruction import facts, table

    shown = table(records)
    if len(records) == 1:
        console.table(("measure", "value"), list(zip(shown.columns, shown.rows[0], strict=True)))
    else:
        console.table(shown.columns, shown.rows)
    for name, text in facts(records[0]):
        console.say(f"{name}: {text}")
