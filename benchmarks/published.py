"""The five published sizes with random weights: import, load, draw, and every task, with seconds and memory.

    python benchmarks/published.py                                        # import and load all five
    python benchmarks/published.py --draw --models bigr-l-d24             # and draw an image
    python benchmarks/published.py --form                                 # the published form, imported and pulled
    python benchmarks/published.py --tasks --models bigr-l-d24 bigr-l-d32-512

For each card the script writes the two files in the form in which they are published, of the card's architecture, with
random weights; the largest have 6 GB, and three times as much must be free on the disk while a model is looked at.
`bigr models import` and the rest are processes of their own. Their peak memory is told twice: "resident" is all that
the system counts (`ru_maxrss`), with the pages of mapped files, which it takes back whenever it needs them; "own" is
what it cannot take back (RssAnon + RssShmem, looked at fifty times a second).

"CPU seconds" are those on a processor, all threads together, which say more than "seconds" on a machine that is shared.

`--form` writes the files as the published training saves them, the tokenizer with its discriminator and perceptual
network, compares their sizes with the published ones, imports them, pulls them from the hub of the tests (the largest
excepted), and compares the weights with those made of the autoencoder alone.

`--tasks` sends a model through import, every task with settings as cheap as they can be, export in the published form
and import again, and compares the weights' hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import mmap
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import training_files
from tables import show
from torch import Tensor, nn

from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.export import published_generator, published_tokenizer
from bigr_cli.zoo.find import packaged_models

NAMES = ("bigr-l-d24", "bigr-xl-d24", "bigr-xxl-d24", "bigr-xxl-d32", "bigr-l-d32-512")
BIGR = [sys.executable, "-m", "bigr_cli"]
LOADING = """
import sys, time
import bigr_cli
start = time.perf_counter()
model = bigr_cli.load(sys.argv[1], device="cpu", dtype=sys.argv[2])
print(time.perf_counter() - start)
for tensor in model.network.parameters():
    tensor.sum()  # weights that are mapped count as memory once they were used
"""
DRAWING = """
import json, sys, time
import bigr_cli
from bigr_cli.editing.generate import plan
steps, timesteps, dtype = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = bigr_cli.load(sys.argv[1], device="cpu", dtype=dtype)
clock = time.process_time
times = [clock()]
jobs = plan(model.config, ["207"], count=1, seed=0)
settings = model.settings(steps=steps, timesteps=timesteps)
(image,) = model.make(jobs, settings, watch=lambda *_: times.append(clock()))
picture.image.save(sys.argv[5])
iterations = [b - a for a, b in zip(times, times[1:])]
print(json.dumps({"iterations": iterations, "decoding": clock() - times[-1]}))
"""


@dataclass(frozen=True)
class Finished:
    """A process that ended well: its output, how long it took, of that on a processor, and its peak memory in bytes."""

    output: str
    seconds: float
    busy: float
    resident: int
    own: int


def run(command: Sequence[object], environment: Mapping[str, str] | None = None) -> Finished:
    """Run a process to its end; raises CalledProcessError if it fails."""
    words = [str(word) for word in command]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, env={**os.environ, **(environment or {})}
        )
        peaks, ended = {"own": 0, "resident": 0}, threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words, text)
    unit = 1 if sys.platform == "darwin" else 1024
    resident = peaks["resident"] or usage.ru_maxrss * unit
    return Finished(text, seconds, usage.ru_utime + usage.ru_stime, resident, peaks["own"])


def _watch(process: int, peaks: dict[str, int], ended: threading.Event) -> None:
    """Keep the largest RssAnon + RssShmem of a process ("own"), and VmHWM ("resident"); Linux alone tells them.

    Its ru_maxrss is at least what this process took when it started that one.
    """
    while not ended.wait(0.005):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return
        said = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
        peaks["own"] = max(peaks["own"], said.get("RssAnon", 0) + said.get("RssShmem", 0))
        peaks["resident"] = max(peaks["resident"], said.get("VmHWM", 0))


def random_state(part: nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights for a module that was laid out on the meta device: normal, or around 1 for what scales."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in part.state_dict().items():
        values = torch.empty(tensor.shape).normal_(std=0.02, generator=generator)
        state[name] = values + 1 if name.endswith("norm.weight") else values
    return state


def apart(write: Callable[..., None], *arguments: object) -> None:
    """Call it in a process of its own, so that the memory it takes is no part of what is measured here.

    Raises RuntimeError if that fails; the process has said why.
    """
    process = multiprocessing.get_context("spawn").Process(target=write, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{write.__name__} failed")


def write_published(card: ModelConfig, folder: Path, seed: int) -> None:
    """Both files of a model, as they are published."""
    with torch.device("meta"):
        tokenizer, generator = Tokenizer(card.tokenizer), Generator(card.generator)
    torch.save(dict(published_tokenizer(random_state(tokenizer, seed))), folder / "tokenizer.th")
    state = random_state(generator, seed + 1)
    torch.save({"ema": dict(published_generator(state, card.generator.diffusion_timesteps))}, folder / "generator.pt")


def importing(files: Path, output: Path, *more: object) -> list[object]:
    """The command that makes a model folder of both files."""
    parts = ["--tokenizer", files / "tokenizer.th", "--generator", files / "generator.pt", "--labels", "imagenet-1k"]
    return [*BIGR, "models", "import", *parts, "--licence", "MIT", "-o", output, "--overwrite", *more]


def size_of(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def row(model: str, what: str, done: Finished, **more: object) -> dict[str, object]:
    """What a process cost."""
    return {
        "model": model,
        "what": what,
        "seconds": round(done.seconds, 1),
        "CPU seconds": round(done.busy, 1),
        "resident GB": round(done.resident / 1e9, 2),
        "own GB": round(done.own / 1e9, 2),
        **more,
    }


def measure(name: str, place: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Rows for one of the models; `place` is an empty folder."""
    card = read_config(packaged_models() / name)
    files, model, half = place / "files", place / name, place / "half"
    files.mkdir()
    apart(write_published, card, files, options.seed)
    published = size_of(files)
    rows = [row(name, "import", run(importing(files, model)), **_sizes(published, model))]
    rows.append(_loaded(name, "load in bfloat16", model))
    rows.append(
        row(
            name,
            "import --dtype bfloat16",
            run(importing(files, half, "--dtype", "bfloat16")),
            **_sizes(published, half),
        )
    )
    rows.append(_loaded(name, "load what is stored in bfloat16", half))
    if options.draw:
        rows.append(_drawn(name, model, options, place / "image.png"))
    return rows


