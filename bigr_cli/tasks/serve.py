"""`bigr serve`: a local page for masks, and the same tasks over HTTP."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.options import argument, number, option
from bigr_cli.options.groups import Machine, Messages, grouped
from bigr_cli.registry import MAKE, task
from bigr_cli.tasks._given import config_of
from bigr_cli.tasks._measuring import loaded

if TYPE_CHECKING:
    pass

TASK = "serve"
SERVER = "Server"
LIMITS = "Limits"
_MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it listens, and who may ask."""

    host: Annotated[
        str, option("--host", "Where to listen; any but this machine needs --token.", SERVER, metavar="ADDRESS")
    ] = "127.0.0.1"
    port: Annotated[int, option("--port", "The port; 0 takes a free one.", SERVER, min=0, max=65535, metavar="N")] = 0
    token: Annotated[
        str | None,
        option(
            "--token",
            "What clients have to know. Without it, a random one.",
            SERVER,
            metavar="TEXT",
            variable="BIGR_TOKEN",
        ),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        option("--allow-host", "Another name under which clients may ask; may be repeated.", SERVER, metavar="NAME"),
    ] = None
    open: Annotated[bool, option("--open", "Open the page in the browser.", SERVER)] = False


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What it accepts at most."""

    max_upload: Annotated[
        int, option("--max-upload", "Megabytes of one request.", LIMITS, min=1, max=4096, metavar="MB")
    ] = 64
    max_pixels: Annotated[
        float,
        option(
            "--max-pixels", "Megapixels of one image, given or made.", LIMITS, callback=number(0.01, 1000), metavar="MP"
        ),
    ] = 16.0
    queue: Annotated[int, option("--queue", "Jobs that may wait.", LIMITS, min=1, max=10_000, metavar="N")] = 64
    time_limit: Annotated[
        float,
        option("--time-limit", "Seconds that one job may take.", LIMITS, callback=number(1, 1_000_000), metavar="S"),
    ] = 600.0


@task(
    TASK,
    panel=MAKE,
    help="A local page for painting masks, and all tasks over HTTP.",
    examples=(
        "bigr serve --open",
        "bigr serve scene.png scenes/ --open   # results are saved beside the images",
        "bigr serve scenes-64-text --port 8000 --token 'a long secret'",
    ),
)
@grouped
def serve(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        argument("[MODEL] [IMAGE]...", "A model by name or folder, and images: files, folders, patterns."),
    ] = None,
    images: Annotated[
        list[str] | None, option("--images", "Now arguments.", options.INPUT, metavar="PATH", hidden=True)
    ] = None,
    model: options.Model = None,
    *,
    place: Place,
    bounds: Bounds,
    machine: Machine,
    messages: Messages,
) -> None:
    """It prints the address of the page, with the token that a client needs. Only this machine can reach it.

    The page opens images, paints masks, and shows for each result the bigr command that makes the same bytes.

    The same tasks are at /api/v1 (see /api/v1/openapi.json), and for OpenAI's clients at /v1/images.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError("bigr serve needs starlette and uvicorn", hint="pip install 'bigr-cli[web]'") from error
    from bigr_cli import console
    from bigr_cli.imaging.inputs import find_inputs
    from bigr_cli.serve.guard import MIB, Limits
    from bigr_cli.serve.server import Listening
    from bigr_cli.serve.server import serve as run

    if images:
        console.warn("--images is now an argument: bigr serve scene.png scenes/")
    name, paths = _divided(words or [], model)
    config = config_of(name)
    if config.generator is None:
        raise UsageError(f"{config.name}: is a tokenizer without a generator", hint="bigr models list shows others")
    inputs = find_inputs([*paths, *(images or [])]) if paths or images else []
    if any(one.path is None for one in inputs):
        raise UsageError("images are files here; there is no stdin")
    listening = Listening(host=place.host, port=place.port, token=place.token, allowed=tuple(place.allow_host or ()))
    limits = Limits(
        body=bounds.max_upload * MIB,
        held=max(512, 4 * bounds.max_upload) * MIB,
        pixels=round(bounds.max_pixels * _MEGA),
        work=round(2 * bounds.max_pixels * _MEGA),
        queue=bounds.queue,
        seconds=bounds.time_limit,
    )

    found_images = [one.path for one in inputs if one.path is not None]
    run(
        partial(loaded, name, machine),
        listening,
        limits,
        images=found_images,
        batch_size=machine.batch_size,
        browser=place.open,
    )


def _divided(words: list[str], model: str | None) -> tuple[str | None, list[str]]:
    """The model, and the images: the first word is a model if there is one of that name."""
    from bigr_cli.zoo.find import find_model

    if model is not None or not words:
        return model, words
    try:
        find_model(words[0])
    except UsageError:
        if not Path(words[0]).exists() and not any(sign in words[0] for sign in "*?["):
            raise
        return None, words
    return words[0], words[1:]
