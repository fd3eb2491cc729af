"""The tables on the published scripts: every line says how it is here, and every command has the options it names."""

import re
from pathlib import Path

import pytest

from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import packaged_models

DOCS = Path(__file__).resolve().parents[1] / "docs"
VERDICT = re.compile(r"same|on purpose, because .+|preset `[\w-]+`")
COMMANDS = re.findall(r"\| `(bigr [^`]+)` \|", (DOCS / "published.md").read_text(encoding="utf-8"))


def rows(file: str) -> list[list[str]]:
    """The cells of all tables of a page, without headings and rules."""
    lines = (DOCS / file).read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    return [row for row in cells if row[0] != "published" and not set(row[0]) <= {"-"}]


def test_every_default_is_the_same_or_says_why() -> None:
    table = rows("published-defaults.md")
    assert len(table) > 80
    assert [row for row in table if len(row) != 4 or not VERDICT.match(row[-1])] == []


def test_what_differs_on_purpose_says_how_to_have_theirs() -> None:
    """After the reason stands an option or a setting; where there is none, that is said."""
    different = [row for row in rows("published-defaults.md") if row[-1].startswith("on purpose")]
    assert [row for row in different if "`" not in row[-1].partition(";")[2] and "not to be had" not in row[-1]] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_the_options_that_they_name(command: str) -> None:
    words = command.split()[1:]
    pages = (DOCS / "commands.md").read_text(encoding="utf-8").split("\n## bigr ")[1:]
    help_of = {page.partition("\n")[0]: page for page in pages}
    name = " ".join(words[:2]) if words[0] == "evaluate" else words[0]
    for option in (word for word in words if re.match(r"--?[a-z]", word)):
        assert f"`{option}" in help_of[name], f"bigr {name} has no {option}"


def test_all_published_scripts_are_there() -> None:
    table = (DOCS / "published.md").read_text(encoding="utf-8")
    scripts = ["sample.sh", "sample_512.sh", *(f"app_{name}.sh" for name in TASKS), "train.sh", "run_BiGR.ipynb"]
    assert [script for script in scripts if script not in table] == []


TASKS = ("inpaint", "outpaint", "edit", "interpolate", "enrich")


def test_values_of_the_presets_are_those_of_the_cards() -> None:
    card = read_config(packaged_models() / "bigr-l-d24")
    assert {name: (each["steps"], each["guidance"], each["gumbel"]) for name, each in card.presets.items()} == {
        "paper": (20, 2.5, 0.17),
        "published": (20, 3.0, 0.01),
        "notebook": (20, 2.5, 0.01),
    }
    page = (DOCS / "published.md").read_text(encoding="utf-8")
    for line in ("| `published` | 20 | 3.0 | 0.01, constant |", "| `notebook` | 20 | 2.5 | 0.01, falling |"):
        assert line in page
