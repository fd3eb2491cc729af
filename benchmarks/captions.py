"""How fast a generator trains on captions: read as bytes, or by a T5 whose features are made as it goes, or kept.

    python benchmarks/captions.py
    python benchmarks/captions.py --steps 40 --source google/flan-t5-base --device cuda

Short trainings of the shipped generator's size on scenes, by the command's own code, and one on classes beside them.
Without --source the T5 has random weights in the sizes of flan-t5-small (35 M parameters in its encoder), which takes
as long as the true one, and a tokenizer of whole words. Also said: milliseconds to encode a text by itself, to find its
features on disk, and the bytes they take there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tables import show
from training import LOGGED, SMALL_GENERATOR, rates, read

from bigr_cli import console
from bigr_cli.core.architectures import TextConfig
from bigr_cli.data.sources import ScenesSource
from bigr_cli.runtime.device import select_device
from bigr_cli.training.config import GeneratorTraining
from bigr_cli.training.generator import GeneratorObjective
from bigr_cli.training.launch import launch
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.folder import load_tokenizer
from bigr_cli.zoo.text_encoders.features import FeatureReader, open_encoder

TOKENS = 32  # more than any caption of a scene has
BATCH = 32


def random_t5(folder: Path, captions: list[str]) -> Path:
    """A T5 of flan-t5-small's sizes without its training, with a tokenizer that knows the words of the captions."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = [
        "<pad>",
        "</s>",
        "<unk>",
        *sorted({word for text in captions for word in text.replace(",", " , ").split()}),
    ]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    sizes = {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 1, "num_heads": 6}
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=32128, feed_forward_proj="gated-gelu", **sizes)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def trained(settings: list[str], run: Path, device: torch.device) -> float:
    """Images a second of a short training."""
    settings = ["tokenizer=scenes-64", 'tokenizer_sha256=""', *settings]
    training = read(GeneratorTraining, None, "generator-2.yaml", SMALL_GENERATOR, settings)
    module, base = load_tokenizer(find_model("scenes-64"))
    build: Any = partial(GeneratorObjective, training, module, base)
    launch(training, build, size=base.image_size, output=run, resume=None, device=device)
    return statistics.median(rates(run))


def single_texts(config: TextConfig, captions: list[str], device: torch.device) -> dict[str, object]:
    """What one text costs, made and found again."""
    reader = FeatureReader(open_encoder(config), config)
    reader(["warm up"], device)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        for caption in captions:
            reader([caption], device)
        seconds.append(time.perf_counter() - start)
    sizes = [path.stat().st_size for path in reader.folder.rglob("*.npy")]
    made, found = (1000 * each / len(captions) for each in seconds)
    return {"ms_to_encode": made, "ms_to_find": found, "bytes_a_text": statistics.mean(sizes)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="for every training, such as run.compile=true")
    parser.add_argument("--source", help="a T5: a repository of the hub, or a folder")
    parser.add_argument("--width", type=int, default=512, help="of the T5 (default 512)")
    parser.add_argument("--steps", type=int, default=24, help="of each training (default 24)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    console.configure(quiet=True)
    device, rows = select_device(options.device), list[dict[str, object]]()
    often = [f"run.log_every={max(1, options.steps // LOGGED)}", f"run.validate_every={10 * options.steps}"]
    # What is previewed at the end is not measured.
    fixed = ["run.compile=false", "data.seed=1", "sampling.steps=1", "sampling.timesteps=1", "data.validation=1"]
    fixed += [f"run.batch={BATCH}", f"run.steps={options.steps}"]
    shared = [*fixed, *often, *options.settings]
    with tempfile.TemporaryDirectory() as name:
        os.environ["BIGR_HOME"] = f"{name}/home"
        source = ScenesSource(64, seed=1)
        captions = [source.caption(index) for index in range(512)]
        where = options.source or str(random_t5(Path(name) / "t5", captions))
        config = TextConfig("t5", TOKENS, options.width, source=where)
        t5 = [f"generator.text={{encoder: t5, tokens: {TOKENS}, width: {options.width}, source: {where}}}"]
        kinds = {
            "classes": [],
            "bytes": ["generator.text={}"],
            "T5, features made as it goes": [*t5, "data.cache_texts=false"],
            "T5, features kept": t5,
        }
        for number, (kind, settings) in enumerate(kinds.items()):
            cost: dict[str, object] = {}
            if kind == "T5, features kept":
                cost = single_texts(config, captions[:64], device)
                reader = FeatureReader(open_encoder(config), config)
                for first in range(0, options.steps * BATCH, 256):  # all that the training will see
                    reader([source.caption(index) for index in range(first, first + 256)], device)
            rate = trained([*shared, *settings], Path(name) / str(number), device)
            rows.append({"condition": kind, "images_per_second": rate, **cost})
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    show([row | {"threads": threads, "device": str(device)} for row in rows], as_json=options.json)
    print(f"{os.cpu_count()} cores, load {load:.1f} at the end", file=sys.stderr)


if __name__ == "__main__":
    main()
