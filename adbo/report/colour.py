"""Colours on a terminal, and nowhere else."""

from __future__ import annotations

import os
import re
from typing import TextIO

from adbo.core.streams import is_terminal

_GREEN, _BOLD, _END = "\033[32m", "\033[1m", "\033[0m"

#: The label with which a line may begin.
_LABEL = re.compile(r"[a-z ]+:")


def is_coloured(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with colours, and its user has not said NO_COLOR."""
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    return is_terminal(stream) and not is_dumb and not os.environ.get("NO_COLOR")


def with_colours(lines: list[str], stream: TextIO) -> list[str]:
    """Return lines with bold labels if the stream has colours, else as they are."""
    if not is_coloured(stream):
        return lines
    labels = map(_LABEL.match, lines)
    return [
        line if label is None else f"{_BOLD}{label[0]}{_END}{line[label.end() :]}"
        for line, label in zip(lines, labels, strict=True)
    ]


def green_until_comma(text: str) -> str:
    """Return a text whose part before the first comma is green."""
    head, comma, rest = text.partition(",")
    return f"{_GREEN}{head}{_END}{comma}{rest}"
