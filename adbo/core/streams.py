"""Standard streams that are closed, broken, full or replaced, which must not end a run."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO


def is_open(stream: TextIO | None) -> bool:
    """Return whether a stream is there, and neither closed nor detached, as objectives may do."""
    try:
        return stream is not None and not getattr(stream, "closed", False)
    except ValueError:  # detached
        return False


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open, and a terminal."""
    if stream is None or not is_open(stream):
        return False
    return hasattr(stream, "isatty") and bool(stream.isatty())


def write(text: str, stream: TextIO | None) -> str | None:
    """Write a text and a line break; return why it cannot be written, if anybody reads it."""
    if stream is None or not is_open(stream):
        return None
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _give_up(stream)
    except OSError as error:
        _give_up(stream)
        return error.strerror or str(error)
    except ValueError:  # closed meanwhile
        return None
    return None


def flush_all() -> None:
    """Flush standard output and standard error as far as that is possible."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _give_up(stream: TextIO) -> None:
    """Let go nowhere what is still buffered: Python would complain about it at its end."""
    with (
        contextlib.suppress(OSError, ValueError, AttributeError),
        open(os.devnull, "w") as nowhere,
    ):
        os.dup2(nowhere.fileno(), stream.fileno())
