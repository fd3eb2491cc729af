"""Evaluating images: how well they are reconstructed, how much they look like real ones, what they show."""
