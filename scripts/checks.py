"""Everything that must hold: lint, types, generated docs, the site, tests, and a wheel that works outside the checkout.

    pip install -e '.[dev]' && python scripts/checks.py            # all steps, in order
    python scripts/checks.py lint types                            # some of them

`.ci/run` and `.github/workflows/ci.yml` run these steps, each in an environment of its own. The first step that fails
ends the run with its exit code.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEST_SECONDS = 1200  # then the tests are interrupted, and pytest names the one that hangs
_SETTINGS = ("BIGR_PLUGINS", "BIGR_MODEL", "BIGR_DEBUG", "PYTHONPATH")  # a developer's own must not decide

started = time.monotonic()


def main() -> None:
    """Run the steps that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all by default")
    chosen = parser.parse_args().steps or list(STEPS)
    if unknown := [name for name in chosen if name not in STEPS]:
        parser.error(f"no such step: {', '.join(unknown)}")
    for name in _SETTINGS:
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as work:
        os.environ["BIGR_HOME"] = str(Path(work) / "home")
        for name in chosen:
            print(f"\n== {name} ({time.monotonic() - started:.0f} s)", flush=True)
            STEPS[name](Path(work))
    print(f"\n== done ({time.monotonic() - started:.0f} s)", flush=True)


def lint(work: Path) -> None:
    """ruff, both as a linter and for the layout of the code."""
    _python("-m", "ruff", "check", ".")
    _python("-m", "ruff", "format", "--check", ".")


def types(work: Path) -> None:
    """mypy: strict for the package; the scripts of benchmarks/ must call what is there."""
    _python("-m", "mypy")
    _python("-m", "mypy", "--config-file", "mypy.ini", ".", cwd=ROOT / "benchmarks")


def docs(work: Path) -> None:
    """Pages that are generated are current, and so are the measured numbers in the others."""
    _python("scripts/commands.py", "--check")
    _python("scripts/results.py", "--check")


def site(work: Path) -> None:
    """The site is built, the API page among it: no link that leads nowhere, no docstring that names a lost argument."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    _python("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(work / "site"), env=environment)
    page = (work / "site" / "api.html").read_text(encoding="utf-8")
    if 'id="bigr_cli.Model.inpaint"' not in page:
        sys.exit("the API page lacks Model.inpaint")


def tests(work: Path) -> None:
    """The fast tests, interrupted when they take too long."""
    with subprocess.Popen([sys.executable, "-m", "pytest", "-n", "auto", "--durations", "25"], cwd=ROOT) as running:
        try:
            code = running.wait(TEST_SECONDS)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
            running.wait(60)
            sys.exit(f"the tests took more than {TEST_SECONDS} s")
    if code:
        sys.exit(code)


def wheel(work: Path) -> None:
    """A wheel is built, and its own copy of the package draws an image from another folder."""
    _python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(work / "dist"), ".")
    (built,) = (work / "dist").glob("*.whl")
    installed, elsewhere = work / "installed", work / "elsewhere"
    _python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(built))
    elsewhere.mkdir()
    # PYTHONPATH comes before the editable install, which only supplies the dependencies.
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = "import bigr_cli; print(bigr_cli.__file__)"
    found = Path(
        subprocess.run(
            [sys.executable, "-c", where], cwd=elsewhere, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    if installed.resolve() not in found.resolve().parents:
        sys.exit(f"tested the wrong copy: {found}")
    for words in (["--version"], ["--help"], ["tasks"], ["generate", "cat", "-n", "1", "-o", "out.png"]):
        _python("-m", "bigr_cli", *words, cwd=elsewhere, env=environment)
    _python("-c", "from PIL import Image; i = Image.open('out.png'); i.load(); print('out.png', i.size)", cwd=elsewhere)


def _python(*words: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=env, check=False)
    if done.returncode:
        sys.exit(done.returncode)


STEPS: dict[str, Callable[[Path], None]] = {step.__name__: step for step in (lint, types, docs, site, tests, wheel)}


if __name__ == "__main__":
    main()
