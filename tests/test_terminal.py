"""Only `console`, and `progress` for it, write to the terminal, so that what they filter is all that there is."""

import ast
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

import bigr_cli
from bigr_cli.progress import RichBar

Run = Callable[..., Any]
PACKAGE = Path(bigr_cli.__file__).parent
WRITERS = {"sys.stdout.write", "sys.stderr.write", "sys.stdout.writelines", "sys.stderr.writelines"}
PRINTERS = {"print", "echo", "secho", "pprint", "print_exc", "print_exception", "input"}
SHOWING = ("console.py", "progress.py", "help_pages.py")  # bars and panels; of the help, filtered where it is built
ALLOWED = {("app.py", "echo")}  # of the help, whose texts are filtered where commands are built


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (("import rich", node.lineno) for name in names if name.split(".")[0] == "rich")


def test_nothing_else_writes_to_the_terminal() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for call, line in calls(ast.parse(path.read_text(encoding="utf-8"))) if name not in SHOWING else ():
            last = call.rpartition(".")[2]
            shown = (last in PRINTERS and not call.startswith("self.")) or call in WRITERS or call == "import rich"
            if shown and (name, last) not in ALLOWED | {("app.py", "import rich")}:
                found.append(f"{name}:{line}: {call}")
    assert found == []


def test_bars_and_panels_show_escapes() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    bar = RichBar(Progress(TextColumn("{task.description}", markup=False), console=console), "a\x1b]0;owned\x07", 2, 0)
    bar.facts({"b\x1b[2J": "c\x9b31m"})
    console.print(bar)
    bar.describe("d\x1b]0;owned\x07")
    bar.detail(0, 1, "e\u202e")
    console.print(bar)
    assert not [raw for raw in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e") if raw in text.getvalue()]
    for shown in ("a\\x1b]0;owned\\x07", "b\\x1b[2J", "c\\x9b31m", "d\\x1b]0", "e\\u202e"):
        assert shown in text.getvalue()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with a package, as pip leaves it, of two commands: one whose help has escapes, one with bad markup."""
    information = tmp_path / "bigr_plugin_odd-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bigr-plugin-odd\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[bigr.tasks]\nodd = bigr_plugin_odd\n")
    (tmp_path / "bigr_plugin_odd.py").write_text(
        "import typer\n"
        "from bigr_cli.registry import task\n"
        "@task('escapes', help='Shows \\x1b]0;owned\\x07 titles', examples=('bigr escapes \\x1b[2J',))\n"
        "def escapes(word: str = typer.Option('x', help='A \\x1b[31mword \\u202e', metavar='W\\x9b')) -> None:\n"
        "    '''More \\x1b[5m of it.'''\n"
        "@task('markup', help='Closes [/what] is not open')\n"
        "def markup() -> None: ...\n"
    )
    return tmp_path


def test_the_help_of_plugins(bigr_process: Run, plugin: Path) -> None:
    environment = {"PYTHONPATH": str(plugin), "BIGR_PLUGINS": "odd", "TERM": "dumb"}
    for words in (("--help",), ("escapes", "--help"), ("tasks",)):
        shown = bigr_process(*words, env=environment)
        assert shown.code == 0
        assert not set("\x1b\x07\x9b\u202e") & set(shown.out + shown.err)
        assert "\\x1b" in shown.out
        assert shown.err.startswith("warning: plugin 'markup' (bigr-plugin-odd 1) is left out: MarkupError")
