"""Which of the models that are here a recipe means."""

from __future__ import annotations

from bigr_cli.recipe import Recipe
from bigr_cli.zoo.with_weights import model_with_weights


def model_of(recipe: Recipe) -> tuple[str, bool]:
    """The model that a recipe asks for, as --model takes it, and whether its weights are those of the recipe.

    Where they are others, a folder that the recipe names is not to be used unless somebody asks for it.
    """
    found = model_with_weights(recipe.model, recipe.folder, recipe.weights)
    return (recipe.folder or recipe.model, False) if found is None else (found, True)
