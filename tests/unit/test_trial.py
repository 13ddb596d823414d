"""The trial that an objective gets, and its study, are Optuna's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

import adbo
from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.objective.evaluate import evaluate
from adbo.objective.trial import RankStudy, Trial

LAYOUT = Layout.of({"x": FloatDistribution(-5, 5)})


def known(values: list[float], sign: int = 1) -> History:
    """Return a history of complete evaluations with these values."""
    history = History(sign)
    history.extend(
        to_batch(Evaluation(0, i, TrialState.COMPLETE, value, i, i + 1, LAYOUT, (float(i % 5),)))
        for i, value in enumerate(values)
    )
    return history


def begun(history: History, number: int = 70, point: tuple[float, ...] = ()) -> Trial:
    return RankStudy(history, "mine", {"note": 1}).begin(
        point, number, 1000.0, np.random.default_rng(0)
    )


def test_it_is_optunas_trial_of_a_study_of_what_the_rank_knows() -> None:
    trial = begun(known([3.0, 1.0, 2.0]))
    assert isinstance(trial, optuna.trial.Trial)
    study = trial.study
    assert (study.best_value, study.best_params, study.best_trial.number) == (1.0, {"x": 1.0}, 1)
    assert [t.number for t in study.trials[:3]] == [0, 1, 2]
    assert study.trials[3].state is TrialState.RUNNING
    assert study.trials[3].number == trial.number == trial._trial_id == 70
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 3
    assert (study.study_name, study.user_attrs) == ("mine", {"note": 1})
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    assert trial.storage.get_n_trials(study._study_id) == 4
    assert trial.storage.get_trial(study.trials[1]._trial_id).value == 1.0
    assert optuna.load_study(study_name=None, storage=trial.storage).best_value == 1.0


def test_the_best_value_when_maximizing_and_before_there_is_one() -> None:
    assert begun(known([3.0, 1.0], sign=-1)).study.best_value == 3.0
    with pytest.raises(ValueError, match="No trials are completed"):
        _ = begun(History()).study.best_value


def test_relative_params_are_the_proposal() -> None:
    trial = begun(known([3.0]), point=(2.5,))
    assert trial.relative_params == {"x": 2.5}
    assert trial.relative_search_space == {"x": FloatDistribution(-5, 5)}
    assert trial.suggest_float("x", -5, 5) == 2.5


def test_what_optuna_does_with_a_parameter_that_is_asked_twice() -> None:
    trial = begun(History())
    trial.suggest_float("x", 0, 1)
    with pytest.warns(RuntimeWarning, match="Inconsistent parameter values"):
        trial.suggest_float("x", 0, 2)


def test_a_trial_of_an_earlier_evaluation_cannot_be_changed() -> None:
    study = RankStudy(History())
    trial = study.begin((), 0, 0.0, np.random.default_rng(0))
    evaluate(lambda trial: trial.suggest_float("x", 0, 1), trial, (0, 0), time.time)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.set_user_attr("late", 1)
    study.begin((), 1, 0.0, np.random.default_rng(0))
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.report(1.0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda study: study.ask(),
        lambda study: study.tell(study.trials[-1].number, 1.0),
        lambda study: study.add_trial(optuna.trial.create_trial(value=1.0)),
        lambda study: optuna.create_study(storage=study._storage),
        lambda study: optuna.delete_study(study_name="mine", storage=study._storage),
    ],
)
def test_what_only_the_ranks_may_do_is_refused(change: Any) -> None:
    with pytest.raises(RuntimeError, match=r"of this|of the run|of its own"):
        change(begun(History()).study)


def test_an_infinity_of_known_trials_does_not_slow_the_incumbent() -> None:
    """The number of calls, not their time: the incumbent alone becomes a trial."""
    history = known([float(i) for i in range(3000)])
    made = []

    class Counting(History):
        def evaluation(self, row: int) -> Evaluation:
            made.append(row)
            return super().evaluation(row)

    history.__class__ = Counting
    assert begun(history).study.best_value == 0.0
    assert made == [0]


def run(objective: Any, tmp_path: Path, **options: Any) -> optuna.Study:
    storage = f"sqlite:///{tmp_path}/s.db"
    return adbo.optimize(objective, storage=storage, study_name="s", seed=0, **options)


@pytest.mark.parametrize("in_memory", [True, False])
def test_choices_that_are_equal_but_differ_are_told_apart(tmp_path: Path, in_memory: bool) -> None:
    """In scikit-learn, 1.0 means all features and 1 means one; Optuna stores the first of them."""
    given = []

    def objective(trial: optuna.Trial) -> float:
        choice = trial.suggest_categorical("max_features", [1.0, 1, True])
        assert trial.suggest_categorical("max_features", [1.0, 1, True]) is choice
        given.append(repr(choice))
        return float(trial.suggest_float("x", 0, 1))

    storage = None if in_memory else f"sqlite:///{tmp_path}/s.db"
    study = adbo.optimize(objective, 20, storage=storage, seed=1)
    assert set(given) == {"1.0", "1", "True"}
    assert [repr(trial.params["max_features"]) for trial in study.trials] == given


def test_an_objective_stops_the_study(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        if len(trial.study.trials) == 4:
            trial.study.stop()
        return trial.suggest_float("x", 0, 1)

    assert len(run(objective, tmp_path, n_trials=50).trials) == 4


def test_callbacks_see_the_finished_trial_and_may_stop(tmp_path: Path) -> None:
    seen = []

    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        seen.append((trial.number, trial.value, len(study.trials), study.best_value))
        if trial.number == 2:
            study.stop()

    study = run(lambda trial: 9.0 - trial.number, tmp_path, n_trials=50, callbacks=[callback])
    assert seen == [(0, 9.0, 1, 9.0), (1, 8.0, 2, 8.0), (2, 7.0, 3, 7.0)]
    assert len(study.trials) == 3


def test_attributes_of_the_study_that_a_callback_sets_are_stored(tmp_path: Path) -> None:
    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        study.set_user_attr("number", trial.number)
        assert study.trials[trial.number] == trial
        trial_id = study._storage.get_trial_id_from_study_id_trial_number(0, trial.number)
        assert study._storage.get_trial(trial_id) == trial

    run(lambda trial: 1.0, tmp_path, n_trials=3, callbacks=[callback])
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db")
    assert stored.user_attrs == {"number": 2}


@pytest.mark.parametrize("error", [LookupError("no tracking server"), SystemExit("no tracking")])
def test_what_a_callback_raises_ends_the_run_and_loses_nothing(
    error: BaseException, tmp_path: Path
) -> None:
    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        raise error

    with pytest.raises(type(error), match="no tracking"):
        run(lambda trial: 1.0, tmp_path, n_trials=50, callbacks=[callback])
    assert len(optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db").trials) == 1


@pytest.mark.parametrize("in_memory", [False, True])
def test_what_is_enqueued_is_evaluated_outside_its_range(tmp_path: Path, in_memory: bool) -> None:
    """As in Optuna, which only warns."""
    storage = {"storage": None} if in_memory else {"storage": f"sqlite:///{tmp_path}/s.db"}
    study = adbo.optimize(
        lambda trial: trial.suggest_int("x", 1, 10), 3, enqueue=[{"x": 11}], **storage
    )
    assert study.trials[0].params == {"x": 11}
    assert len(study.trials) == 3


def test_what_an_objective_enqueues_and_nobody_evaluates_waits(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            for x in range(3):
                trial.study.enqueue_trial({"x": np.int64(x)}, user_attrs={"from": 0})
        return float(trial.suggest_int("x", 0, 9))

    run(objective, tmp_path, n_trials=2)
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db").trials
    assert [t.state.name for t in stored] == ["COMPLETE", "COMPLETE", "WAITING", "WAITING"]
    assert stored[3].system_attrs["fixed_params"] == {"x": 2}
    assert stored[3].user_attrs == {"from": 0}
    study = run(objective, tmp_path, n_trials=4, resume=True)
    assert sorted(t.params["x"] for t in study.trials)[:3] == [0, 1, 2]
    assert len(study.trials) == 4


def test_what_is_enqueued_and_abandoned_waits_again(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            trial.study.enqueue_trial({"x": 0.25})
            trial.study.enqueue_trial({"x": 0.75})
        else:
            raise KeyboardInterrupt
        return trial.suggest_float("x", 0, 1)

    study = run(objective, tmp_path, n_trials=5)
    waiting = [t for t in study.trials if t.state.name == "WAITING"]
    assert [t.system_attrs["fixed_params"]["x"] for t in waiting] == [0.25, 0.75]


def test_an_attribute_that_no_database_takes_is_an_error_at_once(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("caf\udce9", 1)
        return 1.0

    study = run(objective, tmp_path, n_trials=2)
    reasons = [trial.user_attrs["adbo:fail_reason"] for trial in study.trials]
    assert all(reason.startswith("UnicodeEncodeError: 'utf-8' codec") for reason in reasons)
    assert len(reasons) == 2


def test_attributes_of_a_study_without_a_storage() -> None:
    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        study.set_user_attr("latest", trial.number)

    study = adbo.optimize(lambda trial: 1.0, 3, callbacks=[callback], storage=None)
    assert study.user_attrs == {"latest": 2}


def test_an_objective_enqueues_a_point(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 0:
            trial.study.enqueue_trial({"x": 0.125}, user_attrs={"why": "guess"})
        return x

    second = run(objective, tmp_path, n_trials=3).trials[1]
    assert second.params == {"x": 0.125}
    assert second.user_attrs["why"] == "guess"


def test_attributes_of_the_study_reach_the_database(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.study.set_user_attr("machine", {"cores": 2})
        assert trial.study.user_attrs == {"machine": {"cores": 2}}
        return trial.suggest_float("x", 0, 1)

    study = run(objective, tmp_path, n_trials=2)
    assert study.user_attrs["machine"] == {"cores": 2}
    assert not any("adbo:study_attrs" in trial.system_attrs for trial in study.trials)
    seen = []
    run(
        lambda trial: seen.append(trial.study.user_attrs) or 1.0, tmp_path, n_trials=3, resume=True
    )
    assert seen[0]["machine"] == {"cores": 2}


def test_artifacts(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = FileSystemArtifactStore(tmp_path / "store")

    def objective(trial: optuna.Trial) -> float:
        (tmp_path / "mesh.txt").write_text(f"mesh {trial.number}")
        upload_artifact(
            artifact_store=store, file_path=str(tmp_path / "mesh.txt"), study_or_trial=trial
        )
        return 1.0

    study = run(objective, tmp_path, n_trials=2)
    for trial in study.trials:
        [meta] = get_all_artifact_meta(trial, storage=study._storage)
        with store.open_reader(meta.artifact_id) as file:
            assert file.read().startswith(b"mesh")


def test_enqueued_attributes_are_in_the_trial() -> None:
    trial = RankStudy(History()).begin(
        (), 0, 0.0, np.random.default_rng(0), Enqueued({"x": 0.5}, {"a": 1}, {"b": 2}, {0: 3.0})
    )
    assert trial.suggest_float("x", 0, 1) == 0.5
    assert trial.user_attrs == {"a": 1}
    frozen = trial.storage.get_trial(trial._trial_id)
    assert frozen.system_attrs == {"b": 2, "fixed_params": {"x": 0.5}}
    assert frozen.intermediate_values == {0: 3.0}


def test_batches_of_a_history_make_an_equal_one() -> None:
    history = known([3.0, 1.0])
    other = Layout.of({"x": FloatDistribution(-5, 5), "y": FloatDistribution(0, 1)})
    extras = RankStudy(History()).begin((), 0, 0.0, np.random.default_rng(0)).running.extras("no")
    history.extend(
        to_batch(Evaluation(1, i, TrialState.FAIL, np.nan, 0, 1, *layout, extras))
        for i, layout in enumerate([(other, (1.0, 0.5)), (LAYOUT, (2.0,))])
    )
    copy = History()
    copy.extend(history.batches(0))
    assert repr(copy.evaluations()) == repr(history.evaluations())
    assert copy.space.names == history.space.names
    assert history.batches(len(history)) == []
