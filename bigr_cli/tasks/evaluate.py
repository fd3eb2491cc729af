"""`bigr evaluate probe`: how well the classes of pictures can be read off what the layers of a model say."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.option_groups import Machine, Messages, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._representation import loaded

if TYPE_CHECKING:
    from bigr_cli.api import Model
    from bigr_cli.evaluation.logistic import Linear
    from bigr_cli.evaluation.probe import Score
    from bigr_cli.evaluation.probe_data import Split

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
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        max=2**31,
        metavar="N",
        rich_help_panel=options.INPUT,
        help="Which pictures are taken, and in which order.",
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


@task(
    TASK,
    help="Measure how well a linear classifier tells classes by each layer's features.",
    examples=(
        "bigr evaluate probe --data scenes",
        "bigr evaluate probe --data photos/train --test photos/val --json",
        "bigr evaluate probe --data scenes --count 2000 --save probe.safetensors",
    ),
)
@grouped
def probe(
    data: Data,
    test: Test = None,
    model: options.Model = None,
    count: Count = None,
    test_count: TestCount = None,
    seed: Seed = 0,
    save: Save = None,
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
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    began = time.perf_counter()
    if save is not None:
        from bigr_cli.evaluation.probe_files import check_probe_path

        save = save.expanduser()
        check_probe_path(save)
        check_targets([save], overwrite=overwrite)
    config = read_config(find_model(model))
    from bigr_cli.evaluation.probe_data import open_split

    split = open_split(data, test, config.image_size, count=count, test_count=test_count, seed=seed)
    network = loaded(model, machine)
    rows, classifiers = _measured(network, split, machine.batch_size or network.batch_size(), seed)
    best = max((row for row in rows if row[1] is not None), key=lambda row: (row[2].held_out, -row[2].held_out_loss))
    layer = int(best[1] or 0)
    if save is not None:
        _save(save, network, classifiers[layer], split, layer, overwrite=overwrite)
    if json:
        sizes = {"train": len(split.train), "test": len(split.test), "classes": len(split.labels)}
        facts = {"task": TASK, "model": network.name, "data": data, "test_data": test, "seed": seed, **sizes}
        records = [_record(*row) for row in rows]
        seconds = round(time.perf_counter() - began, 3)
        console.json_line({**facts, "best": _record(*best), "rows": records, "path": save, "seconds": seconds})
        return
    console.table(
        ("features", "layer", "top-1", "top-5", "k-NN", "held out", "decay"),
        [_cells(*row, best=best[1]) for row in rows],
    )
    console.say(f"best layer: {layer}, by the pictures held out of {len(split.train)}; {len(split.test)} to test on")
    if save is not None:
        console.say(f"wrote {save}")


Row = tuple[str, int | None, "Score"]


def _measured(model: "Model", split: "Split", batch: int, seed: int) -> "tuple[list[Row], list[Linear]]":
    """A row for each kind of features, and the classifiers of the layers."""
    import torch

    from bigr_cli.core.representation import middle_layer
    from bigr_cli.evaluation.probe import probe as probed
    from bigr_cli.evaluation.probe_data import CODES, ENCODER, LAYERS, PIXELS, RANDOM, collect, untrained

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
    from bigr_cli.evaluation.about import about
    from bigr_cli.evaluation.features import wanted_features
    from bigr_cli.evaluation.probe_files import Probe, save_probe

    known = about(wanted_features(model.config, layer=layer), model.config, model.name, model.folder)
    weight, bias = linear.folded()
    save_probe(path, Probe(weight, bias, split.labels, known), overwrite=overwrite)


def _record(name: str, layer: int | None, score: "Score") -> dict[str, Any]:
    shares = {"top1": score.top1, "top5": score.top5, "knn": score.neighbours, "held_out": score.held_out}
    rounded = {key: None if value is None else round(value, 6) for key, value in shares.items()}
    return {"features": name, "layer": layer, **rounded, "weight_decay": score.decay}


def _cells(name: str, layer: int | None, score: "Score", *, best: int | None) -> list[str]:
    mark = " *" if layer is not None and layer == best else ""
    shares = (score.top1, score.top5, score.neighbours, score.held_out)
    return [
        name,
        "" if layer is None else f"{layer}{mark}",
        *("–" if share is None else f"{100 * share:.1f} %" for share in shares),
        f"{score.decay:g}",
    ]
