"""Equal sets of choices are one parameter, in whatever order each process has them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from stored import read_evaluations
from trial_strategies import choices

from adbo.core.choices import choice_set, reordering, sorted_choices
from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.core.optuna_trials import trial_of
from adbo.core.space import SearchSpace
from adbo.core.wire import Decoder, Encoder, message
from adbo.mirror.mirror import Writer
from adbo.mirror.storage_errors import RefusedError
from adbo.mirror.study import open_study, writer_for
from adbo.mirror.trial_writer import TrialWriter
from adbo.objective.trial import RankStudy

#: Also choices that are equal in Python but differ in type, and repeated ones.
any_choices = st.lists(choices, min_size=1, max_size=6)
#: Optuna itself finds a value among its choices by ``==``.
distinct_choices = st.lists(choices, min_size=1, max_size=6, unique=True)


def orders(of: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[list[Any]]]:
    """Draw choices in several orders."""
    return of.flatmap(lambda drawn: st.lists(st.permutations(drawn), min_size=2, max_size=4))


def _evaluations(orders_: Sequence[Sequence[Any]], data: st.DataObject) -> list[Evaluation]:
    """Return evaluations of several ranks, each with an order of its own."""
    evaluations = []
    for rank, seq in itertools.product(range(len(orders_)), range(3)):
        distributions: dict[str, BaseDistribution] = {
            "x": FloatDistribution(0, 1),
            "k": CategoricalDistribution(orders_[rank]),
        }
        if data.draw(st.booleans()):
            distributions = dict(reversed(distributions.items()))
        if data.draw(st.booleans()):
            del distributions["x"]
        index = float(data.draw(st.integers(0, len(orders_[rank]) - 1)))
        internal = tuple({"x": 0.25, "k": index}[name] for name in distributions)
        evaluations.append(
            Evaluation(
                rank, seq, TrialState.COMPLETE, 1.0, 0.0, 1.0, Layout.of(distributions), internal
            )
        )
    return evaluations


def _text(params: Any) -> str:
    """Return params as a text that tells 1, True and "1" apart."""
    return json.dumps(params, sort_keys=True)


@given(any_choices.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_each_choice_is_found_in_the_other_order(pair: tuple[list[Any], list[Any]]) -> None:
    source, target = map(CategoricalDistribution, pair)
    assert choice_set(source) == choice_set(target)
    indices = reordering(source, target)
    if indices is None:
        indices = np.arange(len(pair[0]))
    assert sorted(indices.tolist()) == list(range(len(pair[0])))
    for choice, index in zip(pair[0], indices, strict=True):
        assert _text(pair[1][int(index)]) == _text(choice)
    first, second = ([d.choices[i] for i in sorted_choices(d)] for d in (source, target))
    assert _text(first) == _text(second)


@pytest.mark.parametrize(
    ("choices_", "others"),
    [
        (["a", "b"], ["a", "b", "c"]),
        ([1, 2], ["1", "2"]),
        ([1, 0], [True, False]),
        ([1, 2], [1.0, 2.0]),
        (["a"], ["a", "a"]),
        (["a", "b", "b"], ["a", "a", "b"]),
        (["a,b"], ["a", "b"]),
        (['a","b'], ["a", "b"]),
        ([None], ["null"]),
    ],
)
def test_different_sets_are_different_columns(choices_: list[Any], others: list[Any]) -> None:
    first, second = CategoricalDistribution(choices_), CategoricalDistribution(others)
    assert choice_set(first) != choice_set(second)
    assert reordering(first, second) is None
    space = SearchSpace({"k": first})
    assert space.add("k", second) == 1


def test_contradictions_are_recorded() -> None:
    space = SearchSpace({"k": CategoricalDistribution(["a", "b"])})
    space.add("k", CategoricalDistribution(["b", "a"]))
    space.add("x", FloatDistribution(0, 1))
    space.add("x", FloatDistribution(0, 9))
    assert space.contradictions == []
    space.add("k", CategoricalDistribution(["a", "b", "c"]))
    space.add("x", FloatDistribution(1, 9, log=True))
    space.add("k", CategoricalDistribution(["c", "b", "a"]))
    assert space.contradictions == [
        "parameter 'k': the objective asks for CategoricalDistribution(choices=('a', 'b', 'c')),"
        " the study has CategoricalDistribution(choices=('a', 'b'))",
        "parameter 'x': the objective asks for FloatDistribution(high=9.0, log=True, low=1.0,"
        " step=None), the study has FloatDistribution(high=9.0, log=False, low=0.0, step=None)",
    ]


@given(orders(any_choices), st.data())
def test_histories_keep_the_chosen_values(orders_: list[list[Any]], data: st.DataObject) -> None:
    """Whether evaluations come one by one or by the page, and from whatever rank first."""
    made = data.draw(st.permutations(_evaluations(orders_, data)))
    encoder = Encoder()
    page = message([encoder.frames(evaluation) for evaluation in made])
    for batches in (map(to_batch, made), Decoder().decode([page]).batches):
        history = History()
        history.extend(batches)
        found = {(e.rank, e.seq): e for e in history.evaluations()}
        assert len(found) == len(made)
        for evaluation in made:
            stored = found[evaluation.rank, evaluation.seq]
            assert _text(stored.params) == _text(evaluation.params)
            assert list(stored.params) == list(evaluation.params)
        assert sorted(history.space.names) in (["k"], ["k", "x"])
        column = history.space.names.index("k")
        order = history.space.distributions[column].choices
        for row, evaluation in enumerate(history.evaluations()):
            index = int(history.values(slice(None))[row, column])
            assert _text(order[index]) == _text(evaluation.params["k"])


@given(distinct_choices.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_the_proposed_choice_reaches_the_objective(pair: tuple[list[Any], list[Any]]) -> None:
    known, asked = pair
    space = SearchSpace({"k": CategoricalDistribution(known)})
    for index, choice in enumerate(known):
        trial = RankStudy(History(space=space)).begin(
            [float(index)], 0, 0.0, np.random.default_rng(0)
        )
        assert _text(trial.suggest_categorical("k", asked)) == _text(choice)
        assert _text(trial.suggest_categorical("k", known)) == _text(choice)
        assert _text(trial.params) == _text({"k": choice})
        assert trial.contradiction is None


def test_ranks_of_a_group_draw_the_same_choice() -> None:
    """Even of a parameter that is new, by equal trials in processes with different orders."""
    drawn = set()
    for seed, order in itertools.product(range(20), itertools.permutations("abc")):
        trial = RankStudy(History()).begin([], 0, 0.0, np.random.default_rng(seed))
        trial.comm = object()
        drawn.add((seed, trial.suggest_categorical("k", order)))
    assert len(drawn) == 20
    assert {choice for _, choice in drawn} == set("abc")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('choices')}/s.db"


@settings(max_examples=15)
@given(st.sampled_from([writer_for, TrialWriter]), orders(distinct_choices), st.data())
def test_studies_keep_the_chosen_values(
    database: str,
    new_writer: Callable[[optuna.Study], Writer],
    orders_: list[list[Any]],
    data: st.DataObject,
) -> None:
    """By several writers, as of several jobs; and the study has one order of the choices."""
    study = open_study(database, f"s{next(_numbers)}", "minimize", resume=False)
    made = _evaluations(orders_, data)
    writers = [new_writer(study), new_writer(study)]
    for start in range(0, len(made), 4):
        data.draw(st.sampled_from(writers)).write(made[start : start + 4])
    trials = optuna.load_study(study_name=study.study_name, storage=study._storage).trials
    found = {(t.user_attrs["adbo:rank"], t.user_attrs["adbo:seq"]): t for t in trials}
    assert len({str(trial.distributions["k"]) for trial in trials}) == 1
    for evaluation in made:
        params = found[evaluation.rank, evaluation.seq].params
        assert _text(params) == _text(evaluation.params)
    again = {(e.rank, e.seq): e for e in read_evaluations(study)}
    assert {name: _text(e.params) for name, e in again.items()} == {
        (e.rank, e.seq): _text(e.params) for e in made
    }


_numbers = itertools.count()


@pytest.mark.parametrize("new_writer", [writer_for, TrialWriter])
def test_a_contradiction_is_refused(
    database: str, new_writer: Callable[[optuna.Study], Writer]
) -> None:
    study = open_study(database, f"s{next(_numbers)}", "minimize", resume=False)
    layouts = [
        Layout.of({"k": CategoricalDistribution(["a", "b"])}),
        Layout.of({"k": CategoricalDistribution(["a", "c"])}),
    ]
    first, second = (
        Evaluation(0, seq, TrialState.COMPLETE, 1.0, 0.0, 1.0, layout, (1.0,))
        for seq, layout in enumerate(layouts)
    )
    writer = new_writer(study)
    writer.write([first])
    with pytest.raises(RefusedError):
        writer.write([second])
    assert [trial.params for trial in study.trials] == [{"k": "b"}]


def test_a_refused_order_is_forgotten(database: str) -> None:
    """What a writer prepared but did not commit does not bind it: another writer was first."""
    study = open_study(database, f"s{next(_numbers)}", "minimize", resume=False)
    layout, other = (
        Layout.of({"k": CategoricalDistribution(o)}) for o in (["a", "b"], ["b", "a"])
    )
    good = Evaluation(0, 0, TrialState.COMPLETE, 1.0, 0.0, 1.0, layout, (0.0,))
    bad = replace(good, seq=1, layout=Layout.of({"k": FloatDistribution(0, 1)}), internal=(0.5,))
    writer = writer_for(study)
    with pytest.raises(RefusedError):
        writer.write([good, bad])
    writer_for(study).write([replace(good, rank=1, layout=other)])
    writer.write([good])
    assert [trial.params for trial in study.trials] == [{"k": "b"}, {"k": "a"}]
    assert len({str(trial.distributions) for trial in study.trials}) == 1


def test_a_copy_in_memory_takes_every_order() -> None:
    history = History()
    history.extend(
        to_batch(
            Evaluation(
                rank, 0, TrialState.COMPLETE, 1.0, 0.0, 1.0,
                Layout.of({"k": CategoricalDistribution(order)}), (0.0,),
            )
        )
        for rank, order in enumerate(itertools.permutations("abc"))
    )  # fmt: skip
    study = optuna.create_study()
    study.add_trials(trial_of(evaluation) for evaluation in history.evaluations())
    assert [trial.params["k"] for trial in study.trials] == ["a", "a", "b", "b", "c", "c"]
