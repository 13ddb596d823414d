"""Files that each trial's directory has: filled from templates, or links to given files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adbo.objective.program.placeholders import Text, Value
from adbo.objective.program.table import Table
from adbo.objective.program.texts import Texts
from adbo.objective.program.value import STDERR, STDOUT

#: Keys of a template that is a table.
KEYS = ("template", "marks")

#: Bytes that are not UTF-8 are kept as they are.
_ENCODING, _ERRORS = "utf-8", "surrogateescape"


@dataclass(frozen=True)
class InputFile:
    """A file that is filled in for each trial.

    Parameters
    ----------
    target
        Its path in the trial's directory.
    text
        Its content with placeholders.
    mode
        Its permissions, those of the template.
    """

    target: str
    text: Text
    mode: int

    def write(self, directory: Path, values: Mapping[str, Value]) -> None:
        """Write the file with values filled in."""
        path = directory / self.target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.text.fill(values)
        path.write_text(text, encoding=_ENCODING, errors=_ERRORS, newline="")
        path.chmod(self.mode)


def read_input_files(table: Table, base: Path, texts: Texts) -> tuple[InputFile, ...]:
    """Return the checked content of the table ``[files]``; templates are relative to ``base``."""
    return tuple(_read(table, key, base, texts) for key in table.data)


def read_links(top: Table, base: Path, taken: set[str]) -> tuple[Path, ...]:
    """Return what the key ``links`` names, relative to ``base``."""
    links: list[Path] = []
    names = {STDOUT, STDERR, *(target.partition("/")[0] for target in taken)}
    for text in top.texts("links"):
        path = Path(os.path.abspath(base / text))
        if not os.path.exists(path):
            top.fail("links", f"there is no {text} beside the study file")
        if path.name in names:
            top.fail("links", f"the name {path.name!r} is taken")
        names.add(path.name)
        links.append(path)
    return tuple(links)


def _read(table: Table, target: str, base: Path, texts: Texts) -> InputFile:
    given = table.data[target]
    source, marks = given, None
    if isinstance(given, dict):
        inner = table.table(target)
        inner.check_keys(KEYS)
        source, marks = inner.text("template"), _marks(inner)
    if not isinstance(source, str) or not source:
        table.fail(target, "must name a template")
    _check_target(table, target)
    path = base / source
    try:
        data = path.read_bytes()
    except OSError as error:
        table.fail(target, f"cannot read {source}: {error.strerror}")
    text = texts.parse_text(
        data.decode(_ENCODING, _ERRORS), table, target, origin=source, marks=marks
    )
    return InputFile(target, text, path.stat().st_mode & 0o777 | 0o600)


def _check_target(table: Table, target: str) -> None:
    if os.path.normpath(target) != target or target.startswith(("/", "..")) or target == ".":
        table.fail(target, "must be the path of a file in the trial's directory")
    if target.partition("/")[0] in (STDOUT, STDERR):
        table.fail(target, "is where the program's output goes: choose another name")
    if any(other.startswith(f"{target}/") for other in table.data):
        table.fail(target, "must not be both a file and a directory of another one")


def _marks(table: Table) -> tuple[str, str] | None:
    marks = table.texts("marks")
    if not marks:
        return None
    if len(marks) != 2:
        table.fail("marks", 'must be the text before and after a placeholder, such as ["@", "@"]')
    return (marks[0], marks[1])
