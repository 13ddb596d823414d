"""The mirror writes the same rows as Optuna does for the same trials."""

from __future__ import annotations

import datetime
import math

import optuna
import sqlalchemy as sa
from optuna.storages._rdb import models
from sample_trials import TRIALS, evaluations
from stored import read_evaluations

from adbo.core.optuna_trials import trial_of
from adbo.mirror.connection import quietly
from adbo.mirror.study import access_to, open_study, writer_for


def _rows(study: optuna.Study) -> dict[str, list[tuple]]:
    """Return every row of every table, in the order of its key."""
    with sa.create_engine(study._storage._backend.url).connect() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(table.select().order_by(*table.primary_key))
            ]
            for table in models.BaseModel.metadata.sorted_tables
        }


def test_the_rows_are_those_of_optuna(url: str, new_url) -> None:
    """That holds in one batch and in several, with trials of Optuna in between."""
    expected = open_study(url, "s", "minimize", resume=False)
    written = open_study(new_url(), "s", "minimize", resume=False)
    writer = writer_for(written)
    source = evaluations(TRIALS + 40)
    other = optuna.trial.create_trial(value=1.5, params={}, distributions={})
    for batch in (source[:TRIALS], source[TRIALS:-30], *([e] for e in source[-30:])):
        expected.add_trials(trial_of(e) for e in batch)
        writer.write(batch)
        for study in (expected, written):
            study.add_trial(other)
    assert _rows(written) == _rows(expected)


def test_optuna_reads_what_was_written(url: str) -> None:
    study = open_study(url, "s", "minimize", resume=False)
    batch = evaluations(TRIALS)
    writer_for(study).write(batch)
    # MariaDB stores times to the second.
    second = datetime.timedelta(seconds=1 if url.startswith("mysql") else 0)
    for number, (trial, e) in enumerate(zip(study.get_trials(), batch, strict=True)):
        wanted = trial_of(e)
        assert trial.number == number
        assert abs(trial.datetime_start - wanted.datetime_start) <= second
        assert abs(trial.datetime_complete - wanted.datetime_complete) <= second
        for name in ("state", "params", "distributions", "user_attrs", "system_attrs", "values"):
            assert getattr(trial, name) == getattr(wanted, name)
        steps, wanted_steps = trial.intermediate_values, wanted.intermediate_values
        assert steps.keys() == wanted_steps.keys()
        for step, value in steps.items():
            both_nan = math.isnan(value) and math.isnan(wanted_steps[step])
            assert value == wanted_steps[step] or both_nan


def test_evaluations_come_back_as_they_were(url: str) -> None:
    batch = evaluations(TRIALS)
    with quietly():
        writer_for(open_study(url, "s", "minimize", resume=False)).write(batch)
    found = read_evaluations(open_study(url, "s", "minimize", resume=True))
    second = 1.0 if url.startswith("mysql") else 1e-5
    for e, wanted in zip(found, batch, strict=True):
        assert (e.rank, e.seq, e.state) == (wanted.rank, wanted.seq, wanted.state)
        assert e.origin == wanted.origin
        assert e.params == wanted.params
        assert e.layout.text == wanted.layout.text
        assert abs(e.started - wanted.started) <= second
        assert repr(e.extras) == repr(wanted.extras)  # NaN is not itself


def test_a_job_wrote_many_batches_between_those_of_another(url: str) -> None:
    """So it did while a slow or failing database kept it from reading."""
    study = open_study(url, "s", "minimize", resume=False)
    writer_for(study).write(evaluations(3))
    own = [(2 * i, 2 * i) for i in range(2, 2000)]
    assert len(access_to(study, job=1).reader.read(own)) == 3


def test_the_studies_of_a_database_do_not_meet(url: str) -> None:
    first = open_study(url, "first", "minimize", resume=False)
    second = open_study(url, "second", "maximize", resume=False)
    writers = [writer_for(first), writer_for(second)]
    for e in evaluations(20):
        for writer in writers:
            writer.write([e])
    for study in (first, second):
        assert [t.number for t in study.get_trials()] == list(range(20))
    assert second.best_value >= first.best_value
