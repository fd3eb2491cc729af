"""Training and evaluation data: image folders, captions, packed codes, the built-in scenes."""
