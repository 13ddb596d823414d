"""Origins: what proposed an evaluation, on its way through histories, databases and processes."""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_asks import FOREST, LOCAL, label_asks
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from stored import read_evaluations
from trial_strategies import evaluations, json_values

import adbo
from adbo.cli.main import main
from adbo.comm.in_process import SingleRank
from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.core.optuna_trials import evaluation_of, trial_of
from adbo.core.origins import (
    REGIONS,
    STRATEGIES,
    from_text,
    strategy_indices,
    to_code,
    to_text,
)
from adbo.core.settings import Settings
from adbo.core.wire import Decoder
from adbo.mirror.study import open_study
from adbo.mirror.trial_writer import TrialWriter
from adbo.objective.trial import RankStudy
from adbo.optimizer.ask import Proposal
from adbo.optimizer.asked import MOST, Asked
from adbo.run.execute import Silence, execute
from adbo.run.groups import GroupLeader, _MemberKnowledge
from adbo.simulation.events import run_asynchronous
from adbo.simulation.virtual_ranks import Machine, Method, Task


def _square(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", -5, 5) ** 2


@pytest.fixture
def _labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    label_asks(monkeypatch)


def _origins(history: History) -> list[int]:
    return history.column("origin").tolist()


# Codes


def test_codes_are_bytes_of_their_own_and_have_texts() -> None:
    codes = [to_code(*names) for names in product(STRATEGIES, REGIONS)]
    assert len(set(codes)) == len(STRATEGIES) * len(REGIONS)
    assert all(0 < code < 256 for code in codes)
    assert to_text(LOCAL) == "local/elites"
    for code, names in zip(codes, product(STRATEGIES, REGIONS), strict=True):
        assert to_text(code) == "/".join(names)
        assert from_text(to_text(code)) == code


def test_what_is_no_code_has_no_text() -> None:
    assert [to_text(code) for code in (0, -1, 7, 255)] == [None] * 4
    with pytest.raises(ValueError, match="not in tuple"):
        to_code("local", "nowhere")


@given(json_values | st.text())
def test_other_values_have_no_code(value: object) -> None:
    assert from_text(value) == 0


def test_strategies_of_a_column() -> None:
    pairs = list(product(STRATEGIES, REGIONS))
    codes = np.array([0, *(to_code(*pair) for pair in pairs)], dtype="<u1")
    expected = [-1, *(STRATEGIES.index(strategy) for strategy, _ in pairs)]
    assert strategy_indices(codes).tolist() == expected


# Histories and databases


@given(st.lists(evaluations(), max_size=6, unique_by=lambda e: (e.rank, e.seq)))
def test_a_history_keeps_them(appended: list[Evaluation]) -> None:
    history, copy = History(), History()
    history.extend(map(to_batch, appended))
    copy.extend(history.batches())
    expected = [e.origin for e in appended]
    assert _origins(history) == _origins(copy) == expected
    assert [e.origin for e in copy.evaluations()] == expected


@given(evaluations())
def test_a_trial_of_optuna_keeps_it(evaluation: Evaluation) -> None:
    trial = trial_of(evaluation)
    assert trial.user_attrs.get("adbo:strategy") == to_text(evaluation.origin)
    found = evaluation_of(trial)
    assert found.origin == evaluation.origin
    assert "adbo:strategy" not in found.extras.user_attrs


def test_a_trial_that_was_enqueued_with_the_attributes_of_another_has_none() -> None:
    [copied] = _evaluations([LOCAL])
    attrs = trial_of(copied).user_attrs
    own = replace(copied, origin=0, extras=replace(copied.extras, user_attrs=attrs))
    assert "adbo:strategy" not in trial_of(own).user_attrs


def _evaluations(codes: list[int]) -> list[Evaluation]:
    study = RankStudy(History())
    made = []
    for seq, code in enumerate(codes):
        trial = study.begin((), seq, 0.0, np.random.default_rng(seq))
        x = trial.suggest_float("x", -5, 5)
        state = optuna.trial.TrialState.COMPLETE
        internal = tuple(trial.running.internal.values())
        made.append(
            Evaluation(
                *(
                    0,
                    seq,
                    state,
                    x * x,
                    0.0,
                    1.0,
                    Layout.of(trial.running.distributions),
                    internal,
                ),
                origin=code,
            )
        )
    return made


def test_a_storage_of_any_kind_keeps_them() -> None:
    study = optuna.create_study()
    TrialWriter(study).write(_evaluations([LOCAL, 0, FOREST]))
    assert [evaluation_of(trial).origin for trial in study.trials] == [LOCAL, 0, FOREST]


@pytest.mark.usefixtures("_labelled")
def test_a_run_stores_them_and_its_continuation_reads_them(tmp_path: Path) -> None:
    settings = Settings(
        n_trials=6,
        storage=f"sqlite:///{tmp_path}/s.db",
        study_name="s",
        enqueue=[{"x": 1.0}, {}],
        seed=0,
    )
    first = execute(_square, settings, SingleRank(), Silence())
    enqueued = [0, 0]
    asked = _origins(first.history)[2:]
    assert _origins(first.history)[:2] == enqueued
    assert set(asked) == {LOCAL, FOREST}
    texts = [trial.user_attrs.get("adbo:strategy") for trial in first.study.trials]
    assert texts == [None, None, *map(to_text, asked)]
    more = replace(settings, n_trials=8, resume=True, enqueue=())
    second = execute(_square, more, SingleRank(), Silence())
    assert _origins(second.history)[:6] == [*enqueued, *asked]
    study = open_study(settings.storage, "s", "minimize", resume=True)
    assert [e.origin for e in read_evaluations(study)] == _origins(second.history)


@pytest.mark.usefixtures("_labelled")
def test_the_table_of_a_study_has_a_column_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    adbo.optimize(_square, 4, seed=0, study_name="s", enqueue=[{"x": 2.0}])
    assert main(["report", "--csv", "s.csv"]) == 0
    with Path("s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["strategy"] == ""
    assert {row["strategy"] for row in rows[1:]} == {"local/elites", "forest/branch"}
    assert "user_attrs_adbo:strategy" not in rows[0]


# Ask and tell


@pytest.mark.usefixtures("_labelled")
def test_told_points_have_the_origin_of_their_ask() -> None:
    optimizer = adbo.Optimizer({"x": FloatDistribution(-5, 5), "n": IntDistribution(-3, 3)})
    asked = [optimizer.ask() for _ in range(4)]  # local, forest, local, forest
    optimizer.tell({"x": 0.5, "n": 1}, 1.0)
    order = [3, 0, 1]
    optimizer.tell_many([json.loads(json.dumps(asked[i])) for i in order], [1.0, None, 2.0])
    optimizer.tell(asked[0], 3.0)  # a second time
    assert _origins(optimizer.history) == [0, FOREST, LOCAL, FOREST, 0]


@pytest.mark.usefixtures("_labelled")
def test_a_point_that_was_asked_for_twice_may_be_told_twice() -> None:
    optimizer = adbo.Optimizer({"k": CategoricalDistribution(["only"])})
    for _ in range(2):
        optimizer.ask()
    optimizer.tell_many([{"k": "only"}] * 3, [1.0] * 3)
    assert _origins(optimizer.history) == [LOCAL, FOREST, 0]


@pytest.mark.usefixtures("_labelled")
def test_absent_parameters_of_a_told_point_match_any_proposed_value() -> None:
    space = {"kind": CategoricalDistribution(["a", "b"]), "x": FloatDistribution(0, 1)}
    optimizer = adbo.Optimizer(space, seed=0)
    asked = [optimizer.ask() for _ in range(8)]
    a, b = (next(i for i in range(8) if asked[i]["kind"] == kind) for kind in "ab")
    optimizer.tell({"kind": "b"}, 1.0)
    optimizer.tell({"x": asked[a]["x"]}, 1.0)
    optimizer.tell({"x": 2.0**-30}, 1.0)
    assert _origins(optimizer.history) == [[LOCAL, FOREST][i % 2] for i in (b, a)] + [0]


def test_points_that_are_never_told_are_forgotten() -> None:
    asked = Asked()
    for i in range(MOST + 3):
        asked.add(np.array([float(i)]), LOCAL)
    assert len(asked) == MOST
    assert [asked.take(np.array([float(i)])) for i in (2, 3, MOST + 2)] == [0, LOCAL, LOCAL]
    assert len(asked) == MOST - 2


def test_zeros_of_both_signs_are_equal() -> None:
    asked = Asked()
    asked.add(np.array([-0.0]), LOCAL)
    assert asked.take(np.array([0.0])) == LOCAL


# The sampler


@pytest.mark.usefixtures("_labelled")
def test_trials_of_the_sampler_have_their_origin_in_all_processes(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    study = optuna.create_study(storage=storage, study_name="s", sampler=adbo.QUCBSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        return _square(trial) + trial.suggest_float("y", 0, 1)

    study.optimize(objective, n_trials=4)  # the first one before any parameter is known
    study.enqueue_trial({"x": 1.5})
    study.optimize(objective, n_trials=2)
    expected = [0, LOCAL, FOREST, LOCAL, 0, LOCAL]
    assert [evaluation_of(trial).origin for trial in study.trials] == expected
    assert _origins(study.sampler._history(study)) == expected
    other = adbo.QUCBSampler()
    assert _origins(other._history(optuna.load_study(storage=storage, study_name="s"))) == expected
    joined = open_study(storage, "s", "minimize", resume=True)
    assert [e.origin for e in read_evaluations(joined)] == expected


# Several ranks


def test_members_of_a_group_learn_them() -> None:
    told: list[bytes] = []
    channel = SimpleNamespace(
        comm=None, size=1, is_idle=True, tell=lambda m: told.append(pickle.dumps(m))
    )
    history = History()
    history.extend(map(to_batch, _evaluations([LOCAL, 0, FOREST])))
    study = RankStudy(history)
    trial = study.begin(np.array([0.5]), 3, 0.0, np.random.default_rng(0))
    GroupLeader(_square, channel)(trial)
    member = _MemberKnowledge(comm=None, pruner=optuna.pruners.NopPruner())
    try:
        storage = member.begin(pickle.loads(told[0])[1]).storage
        assert _origins(storage.history) == [LOCAL, 0, FOREST]
    finally:
        member.close()


def test_virtual_ranks_share_them() -> None:
    known: list[list[int]] = []

    def labelling(kappa, rng, part):
        def label(history: History) -> Proposal:
            known.append(_origins(history))
            return Proposal(rng.random(len(history.space)), [LOCAL, FOREST][part[0] % 2])

        return label

    machine = Machine(4, lambda rng: 10.0, ask_cost=lambda n: 0.0, jobs=2, job_latency=5.0)
    task = Task(_square, (1,), 1.96)
    decoder, history = Decoder(), History()
    for entry in run_asynchronous(task, machine, 25.0, method=Method(labelling)):
        history.extend(decoder.decode([entry.data]).batches)
    assert _origins(history) == [LOCAL, FOREST] * 4
    # The last ones know the evaluations that all ranks know, and those of their own job.
    assert known[-1] == [LOCAL, FOREST] * 3
