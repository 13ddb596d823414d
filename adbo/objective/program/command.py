"""The command of a study file: a program and its arguments, with placeholders."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbo.objective.program.placeholders import Text, Value
from adbo.objective.program.table import Table
from adbo.objective.program.texts import Texts

_KEY = "command"

#: Placeholders with which an absolute path begins.
_ABSOLUTE = ("{study.directory}", "{trial.directory}", "{env.")

#: Words by which a shell redirects or joins commands.
_OF_SHELLS = frozenset({"<", ">", ">>", "|", "||", "&", "&&", ";", "2>", "2>&1", "<<", "&>"})


@dataclass(frozen=True)
class Argument:
    """Neighbouring arguments that are given together.

    Parameters
    ----------
    texts
        The arguments with placeholders.
    is_optional
        Whether they are left out where a parameter in them does not exist.
    """

    texts: tuple[Text, ...]
    is_optional: bool = False

    def fill(self, values: Mapping[str, Value], absent: frozenset[str]) -> list[str]:
        """Return the arguments, none if they are left out."""
        names = {place.name for text in self.texts for place in text.placeholders}
        if self.is_optional and names & absent:
            return []
        return [text.fill(values) for text in self.texts]


def read_command(
    top: Table, base: Path, made: set[str], texts: Texts, has_own_path: bool
) -> tuple[Argument, ...]:
    """Return the checked command of a study file.

    Words that begin with ``./`` or ``../``, and a program with a slash, are paths relative to the
    study file, unless the trial's directory has such a file.

    Parameters
    ----------
    top
        The study file.
    base
        Its directory.
    made
        The files that each trial's directory has.
    texts
        Checks placeholders.
    has_own_path
        Whether the program gets another PATH than this process has.
    """
    first, *others = _words(top)
    if isinstance(first, list):
        top.fail(_KEY, "the program must be a text, not a list")
    _check_program(first, top, base, made, has_own_path)
    arguments = [Argument((texts.parse_text(_program(first, base, made), top, _KEY),))]
    for word in others:
        is_optional = isinstance(word, list)
        group = word if is_optional else [word]
        for text in group:
            _check_argument(text, top, base, made)
        parsed = (
            texts.parse_text(_argument(text, base, made), top, _KEY, may_be_absent=is_optional)
            for text in group
        )
        arguments.append(Argument(tuple(parsed), is_optional))
    return tuple(arguments)


def _words(top: Table) -> list[Any]:
    command = top.data.get(_KEY)
    if command is None:
        top.fail(_KEY, 'is missing: give a text or a list of texts, such as ["./sim", "{x}"]')
    words = command
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            top.fail(_KEY, f"cannot be split into words: {error}")
        for word in words:
            if word in _OF_SHELLS:
                top.fail(
                    _KEY,
                    f"there is no shell that understands {word!r}: the output is kept in files"
                    ' anyway, the key stdin names an input; else use ["sh", "-c", "..."]',
                )
    if not isinstance(words, list) or not words or not all(map(_is_word, words)):
        top.fail(_KEY, "must be a text or a list of texts (or of lists of texts)")
    if not words[0]:
        top.fail(_KEY, "the program must not be empty")
    return words


def _is_word(word: object) -> bool:
    inner = word if isinstance(word, list) else [word]
    return bool(inner) and all(isinstance(text, str) for text in inner)


def _program(word: str, base: Path, made: set[str]) -> str:
    """Return the program, as an absolute path if it is relative to the study file."""
    if "/" not in word or word.startswith(("/", *_ABSOLUTE)) or _normal(word) in made:
        return word
    return _beside(word, base)


def _argument(word: str, base: Path, made: set[str]) -> str:
    """Return an argument, as an absolute path if it is relative to the study file."""
    if not word.startswith(("./", "../")) or _normal(word) in made:
        return word
    return _beside(word, base)


def _beside(word: str, base: Path) -> str:
    directory = str(base).replace("{", "{{").replace("}", "}}")
    return os.path.normpath(f"{directory}/{word}")


def _normal(word: str) -> str:
    return os.path.normpath(word)


def _check_program(word: str, top: Table, base: Path, made: set[str], has_own_path: bool) -> None:
    """Refuse a program that does not exist, as far as placeholders leave this to be known."""
    if _has_braces(word) or ("/" in word and _normal(word) in made):
        return
    if "/" in word:
        _check_executable(word, base / word, top)
    elif not has_own_path and shutil.which(word) is None:
        beside = f": write ./{word}" if os.path.isfile(base / word) else ""
        top.fail(_KEY, f"there is no program {word!r} on the PATH{beside}")


def _check_executable(word: str, path: Path, top: Table) -> None:
    if not os.path.isfile(path):
        top.fail(_KEY, f"there is no program {word}")
    if not os.access(path, os.X_OK):
        top.fail(_KEY, f"{word} is not executable: chmod +x {word}")


def _check_argument(word: str, top: Table, base: Path, made: set[str]) -> None:
    """Refuse a path that is missing, or that is taken for one in the trial's directory."""
    if not word or _has_braces(word) or word.startswith(("/", "-")) or _normal(word) in made:
        return
    path = base / word
    if word.startswith(("./", "../")):
        if not os.path.exists(path):
            top.fail(_KEY, f"there is no {word} beside the study file")
    elif os.path.isfile(path):
        top.fail(
            _KEY,
            f"{word} is beside the study file, but the program runs in the trial's directory:"
            f" write ./{word}, or {{trial.directory}}/{word} for the one there",
        )


def _has_braces(word: str) -> bool:
    return "{" in word or "}" in word
