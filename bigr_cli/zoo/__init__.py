"""Model folders: find, load and save them, and make them out of published checkpoints.

Importing this imports no torch; loading does.
"""

from bigr_cli.zoo.find import find_model, list_models

__all__ = ["find_model", "list_models"]
