"""A study of several objectives in a database is that of Optuna."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from sample_trials import evaluations
from stored import read_evaluations

from adbo.core.evaluation import Evaluation, Layout
from adbo.core.optuna_trials import trial_of
from adbo.mirror.connection import StudyError, quietly
from adbo.mirror.study import open_study, table_of, writer_for

DIRECTIONS = ("minimize", "maximize", "minimize")


def _with_values(e: Evaluation) -> Evaluation:
    """Return an evaluation with three values, if it is complete; others have none."""
    if e.state.name != "COMPLETE":
        return replace(e, value=math.nan)
    layout = Layout.of(e.layout.distributions, 3)
    return replace(e, layout=layout, more_values=(math.inf, float(e.seq)))


def test_it_is_written_and_read(url: str, new_url) -> None:
    batch = [_with_values(e) for e in evaluations(40)]
    with quietly():
        written = open_study(url, "s", DIRECTIONS, resume=False)
        expected = open_study(new_url(), "s", DIRECTIONS, resume=False)
        writer_for(written).write(batch)
        expected.add_trials(trial_of(e) for e in batch)
    assert [t.values for t in written.trials] == [t.values for t in expected.trials]
    assert [t.number for t in written.best_trials] == [t.number for t in expected.best_trials]
    found = read_evaluations(open_study(url, "s", DIRECTIONS, resume=True))
    assert [repr(e.values) for e in found] == [repr(e.values) for e in batch]
    assert [row.values for row in table_of(written).rows] == [
        t.values or [] for t in written.trials
    ]


def test_other_directions_are_refused(url: str) -> None:
    open_study(url, "s", DIRECTIONS, resume=False)
    for other in ("minimize", DIRECTIONS[:2], DIRECTIONS[::-1][:2]):
        with pytest.raises(StudyError, match="has directions minimize, maximize, minimize, not"):
            open_study(url, "s", other, resume=True)
