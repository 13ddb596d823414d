"""The trials of a study as CSV, which ``adbo run --enqueue`` reads again."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from typing import Any, TextIO

from adbo.core.cells import cell_of
from adbo.core.job import job_of
from adbo.core.optuna_trials import RANK, SEQ, STRATEGY, name_of
from adbo.core.origins import to_text
from adbo.mirror.trial_table import TableRow, TrialTable


def write_table(file: TextIO, table: TrialTable) -> None:
    """Write one line for each trial, under the names of Optuna's ``trials_dataframe``.

    ``duration`` is in seconds. ``rank``, ``job`` and ``seq`` say who made the trial; they are
    empty for a trial that adbo did not make. ``strategy`` says which strategy proposed it, and in
    which region. Parameters and attributes are written as `adbo.core.cells` describes, floats with
    all their digits.
    """
    writer = csv.writer(file, lineterminator="\n")
    n_values = table.n_objectives
    values = ["value"] if n_values == 1 else [f"values_{i}" for i in range(n_values)]
    user_attrs = [name for name in table.user_attrs if name not in (RANK, SEQ, STRATEGY)]
    writer.writerow(
        [
            *("number", "state", *values),
            *("datetime_start", "datetime_complete", "duration"),
            *("rank", "job", "seq", "strategy"),
            *(f"params_{name}" for name in table.params),
            *(f"user_attrs_{name}" for name in user_attrs),
        ]
    )
    for row in table.rows:
        writer.writerow(
            [
                *(row.number, row.state.name, *_values(row, n_values), *_times(row)),
                *(*_maker(row), to_text(row.origin)),
                *_cells(row.params, table.params),
                *_cells(row.user_attrs, user_attrs),
            ]
        )


def _values(row: TableRow, number: int) -> list[float | None]:
    return [*row.values, *[None] * number][:number]


def _times(row: TableRow) -> Iterator[datetime.datetime | float | None]:
    yield row.started
    yield row.completed
    if row.started is None or row.completed is None:
        yield None
    else:
        yield (row.completed - row.started).total_seconds()


def _maker(row: TableRow) -> tuple[int | None, int | None, int | None]:
    """Return the rank, the job and the sequence number of a trial."""
    name = name_of(row.user_attrs)
    if name is None or name[0] < 0:
        return None, None, None
    return name[0], job_of(name[1]), name[1]


def _cells(values: dict[str, Any], names: list[str]) -> Iterator[str]:
    for name in names:
        yield cell_of(values[name]) if name in values else ""
