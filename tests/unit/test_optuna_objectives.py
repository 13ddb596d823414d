"""What public objectives do with the trial, in the process of the rank and in one of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.terminator import report_cross_validation_scores
from optuna.trial import TrialState
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import adbo


class PruningCallback:
    """Reports each step, as the callbacks of optuna-integration do."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        if trial.study._is_multi_objective():
            raise ValueError("this callback is for one objective")
        if trial.study.direction is not optuna.study.StudyDirection.MAXIMIZE:
            raise ValueError("the score is to be maximized")

    def __call__(self, step: int, score: float) -> None:
        self.trial.report(score, step)
        if self.trial.should_prune():
            raise optuna.TrialPruned
        self.trial.storage.set_trial_system_attr(self.trial._trial_id, "epoch", step)


def classifies(trial: optuna.Trial) -> float:
    """Compare with the best score so far, and note the scores of the folds."""
    X, y = load_iris(return_X_y=True)
    scores = cross_val_score(SVC(C=trial.suggest_float("C", 1e-3, 1e3, log=True)), X, y, cv=3)
    report_cross_validation_scores(trial, scores)
    if trial.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        trial.set_user_attr("gain", scores.mean() - trial.study.best_value)
    trial.set_user_attr("classes", np.unique(y))
    return scores.mean()


def trains(trial: optuna.Trial) -> float:
    """Report the score of each step."""
    callback = PruningCallback(trial)
    rate = trial.suggest_float("rate", 0.1, 1.0)
    score = 0.0
    for step in range(5):
        score += rate * (1 - score)
        callback(step, score)
    return score


def keeps_a_file(trial: optuna.Trial) -> float:
    """Upload a file of the trial, to a folder in the working directory."""
    x = trial.suggest_float("x", -1, 1)
    Path("curve.txt").write_text(f"{x!r}\n")
    Path("store").mkdir(exist_ok=True)
    store = FileSystemArtifactStore("store")
    upload_artifact(artifact_store=store, file_path="curve.txt", study_or_trial=trial)
    return x


@pytest.fixture(params=[False, True], ids=["in the rank", "isolated"])
def study_of(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.chdir(tmp_path)

    def optimize(objective: Any) -> optuna.Study:
        return adbo.optimize(
            objective,
            4,
            direction="maximize",
            storage="sqlite:///s.db",
            study_name="s",
            isolate=request.param,
        )

    return optimize


def test_cross_validation_with_the_study_of_the_trial(study_of: Any) -> None:
    trials = study_of(classifies).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    [key] = {key for trial in trials for key in trial.system_attrs if "cv_scores" in key}
    for trial in trials:
        assert np.mean(trial.system_attrs[key]) == pytest.approx(trial.value)
        assert trial.user_attrs["classes"] == [0, 1, 2]
    best = np.maximum.accumulate([trial.value for trial in trials])
    gains = [trial.user_attrs["gain"] for trial in trials[1:]]
    assert gains == pytest.approx([t.value - b for t, b in zip(trials[1:], best, strict=False)])


def test_a_pruning_callback(study_of: Any) -> None:
    trials = study_of(trains).trials
    assert trials[0].state is TrialState.COMPLETE  # nobody is pruned before one is complete
    for trial in trials:
        last = len(trial.intermediate_values) - 1
        assert trial.state is (TrialState.COMPLETE if last == 4 else TrialState.PRUNED)
        assert list(trial.intermediate_values) == list(range(last + 1))
        assert trial.intermediate_values[last] == trial.value
        if last == 4:
            assert trial.system_attrs["epoch"] == last


def test_artifacts_of_a_trial(study_of: Any) -> None:
    study = study_of(keeps_a_file)
    store = FileSystemArtifactStore("store")
    for trial in study.trials:
        [meta] = get_all_artifact_meta(trial, storage=study._storage)
        with store.open_reader(meta.artifact_id) as file:
            assert float(file.read()) == trial.value


def test_an_objective_that_cannot_be_sent_to_a_process_is_named_at_the_start() -> None:
    lock = threading.Lock()

    def objective(trial: optuna.Trial) -> float:
        with lock:
            return 1.0

    with pytest.raises(ValueError, match=r"process of its own.*cannot pickle '_thread.lock'"):
        adbo.optimize(objective, 1, storage=None, isolate=True)


def test_an_attribute_of_another_type_fails_with_its_type() -> None:
    study = adbo.optimize(lambda t: t.set_user_attr("model", {"a": SVC()}) or 1.0, 1, storage=None)
    [trial] = study.trials
    assert trial.state is TrialState.FAIL
    assert "SVC is not JSON serializable" in trial.user_attrs["adbo:fail_reason"]
