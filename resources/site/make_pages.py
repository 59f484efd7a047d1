"""Collect the pages of the documentation site in build/docs: `python -m resources.site.make_pages`, by `make docs`.

docs/ is copied. Its links to files outside are led to their pages on the site, or become plain text. Reference pages of
settings and classes are written from signatures and docstrings.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from resources.site import settings

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "docs"

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/README.md": "benchmarks.md",
    "docs/decisions": "decisions/index.md",
}
"""File or folder of the repository -> its page; files of docs/ keep their names."""

PACKAGES = {
    "objectives": "Losses and balancers",
    "data": "Rows, samplers and the mixture",
    "training": "The training module and schedules",
    "callbacks": "Callbacks of a run",
    "judging": "Judges",
    "metrics": "Rates and intervals",
    "generation": "Generation backends",
    "models": "Base models",
    "embedding": "Embedders",
    "synthesis": "Synthesis of queries",
    "curation": "Filters and curation",
    "evaluation": "Benchmarks and evaluation",
}

WIDE = "---\nhide: [toc]\n---\n\n"
"""Head of a page that takes the place of the table of contents too."""

WIDE_PAGES = ("README.md", "benchmarks/README.md", "docs/coming_from.md", "docs/first_steps.md", "docs/howto/")
"""Pages of long code lines or wide tables, or their folder."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)")
FILE_BLOCK = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)


def main() -> None:
    """Delete the built pages and write all pages."""
    shutil.rmtree(BUILT, ignore_errors=True)
    shutil.copytree(ROOT / "docs", BUILT)
    copied = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    for source in [*(name for name in PAGES if name.endswith(".md")), *copied]:
        page = BUILT / page_of(source)
        head = WIDE if source.startswith(WIDE_PAGES) else ""
        page.write_text(head + site_text((ROOT / source).read_text(encoding="utf-8"), source), encoding="utf-8")
    (BUILT / "decisions" / "index.md").write_text(decisions_page(), encoding="utf-8")
    settings.write_pages(BUILT)
    write_api_pages(BUILT / "api")


def page_of(source: str) -> str:
    """Return the page of a file of the repository, relative to the site's root."""
    return PAGES.get(source) or source.removeprefix("docs/")


def site_text(text: str, source: str) -> str:
    """Return a page's Markdown with links and titles of code blocks as the site has them.

    Args:
        text: of the file.
        source: its path in the repository.
    """

    def moved(match: re.Match[str]) -> str:
        image, label, target, anchor = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        found = os.path.normpath(PurePosixPath(source).parent / target)
        if found not in PAGES and not found.startswith("docs/"):
            return label
        relative = os.path.relpath(page_of(found), PurePosixPath(page_of(source)).parent)
        return f"{image}[{label}]({relative}{anchor or ''})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        FILE_BLOCK.sub(r'```\1 title="\2"', part) if part.startswith("```") else LINK.sub(moved, part) for part in parts
    )


def decisions_page() -> str:
    """Return the list of all decisions, by number."""
    lines = ["# Decisions", "", "Why parts of grsap are as they are, where that is not obvious.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines) + "\n"


def write_api_pages(folder: Path) -> None:
    """Write one page per package, with the classes and functions that it exports."""
    folder.mkdir()
    index = ["# Python API", "", "Made from the docstrings.", ""]
    for package, title in PACKAGES.items():
        index.append(f"- [{title}]({package}.md): `grsap.{package}`")
        module = importlib.import_module(f"grsap.{package}")
        lines = [f"# {title}", "", f"What `grsap.{package}` exports.", ""]
        for name in sorted(module.__all__):
            member = getattr(module, name)
            place = getattr(member, "__module__", None) if callable(member) else None
            if place is not None and place.startswith("grsap."):
                lines += [f"::: {place}.{member.__qualname__}", ""]
        (folder / f"{package}.md").write_text("\n".join(lines), encoding="utf-8")
    (folder / "index.md").write_text("\n".join(index) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
