"""Texts with placeholders ``{x}``, which are checked when they are read and filled per trial."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: The value of a parameter, or what else can be filled in.
Value = bool | int | float | str


@dataclass(frozen=True)
class Placeholder:
    """A place to be filled: the name of what is filled in, and how it is written.

    Parameters
    ----------
    name
        For example ``x`` or ``trial.number``.
    spec
        A format specification of Python such as ``.3e``; empty for full precision.
    line
        The number of its line, from 1.
    """

    name: str
    spec: str
    line: int


@dataclass(frozen=True)
class Text:
    """A text with placeholders."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> list[Placeholder]:
        """Its placeholders, in order."""
        return [part for part in self.parts if isinstance(part, Placeholder)]

    def fill(self, values: Mapping[str, Value]) -> str:
        """Return the text with values in its places."""
        return "".join(
            part if isinstance(part, str) else written(values[part.name], part.spec)
            for part in self.parts
        )


def written(value: Value, spec: str = "") -> str:
    """Return a value as it is filled in: by default, a float so that reading it is exact.

    Raises
    ------
    ValueError
        If the value cannot be written in the format.
    """
    if spec:
        return format(value, spec)
    if isinstance(value, bool):
        return str(value).lower()  # as TOML and JSON write it
    return repr(value) if isinstance(value, float) else str(value)


def parse(text: str, marks: tuple[str, str] | None = None) -> Text:
    """Return a text with its placeholders.

    Parameters
    ----------
    text
        In which ``{{`` and ``}}`` mean single braces.
    marks
        What stands before and after a placeholder instead of braces; braces are then ordinary
        characters.

    Raises
    ------
    ValueError
        If there is a single brace, or a placeholder without a name. The message has the line.
    """
    token = _BRACES if marks is None else _between(*marks)
    parts: list[str | Placeholder] = []
    end = 0
    for match in token.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        line = text.count("\n", 0, match.start()) + 1
        inside = match["inside"]
        if inside is not None:
            name, _, spec = inside.partition(":")
            if not name:
                raise ValueError(f"line {line}: a placeholder has no name")
            parts.append(Placeholder(name, spec, line))
        elif len(match[0]) == 2:
            parts.append(match[0][0])
        else:
            raise ValueError(f"line {line}: a single {match[0]!r}; write {match[0] * 2!r} for it")
    parts.append(text[end:])
    return Text(tuple(part for part in parts if part != ""))


_BRACES = re.compile(r"\{\{|\}\}|\{(?P<inside>[^{}\n]*)\}|[{}]")


def _between(before: str, after: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(before)}(?P<inside>[^\n]*?){re.escape(after)}")
