"""README and docs: every option, metric, key and variable has a page, every command line and link in them works."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args, get_type_hints

import pytest

from bigr_cli.app import build
from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.evaluation.metrics import GENERATION
from bigr_cli.evaluation.reconstruction import RECONSTRUCTION
from bigr_cli.registry import discover
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.zoo.config import ModelConfig, Provenance
from bigr_cli.zoo.source import Source

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SECOND = ROOT / "models" / "scenes-64-text" / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "benchmarks" / "README.md"])
GENERATED = DOCS / "commands.md"
MIXED = ("published.md", "published-defaults.md", "measurements.md", "performance.md", "scale.md")  # others' options
TABLES = ("sampling", "painting")  # keys of training configs that have a table of their own
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PROBE = ("top1", "top5", "knn", "held_out")  # of the rows of bigr evaluate probe --json


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def section(page: Path, heading: str) -> str:
    """What stands below a heading of the second level."""
    _, found, rest = text(page).partition(f"\n## {heading}\n")
    assert found, f"{page.name}: no section {heading}"
    return rest.partition("\n## ")[0]


@cache
def options_of() -> dict[str, str]:
    """The section of docs/commands.md about each command; scripts/commands.py makes it from the commands."""
    parts = text(GENERATED).partition("\n## Other names\n")[0].split("\n## bigr ")[1:]
    return {part.partition("\n")[0]: part for part in parts}


def named_rows(page: Path, heading: str) -> dict[str, list[str]]:
    """The rows of a section's tables by the first cell, which is code."""
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$", section(page, heading), re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in rows}


