"""How the benchmark scripts show what they measured: a Markdown table for people, JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Row = Mapping[str, object]


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
