"""Images by binary latent codes: generate, complete, edit and understand them with a BiGR model.

import bigr_cli

model = bigr_cli.load("scenes-64")
images = model.generate("cat", count=4, seed=0)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigr_cli.zoo import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # PEP 562: torch is imported by whoever loads a model, not by whoever imports the package.
    if name == "load":
        from bigr_cli.zoo import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "load"])
