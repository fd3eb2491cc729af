"""What the comparisons share: their options, what is measured of a model, and how it comes into docs/evidence.md."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generation import draw, judged
from plotting import Panel, write_plot
from work import Work

from bigr_cli.files import atomic_write
from bigr_cli.model import Model, load
from bigr_cli.runtime.device import model_name

ROOT = Path(__file__).resolve().parents[2]
COUNT = 128  # images a set: eight of each label
WARM = 4  # images drawn before the clock runs
SET = 1_000_000  # the first seed of each set of images: this times its number
PAGE = ROOT / "docs" / "evidence.md"
RESULTS = Path(__file__).resolve().parent / "results"

Row = dict[str, Any]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Column:
    """A column of the table: of every row, the mean and spread of what its repeats have under `key`."""

    key: str
    title: str
    decimals: int = 1


QUALITY = (Column("recognised_%", "recognised in %"), Column("frechet", "Fréchet distance"))
TIME = Column("milliseconds", "ms per image", 0)
TRAINING = Column("training", "s to train", 0)


def parser(text: str | None, *, count: int, repeats: str, default: int = 3) -> argparse.ArgumentParser:
    """The options of every comparison."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--work", type=Path, default=ROOT / "runs" / "paper", help="where what is done is kept")
    made.add_argument("--count", type=int, default=count, help=f"images a set (default {count})")
    made.add_argument("--real", type=int, default=4096, help="real scenes to compare with (default 4096)")
    made.add_argument("--repeats", type=int, default=default, help=f"{repeats} (default {default})")
    made.add_argument("--json", action="store_true", help="print the results, and leave the repository as it is")
    return made


def trained_parser(text: str | None, *, count: int = COUNT) -> argparse.ArgumentParser:
    """The options of a comparison that trains its models."""
    made = parser(text, count=count, repeats="trainings, each with a seed of its own", default=2)
    made.add_argument("--steps", type=int, help="of each generator's training, instead of those in generator.yaml")
    return made


def images(work: Work, model: str, settings: Mapping[str, Any], options: argparse.Namespace, number: int) -> Row:
    """What set `number` of a model's images is worth, and the processor's milliseconds an image, with one thread."""
    identity = {"model": weights(model), "settings": dict(settings), "set": number}
    identity |= {"count": options.count, "real": options.real}

    def measure() -> Row:
        loaded = opened(model)
        chosen = loaded.settings(**settings)
        (images, labels, _), milliseconds = timed(
            lambda count, seed: draw(loaded, count, chosen, seed=seed, batch_size=None), WARM, options.count, number
        )
        found = judged(images, labels, real=options.real, device="cpu")
        return {
            "recognised_%": found["recognised_%"],
            "strict_%": found["strict_%"],
            "frechet": found["frechet"],
            "nearest": found["nearest_embedding"],
            "milliseconds": milliseconds,
        }

    return work.measured("images", identity, measure)


def timed(sample: Callable[[int, int], Made], warm: int, count: int, number: int) -> tuple[Made, float]:
    """What `sample` makes of a count and the first seed of set `number`, and the processor's milliseconds an image.

    With one thread, after `warm` images that do not count.
    """
    torch.set_num_threads(1)
    sample(warm, 0)
    start = time.process_time()
    made = sample(count, number * SET)
    return made, 1000 * (time.process_time() - start) / count


def probe(
    work: Work, model: str, *, count: int, test_count: int, seed: int, data: str = "scenes", test: str = ""
) -> Row:
    """The accuracy of a linear probe, in %, of each layer and of the best, which the training images choose."""
    identity = {"model": weights(model), "count": count, "test": test_count, "seed": seed}
    identity |= {} if data == "scenes" else {"data": data}
    words = ["--data", data, "--count", count, "--test-count", test_count, "--seed", seed, "--threads", 1]
    words += ["--test", test] if test else []

    def measure() -> Row:
        command = [sys.executable, "-m", "bigr_cli", "evaluate", "probe", "--model", model, *words, "--json", "-q"]
        found = json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout)
        layers = [100 * row["top1"] for row in found["rows"] if row["layer"] is not None]
        others = {row["features"]: 100 * row["top1"] for row in found["rows"] if row["layer"] is None}
        return {"probe_%": 100 * found["best"]["top1"], "layer": found["best"]["layer"], "layers": layers} | others

    return work.measured("probe", identity, measure)


