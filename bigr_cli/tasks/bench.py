"""`bigr bench`: how fast this machine is with a model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.options import option
from bigr_cli.options.groups import Messages, Sampling, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import task

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.speed import SamplingSpeed, Training
    from bigr_cli.zoo.config import ModelConfig

TASK = "bench"
SECONDS = 15.0  # that batches of growing sizes may take, if none are given
MEASURING = "Measuring"


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read batch sizes such as "1,8,32"; raises typer.BadParameter unless they are whole numbers of at least 1."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 6 and int(word) >= 1 for word in words):
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers of at least 1, such as 1,8,32")
    return tuple(sorted(set(map(int, words))))


BatchSizes = Annotated[
    Any,
    option(
        "--batch-sizes",
        "Images at once, such as 1,8,32. Without it, 1, 4, 16, ... for about a quarter of a minute.",
        MEASURING,
        metavar="N,...",
        parser=parse_sizes,
    ),
]
Train = Annotated[
    int,
    option(
        "--training-steps",
        "Train a generator of the same sizes for so many steps too, on noise.",
        MEASURING,
        show_default=False,
        min=0,
        max=10_000,
        metavar="N",
    ),
]


@task(
    TASK,
    help="Measure how fast this machine samples, part by part.",
    examples=(
        "bigr bench",
        "bigr bench --batch-sizes 1,8,64 --training-steps 5",
        "bigr bench -m bigr-l-d24 --steps 2 --dtype bfloat16 --batch-sizes 1",
        "bigr bench --json > here.json",
    ),
)
@grouped
def bench(
    batch_sizes: BatchSizes = None,
    training_steps: Train = 0,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    threads: options.Threads = None,
    compile: options.Compile = False,
    json: options.Json = False,
    *,
    sampling: Sampling,
    messages: Messages,
) -> None:
    """A model whose weights are not here is given random ones, which are as fast.

    An iteration has three parts: the transformer, the transcoder, and the rest, random numbers and choosing tokens.
    Decoding and writing are told for each image. The share is what the networks reach of a plain matrix product's
    rate in the same number format, measured before and after.

    Memory is all that the process has at its peak on a CPU, and what torch has on a GPU.
    """
    from bigr_cli.prompts import class_count
    from bigr_cli.runtime.device import measure
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model
    from bigr_cli.zoo.presets import sampling_settings

    folder = find_model(model)
    config = read_config(folder)
    settings = sampling_settings(config, sampling.given)
    class_count(config)
    from bigr_cli.speed import sampling_speeds, trained

    ready = all((folder / file).is_file() for file in config.weight_files)
    loaded = _loaded(model, config, ready=ready, device=device, dtype=dtype, threads=threads, compile=compile)
    said = "" if ready else ", with random weights: its own are not here"
    console.say(f"{loaded.name} on {loaded.device} in {_name(loaded)}{said}")
    before = measure(loaded.device)
    found = []
    with progress_bar(None, "sampling") as bar:
        for speed in sampling_speeds(loaded, settings, batch_sizes, SECONDS):
            found.append(speed)
            bar.describe(f"sampling, {speed.batch} at once done")
    training = None
    if training_steps:
        with progress_bar(None, "training"):
            training = trained(loaded, batch=max(speed.batch for speed in found), steps=training_steps)
    after = measure(loaded.device)
    rates = {name: max(rate, after.get(name, 0.0)) for name, rate in before.items()}
    record = _record(loaded, rates, found, training, random=not ready, compiled=compile) | {"sampling": vars(settings)}
    if json:
        console.json_line(record)
    else:
        _show(record)


def _loaded(
    name: str | None,
    config: "ModelConfig",
    *,
    ready: bool,
    device: str,
    dtype: str,
    threads: int | None,
    compile: bool,
) -> "Model":
    """The model, with random weights if its own are not here."""
    from bigr_cli import model as models
    from bigr_cli.runtime.device import select_device, select_dtype, set_threads

    if ready:
        return models.load(name, device=device, dtype=dtype, threads=threads, compile=compile)
    from bigr_cli.runtime.fast_layers import check_compiler, compile_networks
    from bigr_cli.zoo.loading import random_model

    set_threads(threads)
    chosen = select_device(device)
    if compile:
        check_compiler(chosen)
    network = random_model(config, device=chosen, dtype=select_dtype(dtype, chosen))
    if compile:
        compile_networks(network.generator)
    return models.Model(network, config)


def _name(model: "Model") -> str:
    return str(model.dtype).removeprefix("torch.")


def _record(
    model: "Model",
    rates: dict[str, float],
    found: "Sequence[SamplingSpeed]",
    training: "Training | None",
    *,
    random: bool,
    compiled: bool,
) -> dict[str, Any]:
    """Everything that was measured, as plain data."""
    import torch

    from bigr_cli.runtime import memory
    from bigr_cli.runtime.fast_layers import weight_bytes

    peak = rates.get(_name(model))
    batches = [
        {
            "batch": each.batch,
            "iteration_seconds": {name: round(value, 6) for name, value in each.iteration.items()}
            | {"all": round(sum(each.iteration.values()), 6)},
            "decode_seconds": round(each.decode, 6),
            "write_seconds": round(each.write, 6),
            **_speed(each, peak),
        }
        for each in found
    ]
    trained = None
    if training is not None:
        # Layers compute in the short format, the rest in float32, so the short one's rate is what could be reached.
        trained = {
            "batch": training.batch,
            "steps": training.steps,
            "step_seconds": round(training.seconds, 6),
            **_speed(training, peak),
        }
    return {
        "task": TASK,
        "model": model.name,
        "random_weights": random,
        "device": str(model.device),
        "dtype": _name(model),
        "compiled": compiled,
        "threads": torch.get_num_threads(),
        "rates": {name: round(rate, 1) for name, rate in rates.items()},
        "weights": weight_bytes(model.network),
        "memory_per_picture": memory.sampling_bytes(model.generator.config, model.dtype.itemsize),
        "memory_free": memory.free_memory(model.device),
        "batch_size": model.batch_size(),
        "batches": batches,
        "training": trained,
    }


def _speed(measured: "SamplingSpeed | Training", peak: float | None) -> dict[str, Any]:
    """What sampling and training have both; the share is of `peak`, in GFLOP/s, if that is known."""
    return {
        "pictures_per_second": round(measured.batch / measured.seconds, 4),
        "gflops": round(measured.gflops, 2),
        "share": None if peak is None else round(measured.gflops / peak, 4),
        "memory": measured.memory,
    }


def _show(record: dict[str, Any]) -> None:
    rates = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in record["rates"].items())
    console.result(f"matrix products: {rates}; {record['threads']} threads")
    needs = f"{_megabytes(record['weights'])} of weights, about {_megabytes(record['memory_per_picture'])} an image"
    console.result(
        f"memory: {needs}, {_megabytes(record['memory_free'])} free: {record['batch_size']} at once by default"
    )
    columns = ("at once", "s/iteration", "transformer", "transcoder", "rest", "decode s", "write s", "images/s")
    rows = []
    for each in record["batches"]:
        parts = each["iteration_seconds"]
        seconds = [parts[name] for name in ("all", "transformer", "transcoder", "rest")]
        numbers = [*seconds, each["decode_seconds"], each["write_seconds"], each["pictures_per_second"]]
        cells = [str(each["batch"]), *(f"{number:.3g}" for number in numbers)]
        rows.append([*cells, _share(each), _megabytes(each["memory"])])
    console.table((*columns, "share of peak", "memory"), rows)
    training = record["training"]
    if training is not None:
        speed = f"{training['pictures_per_second']:.3g} images/s, {training['step_seconds']:.3g} s a step"
        more = f"of {training['batch']}, {_share(training)} of peak, {_megabytes(training['memory'])}"
        console.result(f"training: {speed} {more}")


def _share(figures: dict[str, Any]) -> str:
    return "–" if figures["share"] is None else f"{100 * figures['share']:.0f} %"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
