"""Files of evaluations that the database did not take, kept until the study is resumed.

The first line of a file names the study; each other line is an evaluation as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from adbo.core.evaluation import Evaluation, key_of
from adbo.core.job import SEQS_PER_JOB, job_of
from adbo.core.settings import Settings
from adbo.core.trial_json import decode_evaluation, encode_evaluation
from adbo.mirror.connection import storage_name, storage_url
from adbo.mirror.mirror import Writer, write_all
from adbo.mirror.settings import DEFAULTS

#: Seconds by which the times of an evaluation may differ after it was stored; some databases keep
#: whole seconds.
_RESOLUTION = 1.0

_FORMAT = "adbo rescued evaluations 1"


class RescueError(Exception):
    """A file cannot be written or read; the message is one line for the user."""


@dataclass(frozen=True)
class Location:
    """Where the rescue files of a study are.

    Parameters
    ----------
    study_name
        The name of the study.
    storage
        The name of its storage, without password; another storage may have a study of that name.
    directories
        Where files are looked for. A new file goes to the first directory that can be written.
    """

    study_name: str
    storage: str
    directories: Sequence[Path]

    @property
    def header(self) -> dict[str, str]:
        """The first line of a file."""
        return {"format": _FORMAT, "study": self.study_name, "storage": self.storage}


def location(settings: Settings) -> Location:
    """Return where the rescue files of a run's study are.

    The directories are that of the study, if it is an SQLite file, the current one, the user's
    home and the one for temporary files, as far as they exist.
    """
    assert settings.storage is not None
    directories: list[Path] = []
    for find_one in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
        # A user without an entry has no home; where no directory can be written, none is for
        # temporary files.
        with contextlib.suppress(OSError, RuntimeError):
            directories.append(find_one())
    name = storage_name(settings.storage)
    if name.startswith("sqlite"):
        path = Path(sa.make_url(storage_url(settings.storage)).database or "").absolute()
        name = f"sqlite:///{path.resolve()}"
        # Earlier versions wrote beside a link to the file, not beside the file.
        directories[:0] = [path.resolve().parent, path.parent.resolve()]
    return Location(settings.study_name, name, directories)


def write(location: Location, evaluations: Iterable[Evaluation]) -> Path:
    """Write evaluations to a new file, which is complete once it has its name.

    Raises
    ------
    RescueError
        If no directory can be written.
    """
    lines = [json.dumps(location.header), *(json.dumps(encode_evaluation(e)) for e in evaluations)]
    text = "\n".join(lines) + "\n"
    stem = re.sub(r"[^\w.-]+", "_", location.study_name)[:100]
    problem: OSError | None = None
    for directory in location.directories:
        try:
            return _write_new(directory, stem, text)
        except OSError as error:
            problem = problem or error
    raise RescueError(f"they could not be written to a file either: {problem or 'no directory'}")


def find(location: Location) -> list[Path]:
    """Return the files of a study, oldest first."""
    found = {
        path.resolve(): path
        for directory in location.directories
        for path in _listed(directory)
        if _header(path) == location.header
    }
    return sorted(found.values(), key=_modified)


def read(path: Path) -> list[Evaluation]:
    """Return the evaluations of a file.

    Raises
    ------
    RescueError
        If the file cannot be read.
    """
    try:
        return [decode_evaluation(json.loads(line)) for line in path.read_text().splitlines()[1:]]
    except FileNotFoundError:
        return []  # another job has just stored them, and removed the file
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RescueError(f"cannot read {path}: {error}") from None


def last_job(location: Location) -> int:
    """Return the greatest number of a job in the files of a study; -1 if there is none.

    Raises
    ------
    RescueError
        If a file cannot be read.
    """
    return max((job_of(e.seq) for p in find(location) for e in read(p) if e.rank >= 0), default=-1)


def restore(
    location: Location,
    writer: Writer,
    known: Sequence[Evaluation],
    report: Callable[[str], None],
) -> list[Evaluation]:
    """Store the evaluations of all files of a study, and remove the files.

    Parameters
    ----------
    location
        Where the files are.
    writer
        Stores evaluations.
    known
        What the study has.
    report
        Takes one line for the user.

    Returns
    -------
    list of Evaluation
        What was not in the study.

    Raises
    ------
    RescueError
        If a file cannot be read.
    """
    restored: list[Evaluation] = []
    for path in find(location):
        try:
            rescued = read(path)
        except RescueError:
            if path.exists():
                raise
            continue  # another job has just restored it
        new = with_unique_names(rescued, [*known, *restored])
        refused: dict[tuple[int, int], tuple[Evaluation, ValueError]] = {}
        for start in range(0, len(new), DEFAULTS.pace.batch):
            refused |= write_all(writer, new[start : start + DEFAULTS.pace.batch])
        restored += [e for e in new if (e.rank, e.seq) not in refused]
        n_taken = len(new) - len(refused)
        report(f"{n_taken} evaluations that the database had not taken are from {path}")
        if refused:
            _, error = next(iter(refused.values()))
            report(f"the database refuses {len(refused)} others, which stay there: {error}")
        else:
            path.unlink(missing_ok=True)
    return restored


def with_unique_names(
    rescued: Iterable[Evaluation], known: Iterable[Evaluation]
) -> list[Evaluation]:
    """Return the rescued evaluations that are not among the known ones.

    The name of another evaluation may be the same: earlier versions used names again, trials that
    adbo did not make are known by their numbers, and a study that was begun anew has the same jobs
    as the old one. Then the rescued evaluation gets a name that no rank uses. It follows from the
    evaluation, so that two jobs that restore one file at the same time store it once.
    """
    taken = {(e.rank, e.seq): e for e in known}
    alike: dict[tuple[tuple[str, str], ...], list[Evaluation]] = defaultdict(list)
    for e in taken.values():
        alike[_params(e)].append(e)
    new = []
    for evaluation in rescued:
        if (evaluation.rank, evaluation.seq) in taken:
            others = alike[_params(evaluation)]
            if any(abs(e.started - evaluation.started) < _RESOLUTION for e in others):
                continue  # it was stored after all, or is in another file, too
            evaluation = _renamed(evaluation)
            while (evaluation.rank, evaluation.seq) in taken:
                evaluation = replace(evaluation, seq=evaluation.seq + 1)
        taken[evaluation.rank, evaluation.seq] = evaluation
        alike[_params(evaluation)].append(evaluation)
        new.append(evaluation)
    return new


def _renamed(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation with a name from the half of its job's block that no rank reaches."""
    half = SEQS_PER_JOB // 2
    text = repr((evaluation.rank, evaluation.seq, evaluation.started, _params(evaluation)))
    first = job_of(evaluation.seq) * SEQS_PER_JOB + half
    return replace(
        evaluation, rank=max(evaluation.rank, 0), seq=first + key_of(text.encode()) % half
    )


def _params(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Return the parameters in a form that does not depend on the order of choices."""
    return tuple((name, repr(value)) for name, value in evaluation.params.items())


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
                os.link(temporary, path)  # unlike renaming, this replaces no other file
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


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _header(path: Path) -> Any:
    """Return the first line of a file; earlier versions did not follow links to an SQLite file."""
    try:
        with path.open() as file:
            header = json.loads(file.readline())
        scheme, separator, database = header["storage"].partition(":///")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    if scheme == "sqlite":
        header["storage"] = f"{scheme}{separator}{Path(database).resolve()}"
    return header
