"""The package's version, for whoever records it; it imports nothing."""

__version__ = "0.1.0"
