"""Whether a person watches what a process writes, also through the pipes of an MPI launcher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from adbo.core.streams import is_terminal

#: Number of ancestors of a rank that are searched for the launcher: the launcher itself, its proxy
#: or daemon, and shells in between.
_GENERATIONS = 4

_LAUNCHERS = ("mpiexec", "mpirun", "prterun", "prte", "orterun", "hydra", "srun")


def is_watched(stream: TextIO) -> bool:
    """Return whether a person sees at once what is written to a stream.

    That is so if the stream is a terminal. Launchers give ranks pipes and forward their output, so
    it is also so if the standard error of a launcher among the ancestors is a terminal.
    """
    if is_terminal(stream):
        return True
    process = os.getppid()
    for _ in range(_GENERATIONS):
        try:
            target = os.readlink(f"/proc/{process}/fd/2")
            name = Path(f"/proc/{process}/comm").read_text()
            if name.startswith(_LAUNCHERS) and target.startswith(("/dev/pts/", "/dev/tty")):
                return True
            stat = Path(f"/proc/{process}/stat").read_text()
            process = int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return False
    return False


def has_width(stream: TextIO) -> bool:
    """Return whether a stream is a terminal of known width."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False
