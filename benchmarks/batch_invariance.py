"""Whether an image depends on the batch that it was drawn in, on the number format, or on the device.

    python benchmarks/batch_invariance.py --model scenes-64 --count 48

The random numbers are the same in all cases. What a matrix product rounds differently, because it sums in another
order, may flip a bit whose probability lies within that rounding of its random number, and then all that follows in
this image differs too. Each row compares the same images with those drawn one by one: in the same format on the
same device, and in float32 on the first device.
"""

from __future__ import annotations

import argparse

import torch
from tables import show
from torch import Tensor

from bigr_cli.model import load
from bigr_cli.runtime.device import available_devices


def draw(
    model: str | None, device: str, dtype: str, batches: list[int], count: int, seed: int, steps: int | None
) -> dict[int, Tensor]:
    """The codes (N, L, K) of the same images for each batch size."""
    loaded = load(model, device=device, dtype=dtype)
    settings = loaded.settings(**({} if steps is None else {"steps": steps}))
    labels = torch.arange(count) % loaded.generator.config.classes
    seeds = torch.arange(seed, seed + count)
    drawn = {}
    for batch in batches:
        pairs = zip(labels.split(batch), seeds.split(batch), strict=True)
        parts = [loaded.sample_codes(some, chosen, settings=settings).cpu() for some, chosen in pairs]
        drawn[batch] = torch.cat(parts)
    return drawn


def differences(codes: Tensor, others: Tensor) -> tuple[int, int]:
    """How many bits differ, and how many images have a bit that differs."""
    differ = codes != others
    return int(differ.sum()), int(differ.flatten(1).any(dim=1).sum())


def main() -> None:
    """Draw, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or folder of a model; or the default model")
    parser.add_argument("--count", type=int, default=48, help="images (default 48)")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[3, 8], help="compared with 1 (default 3 8)")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], help="(default float32 bfloat16)")
    parser.add_argument("--device", nargs="+", default=None, help="(default: cpu, and what else there is)")
    parser.add_argument("--seed", type=int, default=0, help="of the first image (default 0)")
    parser.add_argument("--steps", type=int, help="iterations of the sampler, instead of the model's default")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    batches = [1, *(size for size in options.batch_size if size != 1)]
    devices = options.device or sorted(available_devices(), key=lambda name: name != "cpu")
    rows: list[dict[str, object]] = []
    first: Tensor | None = None
    for device in devices:
        for dtype in dict.fromkeys(["float32", *options.dtype]):
            drawn = draw(options.model, device, dtype, batches, options.count, options.seed, options.steps)
            first = drawn[1] if first is None else first
            for size in batches:
                bits, images = differences(drawn[size], drawn[1])
                far_bits, far_images = differences(drawn[size], first)
                rows.append(
                    {
                        "device": device,
                        "dtype": dtype,
                        "batch": size,
                        "images": options.count,
                        "bits": first.numel(),
                        "images_from_batch_1": images,
                        "bits_from_batch_1": bits,
                        "images_from_first_row": far_images,
                        "bits_from_first_row": far_bits,
                    }
                )
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
