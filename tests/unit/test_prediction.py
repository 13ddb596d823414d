"""Replaying a finished study on other numbers of workers."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from adbo.cli.main import main
from adbo.core.errors import UsageError
from adbo.report.prediction import Replay, default_workers, predict

START = datetime.datetime(2026, 1, 1)
FOUR = Replay(np.array([4.0, 2.0, 3.0, 1.0]), np.full(4, 0.5), [False, True, False, False], best=2)


def test_one_worker_takes_the_sum() -> None:
    alone = predict(FOUR, 1)
    assert alone.seconds == 4 + 2 + 3 + 1 + 3 * 0.5  # no pause before the first one
    assert alone.seconds_to_best == 4 + 0.5 + 2 + 0.5 + 3
    assert alone.utilization == pytest.approx(10 / 11.5)
    assert (alone.evaluations, alone.failures) == (4, 1)


def test_a_free_worker_takes_the_next_one() -> None:
    # One worker: 0 to 4, then 4.5 to 5.5. The other one: 0 to 2, then 2.5 to 5.5.
    both = predict(FOUR, 2)
    assert both.seconds == 5.5
    assert both.seconds_to_best == 5.5
    assert both.evaluations == 4
    assert both.utilization == pytest.approx(10 / 11)


def test_evaluations_that_are_running_at_the_end_are_finished_and_count() -> None:
    many = predict(FOUR, 3, n_trials=2)
    assert many.evaluations == 4  # 0, 1 and 2 at once; 3 began before the second one ended
    assert many.seconds == 4


def test_beyond_the_study_its_evaluations_are_drawn_again() -> None:
    long = predict(FOUR, 2, n_trials=4000)
    assert long.evaluations >= 4000
    assert long.failures / long.evaluations == pytest.approx(0.25, abs=0.03)
    assert long.seconds == pytest.approx(2000 * (2.5 + 0.5), rel=0.03)
    assert long == predict(FOUR, 2, n_trials=4000)


def test_what_is_running_when_the_time_is_up_does_not_count() -> None:
    short = predict(FOUR, 2, seconds=5.0)
    assert (short.evaluations, short.seconds, short.seconds_to_best) == (2, 5.0, None)
    assert short.utilization == pytest.approx(6 / 10)


def test_no_time_is_up_where_nothing_takes_time() -> None:
    instant = Replay(np.zeros(5), np.zeros(5), [False] * 5, best=0)
    with pytest.raises(UsageError, match="no evaluation of the study takes time: give --trials"):
        predict(instant, 2, seconds=10.0)
    assert predict(instant, 2, n_trials=7, seconds=10.0).evaluations >= 7


def test_the_default_workers() -> None:
    assert default_workers(1) == [1, 2, 4, 8, 16]
    assert default_workers(8) == [2, 4, 8, 16, 32, 64, 128]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """Two ranks that took turns without a pause but for one of a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    study = optuna.create_study(study_name="s", storage="sqlite:///adbo.db", direction="maximize")
    spans = ((0, 0, 0, 4), (1, 0, 0, 2), (1, 1, 3, 6), (0, 1, 4, 6))
    for rank, seq, start, end in spans:
        attributes = {"adbo:rank": rank, "adbo:seq": seq}
        failed = seq == 0 and rank == 0
        trial = create_trial(
            value=None if failed else float(seq),
            state=TrialState.FAIL if failed else TrialState.COMPLETE,
            user_attrs=attributes,
        )
        trial.datetime_start, trial.datetime_complete = (
            START + datetime.timedelta(seconds=s) for s in (start, end)
        )
        study.add_trial(trial)
    return study


def test_a_stored_study_is_predicted(
    study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--from", "s", "--workers", "1,2", "--json", "p.json"]) == 0
    found = json.loads(Path("p.json").read_text())
    real, (one, two) = found["measured"], found["predictions"]
    assert (real["workers"], real["seconds"], real["seconds_to_best"]) == (2, 6, 6)
    assert real["utilization"] == pytest.approx(11 / 12)
    assert two == real
    assert one["seconds"] == 4 + (0.5 + 2) + (1 + 3) + 2  # the median pause, and those that were
    assert (one["evaluations"], one["failures"]) == (4, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("study s: 4 evaluations on 2 ranks, 25.0% failed")
    assert len({len(line) for line in lines[1:5]}) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ackley", "--workers", "2"], "leave out one of them"),
        (["--method", "random"], "does not use --method"),
        (["--workers", "2,0"], "workers is 0: it must be a positive integer"),
        (["--workers", "two"], "invalid int value: 'two'"),
        (["--trials", "0"], "trials is 0: it must be positive"),
        (["--storage", "none"], "simulate needs a database"),
        (["--storage", "sqlite:///gone.db"], "there is no file gone.db"),
        (["--workers", "2"], "there is no study 'x'"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    complaint: str,
    study: optuna.Study,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["simulate", "--from", "x", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_several_numbers_of_workers_are_for_predictions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["simulate", "ackley", "--workers", "2,4", "--trials", "9"]) == 2
    assert "several numbers of workers need --from STUDY" in capsys.readouterr().err
