"""Images by binary latent codes: generate, complete, edit and understand them with a BiGR model.

```python
import bigr_cli

model = bigr_cli.load("scenes-64")
images = model.generate("cat", count=4, seed=0)
```
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bigr_cli.version import __version__

if TYPE_CHECKING:
    from bigr_cli.editing.requests import Edit as Edit
    from bigr_cli.editing.requests import Enrich as Enrich
    from bigr_cli.editing.requests import Inpaint as Inpaint
    from bigr_cli.editing.requests import Interpolate as Interpolate
    from bigr_cli.editing.requests import Outpaint as Outpaint
    from bigr_cli.errors import BigrError as BigrError
    from bigr_cli.imaging.files import save as save
    from bigr_cli.imaging.metadata import MadeImage as MadeImage
    from bigr_cli.model import Model as Model
    from bigr_cli.model import load as load
    from bigr_cli.representation.index_files import read_index as read_index
    from bigr_cli.training.from_python import train as train
    from bigr_cli.zoo.find import list_models as list_models
    from bigr_cli.zoo.hub.pull import pull_model as pull_model

_LAZY = {
    **dict.fromkeys(("Edit", "Enrich", "Inpaint", "Interpolate", "Outpaint"), "bigr_cli.editing.requests"),
    **dict.fromkeys(("Model", "load"), "bigr_cli.model"),
    "BigrError": "bigr_cli.errors",
    "MadeImage": "bigr_cli.imaging.metadata",
    "list_models": "bigr_cli.zoo.find",
    "pull_model": "bigr_cli.zoo.hub.pull",
    "read_index": "bigr_cli.representation.index_files",
    "save": "bigr_cli.imaging.files",
    "train": "bigr_cli.training.from_python",
}

__all__ = [
    "BigrError",
    "Edit",
    "Enrich",
    "Inpaint",
    "Interpolate",
    "MadeImage",
    "Model",
    "Outpaint",
    "__version__",
    "list_models",
    "load",
    "pull_model",
    "read_index",
    "save",
    "train",
]


@cache
def _in_python(function: Any) -> Any:
    """A function whose errors name arguments, not options; always the same one."""
    from bigr_cli.arguments import in_python

    return in_python(function)


if not TYPE_CHECKING:  # which knows what there is, and would take every name for something

    def __getattr__(name: str) -> Any:
        # PEP 562: torch is imported by whoever loads a model, not by whoever imports the package.
        if name in _LAZY:
            found = getattr(import_module(_LAZY[name]), name)
            return found if isinstance(found, type) else _in_python(found)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
