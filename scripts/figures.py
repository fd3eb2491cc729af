"""Make the figures of docs/ by the very commands printed above them: python scripts/figures.py [PAGE...]

A block that begins with ```bash figure is run in an empty folder; the image linked next is what it wrote there, and
goes to docs/images, enlarged where it is small.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
FIGURE = re.compile(r"```bash figure\n(.*?)```.*?!\[[^\]]*\]\(images/([^)]+)\)", re.DOTALL)
WIDTH = 900  # pixels that a figure may have after enlarging


def make(commands: str, name: str) -> None:
    """Run the commands of one figure, and take the image they made."""
    with TemporaryDirectory() as folder:
        subprocess.run(["bash", "-euc", commands], cwd=folder, check=True, env=_environment())
        with Image.open(Path(folder) / name) as image:
            factor = max(1, WIDTH // image.width)
            size = (image.width * factor, image.height * factor)
            image.convert("RGB").resize(size, Image.Resampling.NEAREST).save(DOCS / "images" / name, optimize=True)


def _environment() -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"], "BIGR_PLUGINS": "none"}


def main() -> None:
    """All pages, or those named."""
    pages = sorted(path.name for path in DOCS.glob("*.md"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="a file of docs/ (default: all)")
    chosen = parser.parse_args().pages
    if unknown := [name for name in chosen if name not in pages]:
        parser.error(f"docs/{unknown[0]}: is not there")
    for page in [DOCS / name for name in chosen or pages]:
        for commands, name in FIGURE.findall(page.read_text(encoding="utf-8")):
            print(f"{page.name}: {name}")
            make(commands, name)


if __name__ == "__main__":
    main()
