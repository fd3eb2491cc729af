"""Scripts that measure several things on a model, of which the command line names some."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from generation import open_model
from tables import show

from bigr_cli.model import Model

Part = Callable[[Model, argparse.Namespace], list[dict[str, Any]]]


def add_parts(parser: argparse.ArgumentParser, parts: Mapping[str, Part]) -> None:
    """The options that all such scripts have."""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all if none is named")
    parser.add_argument("--model", help="name or folder of a model; or the default model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")


def measure(parser: argparse.ArgumentParser, options: argparse.Namespace, parts: Mapping[str, Part]) -> None:
    """Measure the parts that are named, and print their rows together; ends the program if one is not there."""
    if unknown := [part for part in options.parts if part not in parts]:
        parser.error(f"unknown part {unknown[0]!r}; expected {', '.join(parts)}")
    model = open_model(parser, options)
    rows = [row for part in options.parts or parts for row in parts[part](model, options)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    show([{column: row.get(column) for column in columns} for row in rows], as_json=options.json)
