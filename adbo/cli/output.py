"""What every command leaves behind: its exit status, errors, and the summary as JSON."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from adbo.core.streams import write
from adbo.report.colour import with_colours

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def prepare_streams() -> None:
    """Make the standard streams such that no text fails on them.

    Characters that their encoding lacks are printed as escapes, such as ``\\xf6``. What is written
    to a stream that was closed before the start goes nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_error(text: str) -> None:
    """Print one line on standard error."""
    write(f"adbo: {text}", sys.stderr)


def print_lines(lines: list[str], stream: TextIO) -> bool:
    """Print the last lines of a command, with bold labels on a terminal.

    Returns
    -------
    bool
        Whether they are written, or nobody reads them; otherwise a line says why not.
    """
    return print_text("\n".join(with_colours(lines, stream)), stream)


def print_text(text: str, stream: TextIO) -> bool:
    """Print what a command has to say as it is; see `print_lines`."""
    problem = write(text, stream)
    if problem is not None:
        print_error(f"cannot write the output: {problem}")
    return problem is None


def write_json(path: Path | None, content: Mapping[str, Any]) -> bool:
    """Write one JSON object, if there is a path; numbers that are not finite become null.

    Returns
    -------
    bool
        Whether it is written; otherwise a line says why not.
    """
    if path is None:
        return True
    try:
        path.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")
    except OSError as error:
        print_error(f"cannot write {path}: {error.strerror}")
        return False
    return True


def _finite(content: Any) -> Any:
    """Return what JSON has a notation for."""
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
