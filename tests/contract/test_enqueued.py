"""Enqueued trials are evaluated first, each once, and their outcome goes to their own row."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import optuna
import pytest
from faults import of_unknown_revision
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from servers import KINDS
from stored import take_enqueued

import adbo
from adbo.comm.in_process import SingleRank
from adbo.core.optuna_trials import ENQUEUED
from adbo.core.settings import Settings
from adbo.mirror import queue, reader
from adbo.mirror.study import access_to, open_study
from adbo.run.execute import Silence, execute


@pytest.fixture(
    params=["journal", *(f"{k}{way}" for k in KINDS for way in ("", " through Optuna"))]
)
def storage(
    request: pytest.FixtureRequest,
    make_url: Callable[[str], str],
    tmp_path: Path,
) -> str | BaseStorage:
    """Each database, written by adbo's statements and through Optuna, and a journal file."""
    kind, _, is_slow = request.param.partition(" ")
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    url = make_url(kind)
    return of_unknown_revision(url) if is_slow else url


def _objective(trial: optuna.trial.BaseTrial) -> float:
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    trial.set_user_attr("seen", kind)
    return x**2


def test_enqueued_trials_come_first_and_keep_their_rows(storage) -> None:
    study = open_study(storage, "s", "minimize", resume=False)
    study.optimize(_objective, n_trials=2)
    study.enqueue_trial({"x": 1.5}, user_attrs={"note": "mine"})
    study.enqueue_trial({"x": -2.0, "kind": "b"})
    study.ask()  # Optuna itself takes the first of them
    study.enqueue_trial({"x": 2.5, "kind": "a", "unknown": 3})
    adbo.optimize(_objective, 8, storage=storage, study_name="s", resume=True)
    trials = optuna.load_study(study_name="s", storage=study._storage).get_trials()
    states = [t.state for t in trials]
    assert states == [*[TrialState.COMPLETE] * 2, TrialState.RUNNING, *[TrialState.COMPLETE] * 6]
    assert [t.number for t in trials] == list(range(9))
    assert trials[3].params == {"x": -2.0, "kind": "b"}
    assert trials[4].params == {"x": 2.5, "kind": "a"}
    assert [t.value for t in trials[3:5]] == [4.0, 6.25]
    for trial in trials[3:5]:
        assert trial.user_attrs["seen"] == trial.params["kind"]
        assert trial.user_attrs["adbo:seq"] < min(t.user_attrs["adbo:seq"] for t in trials[5:])
        assert trial.datetime_start <= trial.datetime_complete
        assert trial.system_attrs["fixed_params"]["x"] == trial.params["x"]
        assert trial.system_attrs.get(ENQUEUED) is None


def test_one_of_optuna_cannot_be_told_from_one_of_adbo(url: str) -> None:
    """An enqueued trial has the same content as if Optuna had finished it."""
    study = open_study(url, "s", "minimize", resume=False)
    for _ in range(2):
        study.enqueue_trial({"x": 1.5, "kind": "b"}, user_attrs={"note": "mine"})
    study.optimize(_objective, n_trials=1)
    adbo.optimize(_objective, 2, storage=url, study_name="s", resume=True)
    first, second = study.get_trials()
    assert second.user_attrs.pop("adbo:rank") == 0
    assert second.user_attrs.pop("adbo:seq") == 0
    for name in ("params", "distributions", "user_attrs", "system_attrs", "state", "values"):
        assert getattr(first, name) == getattr(second, name)


def test_a_point_outside_its_range_is_stored(storage) -> None:
    def objective(trial: optuna.trial.BaseTrial) -> float:
        return trial.suggest_float("x", 0, 5, step=0.5) + trial.suggest_int("n", 1, 3)

    points = [{"x": 7.25}, {"n": 9}]
    adbo.optimize(objective, 4, storage=storage, study_name="s", enqueue=points)
    stored = optuna.load_study(study_name="s", storage=storage).trials
    assert [t.state for t in stored] == [TrialState.COMPLETE] * 4
    assert stored[0].params["x"] == 7.25
    assert stored[1].params["n"] == 9
    adbo.optimize(objective, 6, storage=storage, study_name="s", resume=True)
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 6


def test_trials_enqueued_during_the_run(storage) -> None:
    study = open_study(storage, "s", "minimize", resume=False)
    has_begun = threading.Event()

    def enqueue() -> None:
        assert has_begun.wait(60)
        for x in (4.5, -4.5):
            study.enqueue_trial({"x": x})

    thread = threading.Thread(target=enqueue)
    thread.start()
    seen: list[float] = []

    def recorded(trial: optuna.trial.BaseTrial) -> float:
        has_begun.set()
        # The mirror looks for enqueued trials when it has written all others.
        while sum(t.state.is_finished() for t in study.get_trials(deepcopy=False)) < len(seen):
            time.sleep(0.01)
        value = _objective(trial)
        seen.append(trial.params["x"])
        if {4.5, -4.5} <= set(seen):
            raise KeyboardInterrupt
        return value

    # The timeout only ends a failing test.
    adbo.optimize(recorded, timeout=120, storage=storage, study_name="s", resume=True)
    thread.join()
    trials = optuna.load_study(study_name="s", storage=study._storage).get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    found = [t for t in trials if t.params.get("x") == 4.5]
    assert [t.state for t in found] == [TrialState.COMPLETE]
    # The end of the run interrupted the other one, which waits again.
    assert sum(t.state == TrialState.WAITING for t in trials) == 1
    assert not any(t.state == TrialState.RUNNING for t in trials)


