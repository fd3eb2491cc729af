"""The options that mean the same for every command, each defined once.

    def inpaint(image: str, model: Model = None, seed: Seed = None, json: Json = False) -> None: ...

Each can be given by an environment variable too. Sampling options are None unless given: the model's config decides.
A value out of range ends with exit code 2 before anything heavy is loaded.

Options that set a field of `SamplingConfig` or of an editing request follow from that field; here they are found by
their names too, such as `Steps`, `GuidanceSchedule` and `MaskBox`.
"""

from typing import Any

from bigr_cli.options.declare import *  # noqa: F403
from bigr_cli.options.shared import *  # noqa: F403


def __getattr__(name: str) -> Any:
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.editing.requests import REQUESTS
    from bigr_cli.options.declare import command_parameters

    for kind in (SamplingConfig, *REQUESTS):
        for parameter in command_parameters(kind, given=kind is SamplingConfig):
            if name == parameter.name.title().replace("_", ""):
                return parameter.annotation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