def _sizes(published: int, folder: Path) -> dict[str, object]:
    made = size_of(folder, "*.safetensors")
    return {"files GB": round(published / 1e9, 2), "model GB": round(made / 1e9, 2)}


def _loaded(name: str, what: str, folder: Path) -> dict[str, object]:
    done = run([sys.executable, "-c", LOADING, folder, "bfloat16"])
    size = size_of(folder, "*.safetensors")
    more = {"model GB": round(size / 1e9, 2), "resident / model": round(done.resident / size, 2)}
    return row(name, what, done, **more, **{"seconds of loading alone": round(float(done.output), 2)})


def _drawn(name: str, folder: Path, options: argparse.Namespace, image: Path) -> dict[str, object]:
    words = [folder, options.steps, options.timesteps, options.dtype, image]
    done = run([sys.executable, "-c", DRAWING, *words])
    told = json.loads(done.output)
    times = told["iterations"]
    more = {
        "CPU seconds an iteration": round(sum(times) / len(times), 2),
        "CPU seconds of decoding": round(told["decoding"], 2),
    }
    return row(name, f"draw, {options.steps} steps of {options.timesteps} timesteps, {options.dtype}", done, **more)


# Bytes of the published files (reference section 8), tokenizer and generator.
PUBLISHED = {
    "bigr-l-d24": (332e6, 1.345e9),
    "bigr-xl-d24": (332e6, 3.20e9),
    "bigr-xxl-d24": (332e6, 5.92e9),
    "bigr-xxl-d32": (332e6, 5.92e9),
    "bigr-l-d32-512": (315e6, 1.491e9),
}


def write_trained(card: ModelConfig, folder: Path, seed: int) -> None:
    """The tokenizer's file anew, as the state of a whole training that was saved on a GPU."""
    bare = torch.load(folder / "tokenizer.th", weights_only=True)
    (folder / "tokenizer.th").rename(folder / "bare.th")
    torch.manual_seed(seed)
    training_files.save(training_files.training_state(bare), folder / "tokenizer.th")


