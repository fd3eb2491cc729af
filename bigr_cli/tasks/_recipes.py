"""What `--recipe` brings, against what is given beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bigr_cli import console
from bigr_cli.option_groups import Sampling
from bigr_cli.tasks._given import Given

if TYPE_CHECKING:
    from bigr_cli.imaging.recipe import Recipe

_Value = TypeVar("_Value")


class Chooser:
    """Options as given on the command line, or else as the recipe has them, or else by environment and default."""

    recipe: "Recipe | None"

    def __init__(self, given: Given, path: Path | None) -> None:
        """`path` is what --recipe gave. Raises UsageError if it holds no recipe."""
        from bigr_cli.imaging.metadata import read_metadata

        self._explicit = given.explicit
        self.recipe = read_metadata(path) if path else None

    def option(self, name: str, value: _Value) -> _Value:
        """An option that a recipe has a field for: "seed", "count" or "dtype"."""
        if self.recipe is None or name in self._explicit:
            return value
        recorded: _Value = getattr(self.recipe, name)
        return recorded

    def model(self, value: str | None) -> str | None:
        """The model; warns if the recipe's is not here."""
        if self.recipe is None or "model" in self._explicit:
            return value
        from bigr_cli.request import model_of

        name, same = model_of(self.recipe)
        if not same:
            console.warn(f"no model here has the recipe's weights; with {name} the picture will be another one")
        return name

    def sampling(self, values: Sampling) -> dict[str, object]:
        """The settings of the sampler; None is for the model's config to decide.

        A preset that is given takes the place of the recipe's settings.
        """
        if self.recipe is None or "preset" in self._explicit:
            return dict(vars(values))
        recorded = vars(self.recipe.sampling) | {"preset": None}
        return {name: value if name in self._explicit else recorded[name] for name, value in vars(values).items()}