def keys_of(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of a training config, each with its default."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        inner = [part for part in get_args(hint) or (hint,) if is_dataclass(part)]
        inner = [
            each for part in inner for each in (part.VARIANTS[1].values() if "VARIANTS" in vars(part) else (part,))
        ]
        if not inner or field.name in TABLES:
            yield name, field.default
            continue
        if field.default is None:
            yield name, None
        for part in inner:
            yield from keys_of(part, f"{name}.")  # type: ignore[arg-type]


def shown(default: Any) -> str:
    """A default as the tables have it."""
    if default is MISSING:
        return "required"
    if default in (None, ""):
        return "none" if default is None else "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`[{', '.join(map(str, default))}]`" if isinstance(default, tuple) else f"`{default}`"


@cache
def commands() -> list[tuple[str, Any]]:
    """The commands that are no groups, by their names."""
    found, waiting = [], [("bigr", cast("Any", build(discover())))]
    for name, command in waiting:
        below = getattr(command, "commands", {})
        waiting += [(f"{name} {word}", other) for word, other in below.items()]
        found += [] if below else [(name, command)]
    return found


def command_lines(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each line of a page's blocks that runs `bigr`: the command's name and the words after it."""
    names = sorted(options_of(), key=len, reverse=True)
    for block in BLOCK.findall(text(page)):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.findall(r"(?:^|\||&&|\b-m )\s*((?:\S+/)?bigr(?:_cli)? [a-z].*)", line):
                words = shlex.split(part.partition(" | ")[0], comments=True)[1:]
                found = [name for name in names if words[: len(name.split())] == name.split()]
                yield (found or [f"? {' '.join(words[:2])}"])[0], words


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text(page)), re.MULTILINE)
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_sampling_settings_have_a_row_with_their_default() -> None:
    rows = named_rows(DOCS / "settings.md", "Sampling")
    wanted = {field.name: shown(field.default) for field in fields(SamplingConfig)}
    assert {name: row[0] for name, row in rows.items()} == wanted


def test_training_keys_have_a_row_with_their_defaults() -> None:
    """Both trainings share most keys; a row has the defaults of all."""
    wanted: dict[str, set[str]] = {}
    for kind in (TokenizerTraining, GeneratorTraining):
        for name, default in keys_of(kind):
            wanted.setdefault(name, set()).add("[defaults](#sampling)" if name == "sampling" else shown(default))
    rows = named_rows(DOCS / "settings.md", "Training")
    assert {name: set(row[0].split(" or ")) for name, row in rows.items()} == wanted


def test_keys_of_a_model_folder_have_a_row() -> None:
    rows = named_rows(DOCS / "settings.md", "Model folder")
    assert list(rows) == [field.name for field in fields(ModelConfig)]
    for row, kind in (("provenance", Provenance), ("source", Source)):
        assert re.findall(r"`(\w+)`", rows[row][0]) == [field.name for field in fields(kind)], row
    named = " ".join(rows["generator"]) + section(DOCS / "settings.md", "Training")
    assert [each.name for each in fields(GeneratorConfig) if not re.search(rf"\b{each.name}`", named)] == []


def test_variables_are_those_of_the_code() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "bigr_cli").rglob("*.py"))
    pattern = r"(?<!\w)BIGR_[A-Z_]*[A-Z]"
    wanted = {name for source in sources for name in re.findall(pattern, source)}
    wanted |= {option.envvar for _, command in commands() for option in command.params if option.envvar}
    page = section(DOCS / "settings.md", "Environment variables")
    assert set(re.findall(rf"`({pattern})`", page)) == wanted


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = spec_from_file_location("results", ROOT / "scripts" / "results.py")
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_measured_numbers_are_those_of_the_results(results: ModuleType) -> None:
    marked = {page.name: results.MARK.findall(text(page)) for page in results.pages()}
    assert marked["README.md"] and sum(map(len, marked.values())) > 40
    assert [page.name for page in results.pages() if results.filled(text(page)) != text(page)] == []


def test_a_number_that_differs_from_the_results_is_put_right(results: ModuleType) -> None:
    page = "a <!--=scenes-64-generator:label_recognised .1f-->12<!--=--> % b <!--=scenes-64-generator:by_label.star-->"
    assert re.sub("<!--.*?-->", "", results.filled(f"{page}<!--=-->")) == "a 99.5 % b 100.0"
    with pytest.raises(KeyError, match=r"scenes-64-generator\.json has no by_label\.dog"):
        results.filled("<!--=scenes-64-generator:by_label.dog-->1<!--=-->")


def test_cards_say_what_the_results_say(results: ModuleType) -> None:
    first = text(ROOT / "models/scenes-64/README.md")
    for measure, file, key in (
        ("label recognised in %, ", "scenes-64-generator", "label_recognised"),
        ("PSNR in dB, ", "scenes-64-tokenizer", "psnr"),
    ):
        (said,) = re.findall(rf"^\| {measure}[^|]* \| ([\d.]+) \|$", first, re.MULTILINE)
        assert float(said) == results.lookup(file, key), measure
    rows = re.findall(r"^\| (\w+), (seen|held-out) pairs \| ([\d.]+) \|$", text(SECOND), re.MULTILINE)
    assert len(rows) == 10
    for name, kind, share in rows:
        found = results.lookup("scenes-64-text", f"{kind.replace('-', '_')}.{name}")
        assert round(100 * float(share), 1) == found, (name, kind)


def test_metrics_have_a_row() -> None:
    page = text(DOCS / "evaluate.md") + text(DOCS / "represent.md")
    rows = [*GENERATION.values(), *RECONSTRUCTION.values()]
    keys = [*(name for row in rows for name in (row.name, *(one.key for one in row.columns))), *PROBE]
    assert [key for key in keys if f"`{key}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_blocks_have_the_options_that_they_name(page: Path) -> None:
    wrong = []
    for name, words in command_lines(page):
        if name not in options_of():
            wrong.append(name)
            continue
        given = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
        known = re.findall(r"`(--?[\w-]+)", options_of()[name] + section(GENERATED, "Other names"))
        wrong += [f"{name} {option}" for option in given if option not in (*known, "--help", "--debug")]
    assert wrong == []


def test_options_in_sentences_and_tables_are_those_of_some_command() -> None:
    rows = "\n".join(re.findall(r"^\| `-.*", text(GENERATED), re.MULTILINE))
    known = set(re.findall(r"--[a-z][\w-]*", rows)) | {"--help", "--help-all", "--version", "--debug", "--shm-size"}
    wrong = {}
    for page in (page for page in DOCS.glob("*.md") if page.name not in MIXED):
        spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text(page)))
        ours = [span for span in spans if not re.match(r"(python|torchrun|pip|pipx|uv|accelerate) ", span)]
        named = {option for span in ours for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
        wrong |= {page.name: sorted(named - known)} if named - known else {}
    assert wrong == {}


def test_many_commands_are_read() -> None:
    """The test before this one finds them."""
    found = [name for page in PAGES for name, _ in command_lines(page)]
    assert len(found) > 150
    assert {"generate", "models pull", "evaluate probe", "train-generator"} <= set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(BLOCK.sub("", text(page))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_code_named_beside_the_equations_is_there() -> None:
    """In the tables of docs/model.md: `core.module.Name.method`, and `.other` in it or in place of its last parts."""
    cells = re.findall(r"^\| .* \| (`(?:core|training)\..*) \|$", text(DOCS / "model.md"), re.MULTILINE)
    assert len(cells) > 15
    missing = []
    for cell in cells:
        parents: list[str] = []
        for name in re.findall(r"`([\w.]+)`", cell):
            full = [name] if name[0] != "." else [parent + name for parent in parents]
            if name[0] != ".":
                parents = [name, name.rpartition(".")[0], name.rpartition(".")[0].rpartition(".")[0]]
            missing += [] if any(resolves(each) for each in full) else [f"{name} in {cell}"]
    assert missing == []


def test_files_and_names_of_the_package_are_there() -> None:
    files = {file for page in PAGES for file in re.findall(r"\bbigr_cli/[\w/]+\.py\b", text(page))}
    names = {name for page in DOCS.glob("*.md") for name in re.findall(r"\bbigr_cli\.([a-z][\w.]*\w)", text(page))}
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []
    assert [name for name in sorted(names) if not resolves(name)] == []


def resolves(name: str) -> bool:
    """Whether a dotted name below `bigr_cli` is there: modules, then attributes."""
    parts = name.split(".")
    for length in range(len(parts), -1, -1):
        try:
            module = import_module(".".join(["bigr_cli", *parts[:length]]))
            return bool(reduce(getattr, parts[length:], module))
        except ModuleNotFoundError:
            continue
        except AttributeError:
            return False
    return False


def test_images_are_all_shown() -> None:
    used = {link.partition("#")[0].rpartition("/")[2] for page in PAGES for link in LINK.findall(text(page))}
    assert [file.name for file in sorted((DOCS / "images").iterdir()) if file.name not in used] == []


def test_every_extra_is_in_the_readme_with_its_packages() -> None:
    declared = text(ROOT / "pyproject.toml").partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    rows = named_rows(ROOT / "README.md", "Install")
    for name, packages in re.findall(r"^(\w+) = \[([^\]]*)\]", declared, re.MULTILINE):
        if name not in ("dev", "browser", "docs"):
            assert [package for package in re.findall(r'"([\w-]+)', packages) if package not in rows[name][1]] == []


def test_every_page_is_in_the_readme() -> None:
    readme = text(ROOT / "README.md")
    assert [page.name for page in sorted(DOCS.glob("*.md")) if f"docs/{page.name}" not in readme] == []
