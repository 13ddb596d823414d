"""Standard streams that are closed, broken or full: what a run has found matters more."""

from __future__ import annotations

import contextlib
import os
from typing import TextIO


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is open, and a terminal."""
    return not stream.closed and stream.isatty()


def write(text: str, stream: TextIO) -> str | None:
    """Write a text and a line break; return why it cannot be written, if anybody reads it."""
    if stream.closed:  # by the objective
        return None
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        _give_up(stream)
        return None if isinstance(error, BrokenPipeError) else error.strerror or str(error)
    return None


def _give_up(stream: TextIO) -> None:
    """Let go nowhere what is still buffered: Python would complain about it at its end."""
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
