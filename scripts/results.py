"""Fill measured numbers into the pages, from the files in docs/results: a number stands in one place only.

    python scripts/results.py            # write them
    python scripts/results.py --check    # say which pages are not current, and end with 1

The files are written by the benchmark scripts with --record NAME, and by

    bigr evaluate text -m scenes-64-text --json | python scripts/results.py --keep-text scenes-64-text

Where a page has <!--=FILE:KEY FORMAT-->…<!--=-->, what stands between the marks is the value of KEY (dotted) in
docs/results/FILE.json, in this format (as of Python: .1f, ,d; without one as it is). KEY-OTHER is the difference of
two values.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
MARK = re.compile(
    r"<!--=(?P<file>[\w-]+):(?P<key>[\w.]+)(?:-(?P<less>[\w.]+))?(?: (?P<format>[\w.,]+))?-->(?P<text>.*?)<!--=-->"
)


def main() -> int:
    """Fill or check every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--keep-text", metavar="NAME", help="make docs/results/NAME.json of the lines on stdin")
    options = parser.parse_args()
    check = options.check
    if options.keep_text:
        keep_text(options.keep_text, [json.loads(line) for line in sys.stdin if line.strip()])
    stale = []
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(after, encoding="utf-8")
    if stale and check:
        print(f"not current: {', '.join(stale)}; python scripts/results.py fills in what docs/results has")
        return 1
    print(f"wrote {', '.join(stale)}" if stale else "all measured numbers are current")
    return 0


def keep_text(name: str, lines: list[dict[str, Any]]) -> None:
    """Write what `bigr evaluate text --json` found, in %, as a result file."""
    parts = {line["captions"].replace("-", "_").replace(" ", "_"): line for line in lines}
    kept: dict[str, Any] = {"command": f"bigr evaluate text -m {lines[0]['model']}", "images": lines[0]["count"]}
    for kind, line in parts.items():
        kept[kind] = {answer: round(100 * line[answer], 1) for answer in ("object", "color", "ground", "time", "all")}
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def pages() -> list[Path]:
    """The pages that may have marks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """A page with every marked number as the results have it. Raises KeyError for one that they do not have."""
    return MARK.sub(lambda mark: mark[0].replace(f"-->{mark['text']}<!--", f"-->{value(mark)}<!--"), text)


def value(mark: re.Match[str]) -> str:
    """What stands between the marks."""
    found = lookup(mark["file"], mark["key"])
    if mark["less"]:
        found -= lookup(mark["file"], mark["less"])
    return format(found, mark["format"]) if mark["format"] else str(found)


def lookup(file: str, key: str) -> Any:
    """A value of a result file by its dotted key. Raises KeyError, naming both, if there is none."""
    found: Any = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))
    for part in key.split("."):
        if isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, dict) and part in found:
            found = found[part]
        else:
            raise KeyError(f"docs/results/{file}.json has no {key}")
    return found


if __name__ == "__main__":
    sys.exit(main())
