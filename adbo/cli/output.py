"""What every command leaves behind: its exit status, errors, and the summary as JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from adbo.report.colour import with_colours

if TYPE_CHECKING:
    from adbo.core.summary import Summary

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def accept_any_text(*streams: object) -> None:
    """Let streams print characters that their encoding lacks as escapes, such as ``\\xf6``."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_error(text: str) -> None:
    """Print one line on standard error."""
    print(f"adbo: {text}", file=sys.stderr, flush=True)


def print_lines(lines: list[str], stream: TextIO) -> None:
    """Print the last lines of a command, with bold labels on a terminal."""
    print("\n".join(with_colours(lines, stream)), file=stream, flush=True)


def write_json(path: Path | None, summary: Summary) -> None:
    """Write a summary as one JSON object, if there is a path."""
    if path is not None:
        path.write_text(json.dumps(summary.to_json(), indent=2) + "\n")
