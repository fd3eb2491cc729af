"""How the benchmark scripts show what they measured: a Markdown table for people, JSON lines for programs."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bigr_cli import yaml_text

Row = Mapping[str, object]
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def show(rows: Sequence[Row], *, as_json: bool = False) -> None:
    """Print rows, one JSON object a line, or as one table with a column for each key that any of them has."""
    if as_json:
        for row in rows:
            print(json.dumps(row), flush=True)
        return
    print(markdown(rows), flush=True)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table; floats with four significant digits, a dash where a row lacks a column."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_text(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """The option that changes settings, a list of names with their values."""
    parser.add_argument("--set", type=_setting, nargs="+", default=[], metavar="NAME=VALUE", help=f"settings of {what}")


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, yaml_text.parse(value, source="--set")


def add_record(parser: argparse.ArgumentParser) -> None:
    """The option that keeps what was measured for the pages."""
    parser.add_argument("--record", metavar="NAME", help="write docs/results/NAME.json, for scripts/results.py")


def record(name: str | None, values: Mapping[str, object]) -> None:
    """Write what was measured, with the command line, where `scripts/results.py` takes the numbers of pages from.

    `name` None, where nothing is to be kept, does nothing.
    """
    if name is None:
        return
    words = list(sys.argv[1:])
    place = words.index("--record") if "--record" in words else len(words)
    command = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *words[:place], *words[place + 2 :]]
    text = json.dumps({"command": shlex.join(command), **values}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