@cache
def opened(model: str) -> Model:
    """A model in float32 on the CPU."""
    return load(model, device="cpu", dtype="float32")


def named(found: Mapping[tuple[Any, ...], list[Row]], *names: str) -> list[Row]:
    """Rows of a table: the parts of each key under these names, and what was found as `repeats`."""
    return [{**dict(zip(names, key, strict=True)), "repeats": repeats} for key, repeats in found.items()]


def report(
    name: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    options: argparse.Namespace,
    work: Work,
    *,
    repeats: str,
    panels: Sequence[Panel],
    script: str = "",
) -> None:
    """Print the table; unless --json was given, keep the results and refresh table and plot in docs/evidence.md.

    Args:
        rows: each has `repeats`, a list of what was found, and under other names what it is a row of.
        repeats: what one repeat is, such as "sets of 160 images".
        panels: of the plot.
        script: what is run to get it, without its options, if that is not NAME.py.
    """
    results: dict[str, Any] = {
        "comparison": name,
        "command": f"python benchmarks/paper/{script or f'{name}.py'} {_given(options)}",
        "processor": model_name(torch.device("cpu")),
        "torch": torch.__version__,
        "cpu_seconds": round(work.seconds),
        "repeats": repeats,
        "rows": rows,
    }
    if options.json:
        print(json.dumps(results))
        return
    table = markdown(rows, columns)
    print(table)
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    image = f"paper-{name}.png"
    write_plot(PAGE.parent / "images" / image, rows, panels)
    cost = f"{work.seconds / 60:.0f} minutes of one core"
    foot = f"`{results['command'].strip()}`: {repeats}; {cost} ({results['processor']}, torch {results['torch']})."
    block = f"{table}\n\n{foot}\n\n![{panels[0].title}, {name}](images/{image})"
    with atomic_write(PAGE) as temporary:
        temporary.write_text(refreshed(PAGE.read_text(encoding="utf-8"), name, block), encoding="utf-8")


def markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """The table: what a row is of, then "mean ± standard deviation over the repeats" for each column."""
    names = [key for key in rows[0] if key != "repeats"]
    lines = [[*names, *(column.title for column in columns), "repeats"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        shown = [str(row[name]) for name in names]
        lines.append([*shown, *(_spread(row["repeats"], column) for column in columns), str(len(row["repeats"]))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def refreshed(page: str, name: str, block: str) -> str:
    """The page with what is between `<!-- NAME -->` and `<!-- /NAME -->` replaced. Raises ValueError if it has none."""
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not place.search(page):
        raise ValueError(f"expected a place for {name!r}: <!-- {name} --> and <!-- /{name} -->")
    return place.sub(lambda found: f"{found[1]}{block}\n{found[2]}", page)


def _spread(repeats: Sequence[Row], column: Column) -> str:
    values = [repeat[column.key] for repeat in repeats if column.key in repeat]
    if not values:
        return "—"
    mean = f"{statistics.mean(values):.{column.decimals}f}"
    return f"{mean} ± {statistics.stdev(values):.{column.decimals}f}" if len(values) > 1 else mean


def weights(model: str) -> dict[str, str]:
    return dict(opened(model).config.sha256)


def _given(options: argparse.Namespace) -> str:
    left_out = ("work", "json", "only")
    given = ((key, value) for key, value in vars(options).items() if key not in left_out and value is not None)
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in given)
