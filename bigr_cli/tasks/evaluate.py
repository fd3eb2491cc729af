"""`bigr evaluate probe`: how well the classes of pictures can be read off what the layers of a model say."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.option_groups import Machine, Messages, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._representation import PictureSeed, loaded

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.representation.logistic import Linear
    from bigr_cli.representation.probe import Score
    from bigr_cli.representation.probe_data import Split

TASK = "evaluate probe"

Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DIR|scenes",
        rich_help_panel=options.INPUT,
        help="A folder with a subfolder a class, or scenes.",
    ),
]
Test = Annotated[
    str | None,
    typer.Option(
        "--test",
        metavar="DIR|scenes",
        rich_help_panel=options.INPUT,
        help="What to test on. Without it, a part of --data that is kept apart.",
        show_default=False,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        min=1,
        metavar="N",
        rich_help_panel=options.INPUT,
        help="Pictures to train on: without it all of a folder, or 2000 scenes.",
        show_default=False,
    ),
]
TestCount = Annotated[
    int | None,
    typer.Option(
        "--test-count",
        min=1,
        metavar="N",
        rich_help_panel=options.INPUT,
        help="Pictures to test on: without it all of --test, a fifth of --data, or 1000 scenes.",
        show_default=False,
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(
        "--save",
        metavar="FILE",
        rich_help_panel=options.OUTPUT,
        help="Keep the best layer's classifier, a .safetensors file, for bigr classify.",
        show_default=False,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        rich_help_panel=options.OUTPUT,
        help="Draw the accuracy by layer, as .svg or .png; needs matplotlib.",
        show_default=False,
    ),
]
SetDefault = Annotated[
    bool,
    typer.Option(
        "--set-default",
        rich_help_panel=options.OUTPUT,
        help="Note the best layer in the model's config.yaml; embed, search and classify take it from there.",
    ),
]


@task(
    TASK,
    help="Measure how well a linear classifier tells classes by each layer's features.",
    examples=(
        "bigr evaluate probe --data scenes",
        "bigr evaluate probe --data photos/train --test photos/val --json",
        "bigr evaluate probe --data scenes --plot layers.svg --save probe.safetensors",
        "bigr evaluate probe --data photos/ -m runs/mine --set-default",
    ),
)
@grouped
def probe(
    data: Data,
    test: Test = None,
    model: options.Model = None,
    count: Count = None,
    test_count: TestCount = None,
    seed: PictureSeed = 0,
    save: Save = None,
    plot: Plot = None,
    set_default: SetDefault = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """One pass over the pictures gives the features of all layers: the mean over the tokens, without a label.

    Beside them stand pixels (at most 32 × 32), the codes, the mean of the encoder's output, and the middle layer of a
    generator that was never trained.

    Weight decay and the best layer are chosen on a fifth of the training pictures; the test set has no say in it.
    """
    began = time.perf_counter()
    from bigr_cli.evaluation.layer_plot import check_plot
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.representation.probe_files import check_probe_path
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    save, plot = (path and path.expanduser() for path in (save, plot))
    if save is not None:
        check_probe_path(save)
    if plot is not None:
        check_plot(plot)
    check_targets([path for path in (save, plot) if path is not None], overwrite=overwrite)
    folder = find_model(model)
    config = read_config(folder)
    from bigr_cli.representation.probe_data import open_split

    split = open_split(
        data, test, config.image_size, count=count, test_count=test_count, seed=seed, background=config.ground
    )
    network = loaded(model, machine)
    rows, classifiers = _measured(network, split, machine.batch_size or network.coding_batch_size(), seed)
    best = max((row for row in rows if row[1] is not None), key=lambda row: (row[2].held_out, -row[2].held_out_loss))
    layer = int(best[1] or 0)
    with ExitStack() as steps:  # the last one first; one that fails, such as for a closed stdout, stops no other
        if json:
            sizes = {"train": len(split.train), "test": len(split.test), "classes": len(split.labels)}
            facts = {"task": TASK, "model": network.name, "data": data, "test_data": test, "seed": seed, **sizes}
            files = {"path": save, "plot": plot, "default_layer": layer if set_default else None}
            seconds = round(time.perf_counter() - began, 3)
            records = [_record(*row) for row in rows]
            record = {**facts, "best": _record(*best), "rows": records, **files, "seconds": seconds}
            steps.callback(console.json_line, record)
        if set_default:
            steps.callback(_make_default, folder, network.name, layer)
        if plot is not None:
            title = f"{network.name} on {data}, {len(split.train)} pictures"
            steps.callback(_plot, plot, rows, layer, title, overwrite=overwrite)
        if save is not None:
            steps.callback(_save, save, network, classifiers[layer], split, layer, overwrite=overwrite)
        if not json:
            held_out = f"by the pictures held out of {len(split.train)}; {len(split.test)} to test"
            steps.callback(console.say, f"best layer: {layer}, {held_out}")
            steps.callback(_show, rows, layer)


def _make_default(folder: Path, name: str, layer: int) -> None:
    from bigr_cli.zoo.default_layer import set_default_layer

    set_default_layer(folder, layer)
    console.say(f"{name}: features are of layer {layer} where none is named")


Row = tuple[str, int | None, "Score"]


def _measured(model: "Model", split: "Split", batch: int, seed: int) -> "tuple[list[Row], list[Linear]]":
    """A row for each kind of features, and the classifiers of the layers."""
    import torch

    from bigr_cli.core.representation import middle_layer
    from bigr_cli.representation.probe import probe as probed
    from bigr_cli.representation.probe_data import CODES, ENCODER, LAYERS, PIXELS, RANDOM, collect, untrained

    middle = middle_layer(model.generator.config.layers)
    random = untrained(model.generator, seed)
    with console.progress(len(split.train) + len(split.test), "looking at pictures") as bar:
        train, test = (
            collect(model.network, random, part, batch=batch, layer=middle, advance=bar.advance)
            for part in (split.train, split.test)
        )
    targets, test_targets = torch.from_numpy(split.train.targets), torch.from_numpy(split.test.targets)
    rows: list[Row] = []
    layers: list[Linear] = []
    with console.progress(sum(map(len, train.values())), "training classifiers") as bar:
        for name in (PIXELS, CODES, ENCODER, RANDOM, LAYERS):
            for known, unknown in zip(train.pop(name), test.pop(name), strict=True):
                score, linear = probed(
                    known, targets, unknown, test_targets, len(split.labels), seed=seed, device=model.device
                )
                rows.append(("generator", len(layers), score) if name == LAYERS else (name, None, score))
                layers += [linear] if name == LAYERS else []
                bar.advance()
    return rows, layers


def _save(path: Path, model: "Model", linear: "Linear", split: "Split", layer: int, *, overwrite: bool) -> None:
    from bigr_cli.representation.features import wanted_features
    from bigr_cli.representation.probe_files import Probe, save_probe
    from bigr_cli.representation.provenance import about

    known = about(wanted_features(model.config, layer=layer), model.config, model.name, model.folder)
    weight, bias = linear.folded()
    save_probe(path, Probe(weight, bias, split.labels, known), overwrite=overwrite)
    console.say(f"wrote {path}")


def _plot(path: Path, rows: "list[Row]", best: int, title: str, *, overwrite: bool) -> None:
    from bigr_cli.evaluation.layer_plot import write_layer_plot
    from bigr_cli.representation.probe import NEIGHBOURS

    layers = [score for _, layer, score in rows if layer is not None]
    curves = {
        "linear classifier": [score.top1 for score in layers],
        f"{NEIGHBOURS} nearest": [score.neighbours for score in layers],
    }
    baselines = {name: score.top1 for name, layer, score in rows if layer is None}
    write_layer_plot(path, curves, baselines, best=best, title=title, overwrite=overwrite)
    console.say(f"wrote {path}")


def _record(name: str, layer: int | None, score: "Score") -> dict[str, Any]:
    shares = {"top1": score.top1, "top5": score.top5, "knn": score.neighbours, "held_out": score.held_out}
    rounded = {key: None if value is None else round(value, 6) for key, value in shares.items()}
    return {"features": name, "layer": layer, **rounded, "weight_decay": score.decay}


def _show(rows: "list[Row]", best: int) -> None:
    columns = ("features", "layer", "top-1", "top-5", "k-NN", "held out", "decay")
    console.table(columns, [_cells(*row, best=best) for row in rows])


def _cells(name: str, layer: int | None, score: "Score", *, best: int) -> list[str]:
    mark = " *" if layer == best else ""
    shares = (score.top1, score.top5, score.neighbours, score.held_out)
    return [
        name,
        "" if layer is None else f"{layer}{mark}",
        *("–" if share is None else f"{100 * share:.1f} %" for share in shares),
        f"{score.decay:g}",
    ]
