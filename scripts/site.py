"""What mkdocs does beside docs/ (see mkdocs.yml): README as the home page, and links that lead out of docs/.

README.md, CONTRIBUTING.md, CHANGELOG.md and SECURITY.md become pages. A link to another file of the repository is shown
as its text, since the site has no such file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PAGES |= {"SECURITY.md": "security.md"}
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_MARK = re.compile(r"^(```\w+) [^\n]+$", re.MULTILINE)
_FENCE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie beside docs/."""
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](").replace('src="docs/', 'src="')
        files.append(File.generated(config, name, content=_inside(text, "")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page of docs/ with its links within the site; blocks of code are marked with a language alone."""
    markdown = _MARK.sub(r"\1", markdown)
    return markdown if page.file.src_uri in PAGES.values() else _inside(markdown, "../")


def _inside(text: str, up: str) -> str:
    """The text with its links to the repository's files, which are named from `up`, within the site."""

    def link(found: re.Match[str]) -> str:
        shown, target = found.groups()
        path, hash_, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return found[0]
        if path.startswith(up) and path.removeprefix(up) in PAGES:
            return f"[{shown}]({PAGES[path.removeprefix(up)]}{hash_}{anchor})"
        if up and path.startswith(up):
            return shown
        return found[0] if (ROOT / "docs" / path).is_file() else shown

    parts = _FENCE.split(text)
    return "".join(part if number % 2 else _LINK.sub(link, part) for number, part in enumerate(parts))