def published_form(name: str, place: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Import and pull files in the published form; raises if a size or a weight differs."""
    card = read_config(packaged_models() / name)
    files, model, again = place / "files", place / name, place / "bare"
    files.mkdir()
    apart(write_published, card, files, options.seed)
    apart(write_trained, card, files, options.seed)
    sizes = [(files / file).stat().st_size for file in ("tokenizer.th", "generator.pt")]
    off = [size / published - 1 for size, published in zip(sizes, PUBLISHED[name], strict=True)]
    if max(map(abs, off)) > 0.01:
        raise RuntimeError(f"{name}: sizes {sizes} are not the published ones: {off}")
    told: dict[str, object] = {
        "tokenizer MB": round(sizes[0] / 1e6, 1),
        "generator MB": round(sizes[1] / 1e6, 1),
        "off %": " ".join(f"{100 * share:+.2f}" for share in off),
    }
    rows = [row(name, "import of the published form", run(importing(files, model)), **told)]
    hashes = read_config(model).sha256
    shutil.rmtree(model)
    (files / "tokenizer.th").rename(files / "whole.th")
    (files / "bare.th").rename(files / "tokenizer.th")
    rows.append(row(name, "import of the autoencoder alone", run(importing(files, again))))
    if read_config(again).sha256 != hashes:
        raise RuntimeError(f"{name}: the weights differ from those of the autoencoder alone")
    shutil.rmtree(again)
    (files / "whole.th").replace(files / "tokenizer.th")
    rows.append(row(name, "pull from the hub of the tests", pulled(card, files, place / "home", hashes)))
    rows[-1]["weights that differ"] = 0
    return rows


def pulled(card: ModelConfig, files: Path, home: Path, expected: Mapping[str, str]) -> Finished:
    """Pull a model from a hub of this machine; raises if its weights are not the expected ones."""
    spec = importlib.util.spec_from_file_location("fake_hub", Path(__file__).parents[1] / "tests/zoo/fake_hub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hub, source = module.FakeHub(), card.source
    for file, wanted in (("tokenizer.th", source.tokenizer), ("generator.pt", source.generator)):
        with (files / file).open("rb") as stream:  # mapped: it may be larger than the memory that is free
            content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        hub.files[f"{source.repository}/{wanted}"] = content
        # Told beforehand: to hash gigabytes takes longer than a client waits for an answer.
        hub.claims[f"{source.repository}/{wanted}"] = hashlib.sha256(content).hexdigest(), len(content)
    environment = {"BIGR_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HOME": str(home / "hf"), "NO_PROXY": "*", "no_proxy": "*"}
    try:
        done = run([*BIGR, "models", "pull", card.name, "--quiet"], environment)
    finally:
        hub.stop()
    if read_config(home / "models" / card.name).sha256 != expected:
        raise RuntimeError(f"{card.name}: pulled weights differ from imported ones")
    return done


def every_task(name: str, place: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Through import, every task, export and import again, as processes; raises if a weight differs in the end."""
    card = read_config(packaged_models() / name)
    files, model, again = place / "files", place / name, place / "again"
    files.mkdir()
    write_published(card, files, options.seed)
    rows = [row(name, "import", run(importing(files, model)))]
    for file in files.iterdir():
        file.unlink()
    size = card.image_size
    image, side = place / "in.png", size // 4
    run([*BIGR, "data", "scenes", "-o", place / "scenes", "--count", 1, "--size", size])
    next((place / "scenes").rglob("*.png")).replace(image)
    cheap = ["--steps", options.steps, "--timesteps", options.timesteps, "--guidance", 1]
    common = ["--device", "cpu", "--dtype", options.dtype, "-m", model]
    drawing = ["--seed", 0, *cheap, *common]
    box = ["--mask-box", f"{side},{side},{side},{side}"]
    tasks: dict[str, list[object]] = {
        "generate": ["golden retriever", *drawing, "-o", place / "g.png"],
        "inpaint": [image, *box, *drawing, "-o", place / "i.png"],
        "outpaint": [image, "--right", side, *drawing, "-o", place / "o.png"],
        "edit": [image, "--class", "207", *box, *drawing, "-o", place / "e.png"],
        "interpolate": ["207", "208", "--frames", 2, *drawing, "-o", place / "p.png"],
        "enrich": [image, "--strength", 0.1, *drawing, "-o", place / "r.png"],
        "embed": [image, *common, "-o", place / "f.npz"],
        "evaluate probe": ["--data", "scenes", "--count", 32, "--test-count", 16, *common],
    }
    for task, words in tasks.items():
        rows.append(row(name, task, run([*BIGR, *task.split(), *words])))
    rows.append(row(name, "export", run([*BIGR, "models", "export", model, "-o", files, "--overwrite"])))
    rows.append(row(name, "import again", run(importing(files, again))))
    one, other = read_config(model).sha256, read_config(again).sha256
    if one != other:
        raise RuntimeError(f"{name}: weights changed on their way: {one}, {other}")
    rows[-1]["weights that differ"] = 0
    return rows


def main() -> None:
    """Write, run, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="which; all five")
    parser.add_argument("--draw", action="store_true", help="draw an image too")
    parser.add_argument("--tasks", action="store_true", help="try every task instead")
    parser.add_argument("--form", action="store_true", help="import and pull files in the published form instead")
    parser.add_argument("--steps", type=int, default=2, help="iterations (default 2)")
    parser.add_argument("--timesteps", type=int, default=4, help="of the transcoder (default 4)")
    parser.add_argument("--dtype", default="float32", help="to compute in (default float32)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.add_argument("--place", type=Path, help="where the files go; a temporary folder")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    rows = []
    for name in options.models:
        with tempfile.TemporaryDirectory(dir=options.place) as place:
            work = every_task if options.tasks else published_form if options.form else measure
            made = work(name, Path(place), options)
        rows += made
        print(f"{name}: done {json.dumps(made)}", file=sys.stderr)  # if a later one fails
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
