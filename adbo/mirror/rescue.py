"""Evaluations that the database did not take, kept in a file until the study is resumed.

One line of JSON each, for people and other programs to read, below a line that names the study.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adbo.core.evaluation import Evaluation
from adbo.core.trial_json import decode_evaluation, encode_evaluation

_FORMAT = "adbo rescued evaluations 1"


class RescueError(Exception):
    """A file cannot be written or read; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the files of a study are.

    Parameters
    ----------
    study_name
        The study.
    storage
        Its storage as one may print it: studies of one name are not always one study.
    directories
        Where to look, and where to write: into the first that takes it.
    """

    study_name: str
    storage: str
    directories: Sequence[Path]

    @property
    def header(self) -> dict[str, str]:
        """The first line of a file."""
        return {"format": _FORMAT, "study": self.study_name, "storage": self.storage}


def usual_directories(beside: Path | None) -> list[Path]:
    """Beside the study if it is a file, the current directory, the user's, the system's."""
    places = [*([] if beside is None else [beside]), Path.cwd(), Path.home()]
    return [*places, Path(tempfile.gettempdir())]


def write(place: Place, evaluations: Iterable[Evaluation]) -> Path:
    """Write a new file, whole or not at all.

    Raises
    ------
    RescueError
        If no directory takes it.
    """
    lines = [json.dumps(place.header), *(json.dumps(encode_evaluation(e)) for e in evaluations)]
    text = "\n".join(lines) + "\n"
    stem = re.sub(r"[^\w.-]+", "_", place.study_name)[:100]
    problem: OSError | None = None
    for directory in place.directories:
        try:
            return _write_new(directory, stem, text)
        except OSError as error:
            problem = problem or error
    raise RescueError(f"they could not be written to a file either: {problem}")


def find(place: Place) -> list[Path]:
    """The files of a study, oldest first."""
    found = {
        path.resolve(): path
        for directory in place.directories
        for path in _listed(directory)
        if _header(path) == place.header
    }
    return sorted(found.values(), key=lambda path: path.stat().st_mtime)


def read(path: Path) -> list[Evaluation]:
    """The evaluations of a file.

    Raises
    ------
    RescueError
        If it cannot be read.
    """
    try:
        return [decode_evaluation(json.loads(line)) for line in path.read_text().splitlines()[1:]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RescueError(f"cannot read {path}: {error}") from None


def renamed(rescued: Iterable[Evaluation], known: Iterable[Evaluation]) -> list[Evaluation]:
    """Those of rescued evaluations that are not known, under names that no other one has.

    A name was used twice if the study was resumed without its file in between.
    """
    taken = {(e.rank, e.seq): e for e in known}
    new = []
    for evaluation in rescued:
        same_name = taken.get((evaluation.rank, evaluation.seq))
        if same_name is not None:
            if same_name.layout.key == evaluation.layout.key and (
                same_name.internal == evaluation.internal
            ):
                continue  # it was stored after all
            last = max(seq for rank, seq in taken if rank == evaluation.rank)
            evaluation = dataclasses.replace(evaluation, seq=last + 1)
        taken[evaluation.rank, evaluation.seq] = evaluation
        new.append(evaluation)
    return new


def _write_new(directory: Path, stem: str, text: str) -> Path:
    descriptor, name = tempfile.mkstemp(".tmp", f"{stem}.", directory)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        number = 0
        while True:
            path = directory / f"{stem}.rescued{f'-{number}' if number else ''}.jsonl"
            try:
                os.link(temporary, path)  # unlike a renaming, it replaces nothing
                return path
            except FileExistsError:
                number += 1
    finally:
        temporary.unlink(missing_ok=True)


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.glob("*.rescued*.jsonl"))
    except OSError:
        return []


def _header(path: Path) -> Any:
    try:
        with path.open() as file:
            return json.loads(file.readline())
    except (OSError, ValueError):
        return None
