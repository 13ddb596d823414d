"""Values that a program reports while it runs: matches in its output become those of the trial."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adbo.objective.program.table import Table
from adbo.objective.program.value import STDOUT, as_number, read_regex

if TYPE_CHECKING:  # a wrong file is named before Optuna is loaded
    from optuna.trial import BaseTrial

_KEYS = ("file", "regex")


@dataclass(frozen=True)
class ReportPattern:
    """Where the reports of a program are found.

    Parameters
    ----------
    regex
        A regular expression whose one group is a value.
    file
        A file in the trial's directory; None for the standard output.
    """

    regex: re.Pattern[str]
    file: str | None = None


def read_reports(top: Table) -> ReportPattern | None:
    """Return the checked content of the table ``[reports]``, None if there is none."""
    if "reports" not in top.data:
        return None
    table = top.table("reports")
    table.check_keys(_KEYS)
    file, pattern = (table.text(key) for key in _KEYS)
    if pattern is None:
        table.fail("regex", "must be given")
    return ReportPattern(read_regex(table, pattern), file)


class Watcher:
    """Reports what a program writes, each value once.

    Parameters
    ----------
    pattern
        Where the reports are found; None for none.
    directory
        The trial's directory.
    trial
        The trial.
    """

    def __init__(self, pattern: ReportPattern | None, directory: Path, trial: BaseTrial) -> None:
        self._pattern = pattern
        self._path = directory / ((pattern and pattern.file) or STDOUT)
        self._trial = trial
        self._n_bytes = 0  # that have been read
        self._step = 0

    def look(self) -> None:
        """Report the new values; raise `optuna.TrialPruned` if the trial is not worth going on."""
        from optuna import TrialPruned

        for value in self._new_values():
            self._report(value)
            if self._trial.should_prune():
                raise TrialPruned

    def finish(self) -> None:
        """Report the last values of a program that has ended."""
        for value in self._new_values():
            self._report(value)

    def _report(self, value: float) -> None:
        self._trial.report(value, self._step)
        self._step += 1

    def _new_values(self) -> list[float]:
        """Return the values in the lines that were completed since the last call."""
        if self._pattern is None:
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self._n_bytes)
                data = file.read()
        except OSError:  # not made yet
            return []
        data = data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]
        self._n_bytes += len(data)
        text = data.decode("utf-8", errors="replace")
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # as the value is read
        found = (as_number(match[1] or "") for match in self._pattern.regex.finditer(text))
        return [number for number in found if number is not None]
