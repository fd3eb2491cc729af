"""The checkpoints published with the paper: their names, their sizes, and how they become model folders."""