def test_trials_that_a_killed_run_had_taken_go_to_the_next_run(storage) -> None:
    study = open_study(storage, "s", "minimize", resume=False)
    for x in (1.0, 2.0, 3.0):
        study.enqueue_trial({"x": x})
    assert len(take_enqueued(study, job=7)) == 3  # by a job that does not run any more
    assert take_enqueued(study) == []
    adbo.optimize(_objective, 3, storage=storage, study_name="s", resume=True)
    trials = optuna.load_study(study_name="s", storage=study._storage).get_trials()
    assert [t.params["x"] for t in trials] == [1.0, 2.0, 3.0]
    assert all(t.state == TrialState.COMPLETE for t in trials)


def test_each_is_taken_once(url: str) -> None:
    """Workers of Optuna and queues of adbo take trials at the same time."""
    study = open_study(url, "s", "minimize", resume=False)
    for number in range(24):
        study.enqueue_trial({"x": number / 10})
    taken: list[float] = []

    def by_optuna() -> None:
        own = optuna.load_study(study_name="s", storage=optuna.storages.RDBStorage(url))
        for _ in range(4):
            taken.append(own.ask().suggest_float("x", -5, 5))

    def by_adbo() -> None:
        own = optuna.load_study(study_name="s", storage=optuna.storages.RDBStorage(url))
        taken.extend(e.fixed["x"] for e in take_enqueued(own))

    work = [by_adbo, by_adbo]
    if not url.startswith("sqlite"):  # Optuna takes trials without a lock there
        work += [by_optuna, by_optuna]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    enqueued = [x for x in taken if x in {number / 10 for number in range(24)}]
    assert sorted(enqueued) == [number / 10 for number in range(24)]


def test_trials_that_were_not_evaluated_wait_again(storage) -> None:
    study = open_study(storage, "s", "minimize", resume=False)
    for x in (1.0, 2.0, 3.0):
        study.enqueue_trial({"x": x})
    settings = Settings(n_trials=1, storage=storage, study_name="s", resume=True)
    execute(_objective, settings, SingleRank(), Silence())
    study = optuna.load_study(study_name="s", storage=study._storage)
    assert [t.state.name for t in study.get_trials()] == ["COMPLETE", "WAITING", "WAITING"]
    study.optimize(_objective, n_trials=2)
    assert sorted(t.params["x"] for t in study.get_trials()) == [1.0, 2.0, 3.0]


def test_a_job_behind_a_proxy_server_gave_a_trial_back(url: str) -> None:
    """It works through Optuna's interface, which cannot remove the mark that the trial had."""
    study = open_study(url, "s", "minimize", resume=False)
    study.enqueue_trial({"x": 1.0})
    ids = [trial._trial_id for trial in study.get_trials()]
    behind = queue.StudyQueue(study, job=0)
    assert len(behind.take(ids)) == 1
    behind.give_back()
    (taken,) = access_to(study, job=1).queue.take(ids)
    assert taken.system_attrs[ENQUEUED] == [ids[0], 1]


def test_more_wait_again_than_one_statement_names(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(url, "s", "minimize", resume=False)
    for number in range(5):
        study.enqueue_trial({"x": number})
    assert len(take_enqueued(study)) == 5
    sizes = []

    def parted(ids: Collection[int]) -> Iterator[list[int]]:
        for part in reader.parts(ids):
            sizes.append(len(part))
            yield part

    monkeypatch.setattr(reader, "_IDS", 2)
    monkeypatch.setattr(queue, "parts", parted)
    access_to(study, job=0).queue.give_back()
    assert [t.state for t in study.get_trials()] == [TrialState.WAITING] * 5
    assert sizes == [2, 2, 1]


POINTS = [{"x": 1.5, "kind": "a"}, {"x": 2.5}, {"kind": "a", "x": 1.5}, {}]


def test_points_wait_once_in_a_study(storage) -> None:
    study = open_study(storage, "s", "minimize", resume=False)
    study.enqueue_trial({"x": 2.5})
    study.add_trial(optuna.trial.create_trial(value=1.0))
    queue = access_to(study, job=0).queue
    queue.add(POINTS)
    queue.add([*POINTS, {"x": 2}])
    trials = study.get_trials()
    assert [t.number for t in trials] == list(range(5))
    waiting = [t for t in trials if t.state == TrialState.WAITING]
    points = [{"x": 2.5}, {"x": 1.5, "kind": "a"}, {}, {"x": 2}]
    assert [t.system_attrs for t in waiting] == [{"fixed_params": point} for point in points]
    assert [e.fixed for e in take_enqueued(study)] == points
    assert study.ask().number == 5  # Optuna goes on


def test_two_jobs_add_their_points_once(url: str) -> None:
    """Each job holds its points back until both are there, so that they add them at once."""
    open_study(url, "s", "minimize", resume=False)
    both = threading.Barrier(2)
    points = [{"x": float(i)} for i in range(20)]

    def add() -> None:
        study = open_study(url, "s", "minimize", resume=True)
        queue = access_to(study, job=0).queue
        both.wait()
        queue.add(points)

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = optuna.load_study(study_name="s", storage=url).get_trials()
    assert [t.system_attrs["fixed_params"] for t in trials] == points
