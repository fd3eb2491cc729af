"""`bigr models import`, `export`, `pull` and `push`: models from and for other programs, and from and to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.options import Json, Overwrite, Quiet, Verbose, argument, option
from bigr_cli.options.groups import SameModel, one_model
from bigr_cli.registry import task
from bigr_cli.tasks.models import ModelName, read_entry, record
from bigr_cli.zoo.find import find_model, home_models

StoredDtype = Annotated[
    Literal["float16", "bfloat16", "float32"] | None,
    option(
        "--dtype",
        "Keep the weights as float16, bfloat16 or float32. Without it, as they are published.",
        metavar="NAME",
    ),
]


@task(
    "models import",
    help="Make a model folder of published checkpoints.",
    examples=[
        "bigr models import --tokenizer bae.th --generator bigr_L_d24.pt --labels imagenet-1k --name my-bigr-l",
        "bigr models import --tokenizer bae.th --generator mine.pt --heads 8 --image-size 128 -o mine",
    ],
)
def import_(
    tokenizer: Annotated[Path, option("--tokenizer", "The binary autoencoder's file.", metavar="FILE")],
    generator: Annotated[Path, option("--generator", "The transformer's file.", metavar="FILE")],
    heads: Annotated[
        int | None,
        option(
            "--heads",
            "Attention heads of the transformer. Not needed if it has a published one's sizes.",
            min=1,
            metavar="N",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        option(
            "--image-size", "Width and height of its images. To be checked against the files.", min=1, metavar="PIXELS"
        ),
    ] = None,
    output: Annotated[
        Path | None, options.output("DIR", "The folder to make. If not given, among yours by --name.")
    ] = None,
    name: Annotated[str | None, option("--name", "Its name. Without it, the folder's.", metavar="NAME")] = None,
    labels: Annotated[
        str | None,
        option(
            "--labels",
            "Names of its classes in their order, one a line. Or those of ImageNet.",
            metavar="FILE|imagenet-1k",
        ),
    ] = None,
    licence: Annotated[str, option("--licence", "Under what terms it may be used, such as MIT.", metavar="NAME")] = "",
    dtype: StoredDtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """All sizes but --heads are read off the tensors, and for L, XL and XXL that too. Nothing in the files is run.

    Of a file that a training saved, the network alone is used; --verbose says what is left.
    """
    import torch

    from bigr_cli.zoo.config import check_name, read_labels
    from bigr_cli.zoo.published.convert import import_published

    if output is None:
        if name is None:
            raise UsageError("models import needs --output or --name")
        output = home_models() / check_name(name)
    import_published(
        tokenizer,
        generator,
        heads=heads,
        image_size=image_size,
        output=output,
        name=name,
        labels=read_labels(labels) if labels else (),
        licence=licence,
        dtype=None if dtype is None else getattr(torch, dtype),
        overwrite=overwrite,
    )
    _say_made(output, json=json)


@task(
    "models export",
    help="Write a model's weights for other programs.",
    examples=[
        "bigr models export my-bigr-l --format published -o for-the-paper/",
        "bigr models export scenes-64 --format safetensors -o scenes-64.safetensors",
    ],
)
def export(
    output: Annotated[Path, options.output("DIR|FILE", "What to write.")],
    model: ModelName = None,
    named: SameModel = None,
    form: Annotated[
        Literal["published", "safetensors", "torch-checkpoint"],
        option(
            "--format",
            "published (two files), safetensors or torch-checkpoint (one). The published code loads the first.",
            options.OUTPUT,
            metavar="NAME",
        ),
    ] = "published",
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Only models with the published architecture have the published form; the other two hold any model.

    The single files have tensors by our names, in two parts, tokenizer and generator, and the config.
    """
    from bigr_cli.zoo.export import export_model

    folder = find_model(one_model(model, named))
    for path in export_model(folder, output.expanduser(), form, overwrite=overwrite):
        if json:
            console.json_line({"path": path, "model": folder, "format": form})
        else:
            console.say(f"wrote {path}")


@task(
    "models pull",
    help="Bring a published model, or one of a hub, to your models.",
    examples=["bigr models pull bigr-l-d24 --dtype bfloat16", "bigr models pull owner/repository"],
)
def pull(
    model: Annotated[str | None, argument("NAME", "A model of bigr models list, or owner/repository of a hub.")] = None,
    named: SameModel = None,
    dtype: StoredDtype = None,
    name: Annotated[str | None, option("--name", "What to call it among your models.", metavar="NAME")] = None,
    offline: Annotated[
        bool,
        option(
            "--offline", "Use only what the hub's own cache has; HF_HUB_OFFLINE=1 does too.", variable="BIGR_OFFLINE"
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Fetched through huggingface_hub: HF_TOKEN, HF_ENDPOINT and HF_HUB_CACHE mean what they do there.

    If it is interrupted, the same command goes on where it stopped; what has arrived is kept when a later part fails.
    Nothing in the files is run.
    """
    from bigr_cli.zoo.hub.pull import pull_model

    chosen = one_model(model, named)
    if chosen is None:
        raise UsageError("no model given", hint="bigr models list shows those to be pulled, such as bigr-l-d24")
    output = pull_model(chosen, name=name, dtype=dtype, overwrite=overwrite, offline=offline)
    _say_made(output, json=json)


@task(
    "models push",
    help="Upload a model folder to a hub.",
    examples=["bigr models push runs/cats owner/cats --private"],
)
def push(
    words: Annotated[
        list[str],
        argument(
            "MODEL OWNER/NAME", "A model by name or folder, and where to. The repository is made if it is not there."
        ),
    ],
    named: SameModel = None,
    private: Annotated[bool, option("--private", "Make the repository a private one.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Only the model's own files: config.yaml, the weights, README.md. Needs a login: hf auth login, or HF_TOKEN."""
    from bigr_cli.zoo.hub.pull import push_model

    model, *rest = [*([named] if named else []), *words]
    if len(rest) != 1:
        raise UsageError(
            f"expected a model and a repository, got {' '.join(words)}", hint="bigr models push runs/cats owner/cats"
        )
    folder, repository = find_model(model), rest[0]
    address = push_model(folder, repository, private=private, quiet=quiet)
    if json:
        console.json_line({"path": folder, "repository": repository, "url": address})
    else:
        console.result(address)


def _say_made(folder: Path, *, json: bool) -> None:
    if json:
        console.json_line(record(read_entry(folder)))
    else:
        console.say(f"made {folder}")
