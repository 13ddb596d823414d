"""Files of evaluations that the database did not take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from trial_strategies import evaluations

import adbo
from adbo.core.evaluation import Evaluation, Layout
from adbo.core.job import Job
from adbo.core.settings import Settings
from adbo.mirror import rescue


def _location(*directories: Path, name: str = "a study/1") -> rescue.Location:
    return rescue.Location(name, "sqlite:///s.db", directories)


@given(st.lists(evaluations(), max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, written) -> None:
    location = _location(tmp_path_factory.mktemp("rescue"))
    path = rescue.write(location, written)
    assert rescue.find(location) == [path]
    assert repr(rescue.read(path)) == repr(written)  # NaN is not itself


@given(st.lists(evaluations(), min_size=1, max_size=3))
def test_people_can_read_a_file(tmp_path_factory: pytest.TempPathFactory, written) -> None:
    path = rescue.write(_location(tmp_path_factory.mktemp("rescue")), written)
    header, *lines = map(json.loads, path.read_text().splitlines())
    assert header["study"] == "a study/1"
    for line, e in zip(lines, written, strict=True):
        assert line["state"] == e.state.name
        assert line["params"].keys() == e.params.keys()


def test_files_of_other_studies_are_left_alone(tmp_path: Path) -> None:
    location = _location(tmp_path)
    other = rescue.write(_location(tmp_path, name="a study_1"), [])
    mine = [rescue.write(location, []) for _ in range(3)]
    (tmp_path / "x.rescued.jsonl").write_text("no JSON\n")
    assert sorted(rescue.find(location)) == sorted(mine)
    assert other not in mine
    assert rescue.find(_location(tmp_path, name="another")) == []


def test_the_first_directory_that_can_be_written(tmp_path: Path) -> None:
    location = _location(tmp_path / "missing", tmp_path)
    assert rescue.write(location, []).parent == tmp_path
    with pytest.raises(rescue.RescueError, match="could not be written to a file either"):
        rescue.write(_location(tmp_path / "missing"), [])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    path = rescue.write(_location(tmp_path), [])
    path.write_text(path.read_text() + '{"rank": 0}\n')
    with pytest.raises(rescue.RescueError, match=f"cannot read {path}"):
        rescue.read(path)


@given(st.integers(0, 5))
def test_names_that_were_used_again(n_others: int) -> None:
    """Earlier versions used names again if a study went on without its file."""
    job = Job(2, n_ranks=4)
    layout = Layout({"x": FloatDistribution(0, 1)})
    mine = Evaluation(3, 2, TrialState.COMPLETE, 0.5, 1.0, 2.0, layout, (0.25,))
    assert rescue.with_unique_names([mine, mine], [mine], job) == []
    others = [dataclasses.replace(mine, seq=2 + i, internal=(0.75,)) for i in range(n_others)]
    rescued = [dataclasses.replace(e, internal=(0.5,)) for e in [mine, *others[1:]]]
    found = rescue.with_unique_names(rescued, others, job)
    assert [e.internal for e in found] == [(0.5,)] * len(rescued)
    assert len({(e.rank, e.seq) for e in [*others, *found]}) == len(others) + len(found)
    assert all(
        e == r or (e.rank == 4 and job.made(4, e.seq)) for e, r in zip(found, rescued, strict=True)
    )


def test_a_study_that_was_deleted_before_it_is_resumed(tmp_path: Path) -> None:
    """The new job does not use the names of rescued evaluations, so that all are stored."""
    storage = f"sqlite:///{tmp_path}/s.db"
    layout = Layout({"x": FloatDistribution(0, 1)})
    made = [
        Evaluation(0, seq, TrialState.COMPLETE, 1.0, 1.0, 2.0, layout, (0.25,)) for seq in range(4)
    ]
    settings = Settings(study_name="s", storage=storage)
    for evaluations_of_a_job in (made, made[:2]):  # two jobs know some of the same ones
        rescue.write(rescue.location(settings), evaluations_of_a_job)
    n_calls = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal n_calls
        n_calls += 1
        return trial.suggest_float("x", 0, 1)

    study = adbo.optimize(objective, 10, storage=storage, study_name="s", resume=True)
    assert (n_calls, len(study.trials)) == (6, 10)
    assert not rescue.find(rescue.location(settings))
