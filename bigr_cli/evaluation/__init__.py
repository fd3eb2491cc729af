"""Evaluating images: how well they are given back, how much they look like real ones, what they show."""
