"""What `--recipe` brings, against what is given beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bigr_cli import console
from bigr_cli.errors import UnknownNameError
from bigr_cli.option_groups import Sampling
from bigr_cli.tasks._given import Given
from bigr_cli.zoo.find import LIST_HINT, list_models

if TYPE_CHECKING:
    from bigr_cli.recipe import Recipe

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
        """The model; warns if the recipe's is not here, and then takes one of its name, or that of the environment.

        UnknownNameError if there is none.
        """
        if self.recipe is None or "model" in self._explicit:
            return value
        from bigr_cli.recipe_models import model_of
        from bigr_cli.zoo.with_weights import named_model

        name, same = model_of(self.recipe)
        if same:
            return name
        other = named_model(self.recipe.model) or value
        if other is None:
            known = [entry.name for entry in list_models()]
            hint = f"-m {self.recipe.folder} uses the folder that it names" if self.recipe.folder else LIST_HINT
            raise UnknownNameError("model", self.recipe.model, known, hint=f"no model has the recipe's weights; {hint}")
        console.warn(f"no model here has the recipe's weights; with {other} the picture will be another one")
        return other

    def sampling(self, values: Sampling) -> dict[str, object]:
        """The settings of the sampler; None is for the model's config to decide.

        A preset that is given takes the place of the recipe's settings.
        """
        if self.recipe is None or "preset" in self._explicit:
            return dict(vars(values))
        recorded = vars(self.recipe.sampling) | {"preset": None}
        return {name: value if name in self._explicit else recorded[name] for name, value in vars(values).items()}
