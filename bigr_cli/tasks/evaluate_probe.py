"""`bigr evaluate probe`: how well the classes of images can be read off what the layers of a model say."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.options import option
from bigr_cli.options.groups import Machine, Messages, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._measuring import ImageSeed, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from bigr_cli.model import Model
    from bigr_cli.representation.probe import Probed, Row
    from bigr_cli.representation.probe_data import Split
    from bigr_cli.representation.probe_files import Probe

TASK = "evaluate probe"
FEATURES = "Features"

Data = Annotated[
    str, option("--data", "A folder with a subfolder a class, or scenes.", options.INPUT, metavar="DIR|scenes")
]
Test = Annotated[
    str | None,
    option(
        "--test",
        "What to test on. Without it, a part of --data that is kept apart.",
        options.INPUT,
        metavar="DIR|scenes",
    ),
]
Count = Annotated[
    int | None, options.count("Images to train on. Without it all of a folder, or 2000 scenes.", options.INPUT)
]
TestCount = Annotated[
    int | None,
    option(
        "--test-count",
        "Images to test on. Without it all of --test, a fifth of --data, or 1000 scenes.",
        options.INPUT,
        min=1,
        metavar="N",
    ),
]
Layer = Annotated[
    str | None,
    option(
        "--layer",
        "Which block, 0 is the first; 4,6 puts several side by side. Without it all, each by itself.",
        FEATURES,
        metavar="N|N,M|all",
    ),
]
Pool = Annotated[
    Literal["mean", "grid2", "grid3", "grid4", "attention"] | None,
    option(
        "--pool",
        "mean over the tokens, or over cells of a grid: grid2 to grid4. "
        "With attention, a query for each class, trained with the classifier, says which tokens count. "
        "Without it, what the model's config says, or mean.",
        FEATURES,
        metavar="NAME",
    ),
]
Save = Annotated[
    Path | None,
    option(
        "--save",
        "Keep the best layer's classifier, a .safetensors file, for bigr classify.",
        options.OUTPUT,
        metavar="FILE",
    ),
]
Plot = Annotated[
    Path | None, option("--plot", "Draw the accuracy by layer, as .svg or .png.", options.OUTPUT, metavar="FILE")
]
SetDefault = Annotated[
    bool,
    option(
        "--set-default",
        "Note the best layer and --pool in the model's config, as its defaults.",
        options.OUTPUT,
    ),
]


@task(
    TASK,
    panel=UNDERSTAND,
    help="Measure how well a linear classifier tells classes by each layer's features.",
    examples=(
        "bigr evaluate probe --data scenes",
        "bigr evaluate probe --data photos/train --test photos/val --json",
        "bigr evaluate probe --data scenes --plot layers.svg --save probe.safetensors",
        "bigr evaluate probe --data photos/ -m runs/mine --set-default",
        "bigr evaluate probe --data scenes --pool attention --layer 4,6",
    ),
)
@grouped
def probe(
    data: Data,
    test: Test = None,
    model: options.Model = None,
    count: Count = None,
    test_count: TestCount = None,
    seed: ImageSeed = 0,
    layer: Layer = None,
    pool: Pool = None,
    save: Save = None,
    plot: Plot = None,
    set_default: SetDefault = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """One pass over the images gives the features of all layers: the mean over the tokens, or what --pool says, without
    a label.

    Beside them stand pixels (at most 32 × 32), the codes, the mean of the encoder's output, and the middle layer of a
    generator that was never trained.

    Weight decay and the best layer are chosen on a fifth of the training images; the test set has no say in it.
    """
    began = time.perf_counter()
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    save, plot = _checked(save, plot, overwrite=overwrite)
    folder = find_model(model)
    config = read_config(folder)
    from bigr_cli.representation.probe import probe_features
    from bigr_cli.representation.probe_data import open_split

    wanted = probe_features(config, layer, pool)
    if plot is not None and not wanted.every:
        raise UsageError("--plot draws the accuracy by layer: leave --layer out, and --pool attention")
    if set_default and not wanted.every and len(wanted.layers) > 1:
        raise UsageError("--set-default notes one layer, not several side by side", hint="leave --layer out")
    counts = {"count": count, "test_count": test_count}
    split = open_split(data, test, config.image_size, seed=seed, background=config.ground, **counts)
    network = loaded(model, machine)
    found = _probed(network, split, machine, seed=seed, layer=layer, pool=pool)
    best = found.layer
    with ExitStack() as after:  # the last one first; one that fails, such as for a closed stdout, stops no other
        if json:
            facts = {"task": TASK, "model": network.name, "data": data, "test_data": test, "seed": seed}
            files = {"path": save, "plot": plot, "default_layer": best if set_default else None}
            seconds = round(time.perf_counter() - began, 3)
            after.callback(console.json_line, {**facts, **found.record(), **files, "seconds": seconds})
        if set_default:
            after.callback(_make_default, folder, network.name, int(best), found.pool)
        if plot is not None:
            title = f"{network.name} on {data}, {found.train} images"
            after.callback(_plot, plot, found, title, overwrite=overwrite)
        if save is not None:
            after.callback(_save, save, found.classifier(network), overwrite=overwrite)
        if not json:
            chosen = f"best layer: {best}, by the images held out of {found.train}" if wanted.every else f"layer {best}"
            after.callback(console.say, f"{chosen}; {found.test} to test")
            after.callback(_show, found)


def _checked(save: Path | None, plot: Path | None, *, overwrite: bool) -> tuple[Path | None, Path | None]:
    """The files that are to be written, which can be."""
    from bigr_cli.evaluation.report_pages import check_plot
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.representation.probe_files import check_probe_path

    save, plot = (path and path.expanduser() for path in (save, plot))
    if save is not None:
        check_probe_path(save)
    if plot is not None:
        check_plot(plot)
    check_targets([path for path in (save, plot) if path is not None], overwrite=overwrite)
    return save, plot


def _probed(network: "Model", split: "Split", machine: Machine, **how: Any) -> "Probed":
    """The probe of each layer; a bar for each of its steps."""
    from bigr_cli.representation.probe import probe_layers

    batch = machine.batch_size or network.coding_batch_size()
    with ExitStack() as bars:

        def steps(text: str, total: int) -> "Callable[[int], None]":
            bars.close()
            return bars.enter_context(progress_bar(total, text)).advance

        return probe_layers(network, split, batch=batch, steps=steps, **how)


def _make_default(folder: Path, name: str, layer: int, pool: str) -> None:
    from bigr_cli.zoo.config import POOLS, set_default_layer

    pool = pool if pool in POOLS else "mean"
    set_default_layer(folder, layer, pool)
    pooled = "" if pool == "mean" else f", pooled by {pool},"
    console.say(f"{name}: features are of layer {layer}{pooled} where none is named")


def _save(path: Path, probe: "Probe", *, overwrite: bool) -> None:
    from bigr_cli.representation.probe_files import save_probe

    save_probe(path, probe, overwrite=overwrite)
    console.say(f"wrote {path}")


def _plot(path: Path, found: "Probed", title: str, *, overwrite: bool) -> None:
    from bigr_cli.evaluation.report_pages import write_layer_plot
    from bigr_cli.representation.probe import NEIGHBOURS

    layers = [row.score for row in found.rows if row.layer is not None]
    curves = {
        "linear classifier": [score.top1 for score in layers],
        f"{NEIGHBOURS} nearest": [score.neighbours for score in layers],
    }
    baselines = {row.features: row.score.top1 for row in found.rows if row.layer is None}
    write_layer_plot(path, curves, baselines, best=int(found.layer), title=title, overwrite=overwrite)
    console.say(f"wrote {path}")


def _show(found: "Probed") -> None:
    columns = ("features", "layer", "top-1", "top-5", "k-NN", "held out", "decay")
    console.table(columns, [_cells(row, best=found.layer) for row in found.rows])


def _cells(row: "Row", *, best: int | str) -> list[str]:
    mark, score = " *" if row.layer == best else "", row.score
    shares = (score.top1, score.top5, score.neighbours, score.held_out)
    return [
        row.features,
        "" if row.layer is None else f"{row.layer}{mark}",
        *("–" if share is None else f"{100 * share:.1f} %" for share in shares),
        f"{score.decay:g}",
    ]
