"""The objective that runs a program for each trial."""

from __future__ import annotations

import fnmatch
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial

from adbo.core.errors import one_line, signal_name
from adbo.core.launcher_environment import program_environment
from adbo.objective.program.directories import make_directory
from adbo.objective.program.parameters import suggest_all
from adbo.objective.program.placeholders import Value
from adbo.objective.program.process import Streams, run
from adbo.objective.program.reports import Watcher
from adbo.objective.program.study_file import StudyFile, read_study_file
from adbo.objective.program.texts import environment_values
from adbo.objective.program.value import STDERR, STDOUT, NotFound, as_number

#: The user attribute with the directory of a trial, if it is kept.
DIRECTORY = "adbo:directory"

#: The reason of a failure quotes this number of last lines, and of characters, of an output.
_LINES, _CHARACTERS = 3, 400

#: The last lines are looked for in this number of bytes at the end of an output.
_TAIL = 16_384


class ProgramFailed(Exception):
    """A program failed or left no value; the message says why."""


def load_program(path: str | os.PathLike[str]) -> Program:
    """Return the objective that a study file describes.

    Parameters
    ----------
    path
        The study file; the documentation page "A program as the objective" lists its keys.

    Returns
    -------
    Program
        A function of an Optuna trial, for `adbo.optimize` as well as for `optuna.Study.optimize`.

    Raises
    ------
    ValueError
        If anything in the file is wrong, or the program does not exist.

    Examples
    --------
    >>> study = adbo.optimize(adbo.load_program("study.toml"), n_trials=100)  # doctest: +SKIP
    """
    return Program(read_study_file(os.fspath(path)))


class _Verbatim(str):
    """A text that is filled in as it is, whatever the format."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return str(self)


@dataclass(frozen=True)
class Program:
    """A program as the objective: called with a trial, it runs the program and returns its value.

    Parameters
    ----------
    study_file
        What to run, and how.
    """

    study_file: StudyFile

    @property
    def __name__(self) -> str:
        """The name of the study file, without its ending."""
        return self.study_file.path.stem

    def __call__(self, trial: BaseTrial) -> float:
        """Run the program with a trial's parameters, and return its value.

        Raises
        ------
        ProgramFailed
            If it failed, also when it was tried again.
        optuna.TrialPruned
            If its exit code means that the trial is pruned, or one of its reports was not good
            enough to go on.
        """
        values = suggest_all(self.study_file.parameters, trial)
        comm = getattr(trial, "comm", None)
        if comm is not None and comm.rank > 0:
            return 0.0  # the first rank of a group runs the program, on the processors of all
        for _ in range(self.study_file.retries):
            try:
                return self._run_once(trial, values)
            except (ProgramFailed, OSError):
                continue
        return self._run_once(trial, values)

    def _run_once(self, trial: BaseTrial, values: Mapping[str, Value]) -> float:
        directory = make_directory(self.study_file.directory, trial.number)
        try:
            value = self._value_in(directory, trial, values)
        except Exception:
            trial.set_user_attr(DIRECTORY, str(directory))
            raise
        if self.study_file.keep == "all":
            trial.set_user_attr(DIRECTORY, str(directory))
        else:
            shutil.rmtree(directory, ignore_errors=True)
        if value is None:
            raise optuna.TrialPruned
        return value

    def _value_in(
        self, directory: Path, trial: BaseTrial, values: Mapping[str, Value]
    ) -> float | None:
        """Run the program in a directory, and return its value; None for a pruned trial."""
        study_file = self.study_file
        everything = {**_built_in(study_file, directory, trial), **self._with_absent(values)}
        for file in study_file.files:
            file.write(directory, everything)
        for link in study_file.links:
            (directory / link.name).symlink_to(link)
        absent = frozenset(study_file.parameters.keys() - values.keys())
        watcher = Watcher(study_file.reports, directory, trial)
        is_pruned, code = False, None
        try:
            code = self._run(directory, everything, absent, watcher.look)
            watcher.finish()
        except optuna.TrialPruned:
            is_pruned = True
        if is_pruned or code in study_file.pruned_codes:
            value = None
        elif code in study_file.success_codes:
            try:
                value = study_file.value.number(directory)
            except NotFound as error:
                raise ProgramFailed(f"no value: {error}") from None
        else:
            raise ProgramFailed(self._reason(code, directory))
        self._set_attributes(trial, directory)
        return value

    def _with_absent(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values with those of parameters that do not exist in this trial."""
        otherwise = {
            name: _Verbatim(parameter.otherwise)
            if isinstance(parameter.otherwise, str)
            else parameter.otherwise
            for name, parameter in self.study_file.parameters.items()
            if name not in values and parameter.otherwise is not None
        }
        return {**otherwise, **values}

    def _run(
        self,
        directory: Path,
        values: Mapping[str, Value],
        absent: frozenset[str],
        look: Callable[[], None],
    ) -> int | None:
        """Run the program to its end or its time limit; return what `process.run` returns."""
        study_file = self.study_file
        command = [
            word for argument in study_file.command for word in argument.fill(values, absent)
        ]
        environment = {
            name: text
            for name, text in program_environment().items()
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in study_file.unset)
        }
        environment |= {name: text.fill(values) for name, text in study_file.environment.items()}
        stdin = None if study_file.stdin is None else directory / study_file.stdin
        streams = Streams(stdin, directory / STDOUT, directory / STDERR)
        try:
            return run(command, directory, environment, streams, study_file.timeout, look)
        except OSError as error:
            raise ProgramFailed(f"cannot start {command[0]}: {one_line(error)}") from None

    def _set_attributes(self, trial: BaseTrial, directory: Path) -> None:
        """Set the user attributes that the program's output has."""
        for name, extraction in self.study_file.attributes.items():
            try:
                found = extraction.found(directory)
            except NotFound:
                continue
            trial.set_user_attr(name, _attribute(found))

    def _reason(self, code: int | None, directory: Path) -> str:
        """Return why a run failed, with the end of what the program wrote."""
        if code is None:
            reason = f"no result after {self.study_file.timeout:g} s"
        elif code < 0:
            reason = f"killed by {signal_name(-code)}"
        else:
            reason = f"exit code {code}"
        for name, file in (("standard error", STDERR), ("standard output", STDOUT)):
            lines = _last_lines(directory / file)
            if lines:
                return f"{reason}; {name} ends with: {lines}"
        return reason


def _built_in(study_file: StudyFile, directory: Path, trial: BaseTrial) -> dict[str, Value]:
    return {
        **environment_values(),
        "trial.number": trial.number,
        "trial.directory": str(directory),
        "study.directory": str(study_file.path.parent),
    }


def _attribute(found: Any) -> Any:
    """Return what was found as it is stored: a text that is a finite number as this number."""
    number = as_number(found) if isinstance(found, str) else None
    if number is None or not math.isfinite(number):
        return found
    return int(found) if found.lstrip("+-").isdecimal() else number


def _last_lines(path: Path) -> str:
    """Return the last lines of a file that are not blank, on one line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        text = file.read().decode("utf-8", errors="replace")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_LINES:])[-_CHARACTERS:]
