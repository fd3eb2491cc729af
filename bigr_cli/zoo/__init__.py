"""Model folders: find, load and save them, and make them out of published checkpoints."""
