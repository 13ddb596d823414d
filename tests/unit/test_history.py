"""The history is append-only, has no duplicates, and keeps its best evaluations in order."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from trial_strategies import evaluations

from adbo.core.evaluation import NO_EXTRAS, Batch, Evaluation, Extras, Layout, to_batch
from adbo.core.front import Front
from adbo.core.history import ELITES, History, sorted_unique

LAYOUT = Layout({"x": FloatDistribution(-10, 10)})
OTHER = Layout({"y": CategoricalDistribution(["a", "b"]), "x": FloatDistribution(-10, 10)})


def _evaluation(seq: int, value: float = 0.0, **changes) -> Evaluation:
    fields = {
        "rank": 0,
        "seq": seq,
        "state": TrialState.COMPLETE,
        "value": value,
        "started": 0.0,
        "finished": 1.0,
        "layout": LAYOUT,
        "internal": (0.5,),
        "extras": NO_EXTRAS,
    }
    return Evaluation(**{**fields, **changes})


def _without_order(evaluation: Evaluation) -> tuple[str, str]:
    return repr(evaluation.params), repr(replace(evaluation, layout=LAYOUT, internal=()))


def _batch(costs: np.ndarray, start: int = 0) -> Batch:
    rows = np.zeros(len(costs), dtype=LAYOUT.dtype)
    rows["seq"] = np.arange(start, start + len(costs))
    rows["value"] = costs
    rows["state"] = np.where(np.isnan(costs), TrialState.FAIL.value, TrialState.COMPLETE.value)
    rows["internal"][:, 0] = np.linspace(-10, 10, len(costs))
    return Batch(LAYOUT, rows, {})


@settings(max_examples=50)
@given(st.lists(evaluations(), max_size=8, unique_by=lambda e: (e.rank, e.seq)))
def test_rows_are_what_was_appended(appended: list[Evaluation]) -> None:
    history = History()
    assert history.extend(map(to_batch, appended)) == len(appended)
    # By repr, since NaN equals NaN; the order of choices may change.
    assert [_without_order(e) for e in history.evaluations()] == list(
        map(_without_order, appended)
    )
    assert sum(history.counts.values()) == len(appended)


def test_duplicates_are_refused() -> None:
    history = History()
    assert history.extend([to_batch(_evaluation(1, 5.0)), to_batch(_evaluation(1, 3.0))]) == 1
    assert history.extend([to_batch(_evaluation(1, 1.0, internal=(0.1,)))]) == 0
    assert history.extend([to_batch(_evaluation(1, 7.0, rank=1))]) == 1
    assert history.column("value").tolist() == [5.0, 7.0]
    assert history.counts[TrialState.COMPLETE] == 2


def test_a_batch_that_is_partly_known_keeps_its_extras_in_place() -> None:
    history = History()
    history.extend([_batch(np.array([3.0]))])
    batch = _batch(np.array([3.0, 2.0, 1.0]))
    with_extras = Batch(LAYOUT, batch.rows, {2: Extras({"number": 2})})
    assert history.extend([with_extras]) == 2
    assert [e.extras for e in history.evaluations()] == [
        NO_EXTRAS,
        NO_EXTRAS,
        Extras({"number": 2}),
    ]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.one_of(st.floats(-50, 50), st.just(float("nan"))), max_size=120), max_size=8
    ),
    st.sampled_from([1, -1]),
)
def test_elites_are_those_of_a_full_sort(batches: list[list[float]], sign: int) -> None:
    history = History(sign)
    for values in batches:
        history.extend([_batch(np.array(values, dtype=float), len(history))])
    cost = sign * history.column("value")
    expected = np.argsort(cost, kind="stable")[: min(ELITES, int(np.isfinite(cost).sum()))]
    np.testing.assert_array_equal(cost[history.elites], cost[expected])
    assert len(set(history.elites.tolist())) == len(expected)


@settings(max_examples=50)
@given(
    st.lists(evaluations(), max_size=8, unique_by=lambda e: (e.rank, e.seq)),
    st.sampled_from([1, -1]),
)
def test_sorted_rows_are_as_if_appended_in_the_order_of_their_ends(
    appended: list[Evaluation], sign: int
) -> None:
    history, expected = History(sign), History(sign)
    history.extend(map(to_batch, appended))
    history.sort()
    expected.extend(map(to_batch, sorted(appended, key=lambda e: e.finished)))
    assert [_without_order(e) for e in history.evaluations()] == [
        _without_order(e) for e in expected.evaluations()
    ]
    assert history.elites.tolist() == expected.elites.tolist()
    assert history.best == expected.best
    history.extend([to_batch(_evaluation(0, rank=2**20))])
    assert history.evaluation(len(appended)).rank == 2**20


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_only_complete_evaluations_are_elites(state: TrialState) -> None:
    history = History()
    history.extend([to_batch(_evaluation(0, -100.0, state=state)), to_batch(_evaluation(1))])
    assert history.elites.tolist() == [1]
    assert history.best == 1


def test_maximizing_turns_the_order() -> None:
    history = History(-1)
    history.extend([_batch(np.array([1.0, 3.0, 2.0]))])
    assert history.elites.tolist() == [1, 2, 0]
    assert history.cost(np.array([1])).tolist() == [-3.0]


def test_a_sample_is_bounded_and_leaves_out_the_elites() -> None:
    history = History()
    history.extend([_batch(np.arange(5000.0))])
    rows = history.sample(256, np.random.default_rng(0), history.elites)
    assert 128 < len(rows) <= 256
    assert len(set(rows)) == len(rows)
    # From all times, the early ones more often.
    assert (rows < 2000).sum() > (rows > 3000).sum() > 20
    assert not np.isin(rows, history.elites).any()


def test_a_small_history_is_its_own_sample() -> None:
    history = History()
    history.extend([_batch(np.array([1.0, np.nan, 2.0]))])
    assert history.sample(256, np.random.default_rng(0), history.elites).tolist() == [1]


def test_columns_grow_while_the_run_goes_on() -> None:
    history = History()
    history.extend([to_batch(_evaluation(0))])
    history.extend([to_batch(_evaluation(1, layout=OTHER, internal=(1.0, 0.25)))])
    assert history.space.names == ["x", "y"]
    np.testing.assert_array_equal(history.values(slice(None)), [[0.5, np.nan], [0.25, 1.0]])
    assert history.evaluation(1).params == {"y": "b", "x": 0.25}


def test_contains() -> None:
    history = History()
    history.extend([to_batch(_evaluation(0, internal=(0.0,)))])
    assert history.contains(np.array([[-0.0], [1.0]])).tolist() == [True, False]
    history.extend([to_batch(_evaluation(1, layout=OTHER, internal=(1.0, 0.0)))])
    points = np.array([[0.0, np.nan], [0.0, 1.0], [1.0, 1.0]])
    assert history.contains(points).tolist() == [True, True, False]


def test_a_reader_in_another_thread_sees_whole_rows() -> None:
    history = History()
    over = threading.Event()
    wrong: list[Evaluation] = []

    def read() -> None:
        while not over.is_set():
            wrong.extend(e for e in history.evaluations() if e.value != e.internal[0])

    reader = threading.Thread(target=read)
    reader.start()
    for seq in range(3000):
        history.extend([to_batch(_evaluation(seq, seq / 1000, internal=(seq / 1000,)))])
    over.set()
    reader.join()
    assert not wrong


def test_the_front_is_whole_whatever_other_threads_do_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread of the live line reads the front, too."""
    history = History((1, 1))
    layout = Layout(LAYOUT.distributions, n_values=2)
    later = iter((1, 2))
    extended = Front.extended

    def append(seq: int) -> None:
        history.extend([to_batch(_evaluation(seq, seq, layout=layout, more_values=(-seq,)))])

    def interrupted(front: Front, *more: np.ndarray) -> Front:
        for seq in later:
            append(seq)
            assert len(history.front.rows) >= seq
        return extended(front, *more)

    monkeypatch.setattr(Front, "extended", interrupted)
    append(0)
    for _ in range(2):
        rows = history.front.rows
    assert rows.tolist() == [0, 1, 2]


@given(st.lists(st.integers(0, 30)))
def test_sorted_unique(rows: list[int]) -> None:
    assert sorted_unique(np.array(rows, dtype=np.int64)).tolist() == sorted(set(rows))
