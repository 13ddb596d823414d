"""The directories in which programs run, one for each attempt at a trial."""

from __future__ import annotations

from pathlib import Path


def make_directory(root: Path, number: int) -> Path:
    """Make a new directory for a trial, and return it.

    It is ``trial-000123``. If that exists, from another study, job or attempt, it is left alone,
    and the new one is ``trial-000123.1``, ``trial-000123.2`` and so on.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = first = root / f"trial-{number:06d}"
    again = 0
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            again += 1
            path = first.with_name(f"{first.name}.{again}")
        else:
            return path
