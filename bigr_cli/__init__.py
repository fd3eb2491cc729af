"""Images by binary latent codes: generate, complete, edit and understand them with a BiGR model.

import bigr_cli

model = bigr_cli.load("scenes-64")
images = model.generate("cat", count=4, seed=0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bigr_cli.version import __version__

if TYPE_CHECKING:
    from bigr_cli.editing.requests import Edit as Edit
    from bigr_cli.editing.requests import Enrich as Enrich
    from bigr_cli.editing.requests import Inpaint as Inpaint
    from bigr_cli.editing.requests import Interpolate as Interpolate
    from bigr_cli.editing.requests import Outpaint as Outpaint
    from bigr_cli.from_images import train as train
    from bigr_cli.model import Model as Model
    from bigr_cli.model import load as load

_REQUESTS = ("Edit", "Enrich", "Inpaint", "Interpolate", "Outpaint")
_LAZY = dict.fromkeys(_REQUESTS, "bigr_cli.editing.requests") | dict.fromkeys(("Model", "load"), "bigr_cli.model")
_LAZY["train"] = "bigr_cli.from_images"

__all__ = ["Edit", "Enrich", "Inpaint", "Interpolate", "Model", "Outpaint", "__version__", "load", "train"]


if not TYPE_CHECKING:  # which knows what there is, and would take every name for something

    def __getattr__(name: str) -> Any:
        # PEP 562: torch is imported by whoever loads a model, not by whoever imports the package.
        if name in _LAZY:
            return getattr(import_module(_LAZY[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
