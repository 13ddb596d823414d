"""Sphinx configuration: `sphinx-build docs docs/_build` makes the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import adbo

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/adbo-project/adbo/blob/main/"

#: Pages whose text is a file outside of this folder.
ELSEWHERE = {
    "benchmarks": "experiments/README.md",
    "defaults": "experiments/DEFAULTS.md",
    "developers": "CONTRIBUTING.md",
    "changes": "CHANGELOG.md",
}

project = "adbo"
author = "The adbo authors"
release = adbo.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinxarg.ext",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # the changelog repeats headings
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say what is meant
autodoc_default_options = {"members": True, "member-order": "bysource"}

html_theme = "sphinx_book_theme"
html_title = "adbo"
html_theme_options = {
    "repository_url": REPOSITORY.partition("/blob")[0],
    "use_repository_button": True,
    "show_toc_level": 2,
    "navbar_persistent": [],
}
html_show_sourcelink = False


def read(app: Any, page: str, source: list[str]) -> None:
    """Fill pages with the files that are their text, and let links of files lead somewhere."""
    folder = "docs"
    if page in ELSEWHERE:
        file = ELSEWHERE[page]
        source[0], folder = (ROOT / file).read_text(), posixpath.dirname(file)
    source[0] = re.sub(r"\]\(([^)#\s:]+)(#[^)]*)?\)", lambda m: _link(m, folder), source[0])


def _link(match: re.Match[str], folder: str) -> str:
    """Return a link of a file in `folder` as one of a page, or as one to the repository."""
    target, anchor = match[1], match[2] or ""
    file = posixpath.normpath(posixpath.join(folder, target))
    for page, text in ELSEWHERE.items():
        if file == text:
            return f"]({page}.md{anchor})"
    if file.endswith((".png", ".svg")):
        return f"](../{file})"
    if posixpath.dirname(file) == "docs" and file.endswith(".md"):
        return f"]({posixpath.basename(file)}{anchor})"
    return f"]({REPOSITORY}{file}{anchor})"


def setup(app: Any) -> None:
    """Register the above."""
    app.connect("source-read", read)
