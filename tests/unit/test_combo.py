"""Mini-Combo: its data, network, trainings and surrogate, and the clock that stops trainings."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from adbo.optimizer.sample import Pruned


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    return importlib.import_module


def _configurations(space: Any, n: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask(dict(space)).params for _ in range(n)]


def test_the_growth_does_not_depend_on_the_order_of_the_drugs(load):
    synthetic = load("combo.synthetic")
    rng = np.random.default_rng(3)
    growth = synthetic.growth_of(rng.normal(size=(5, 4)), rng.normal(size=(6, 4)), rng)
    assert growth.shape == (5, 6, 6)
    np.testing.assert_allclose(growth, growth.transpose(0, 2, 1))
    assert growth.std() > 0.1


def test_measurements(load):
    made = load("combo.synthetic").make_measurements(0, 300, 100)
    again = load("combo.synthetic").make_measurements(0, 300, 100)
    assert made.cells.shape == (59, 64)
    assert made.drugs.shape == (54, 128)
    assert made.triples.shape == (400, 3)
    assert (made.triples.max(axis=0) < [59, 54, 54]).all()
    assert len(np.unique(made.triples, axis=0)) == 400
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
    other = load("combo.synthetic").make_measurements(1, 300, 100)
    assert not np.array_equal(made.response, other.response)


def test_the_noise_sets_the_ceiling(load, monkeypatch):
    synthetic = load("combo.synthetic")
    noisy = synthetic.make_measurements().response
    monkeypatch.setattr(synthetic, "CEILING", 1.0)
    clean = synthetic.make_measurements().response
    assert 1 - np.var(noisy - clean) / np.var(noisy) == pytest.approx(0.93, abs=0.01)


def test_the_space_has_the_22_parameters_and_their_defaults(load):
    space = load("combo.space")
    assert len(space.SPACE) == 22
    assert list(space.SPACE) == list(space.DEFAULT)
    for name, distribution in space.SPACE.items():
        assert distribution._contains(distribution.to_internal_repr(space.DEFAULT[name]))


def test_the_network_has_the_widths_of_its_configuration(load, torch):
    network, space = load("combo.network"), load("combo.space")
    widths = {"dense_0": 80, "dense_2": 10, "dense_feature_layer_0": 512}
    params = {**space.DEFAULT, **widths, "residual": True, "batch_normalization": True}
    net = network.Combo(64, 128, params).eval()
    shapes = [tuple(layer.weight.shape) for layer in net.cell.layers]
    assert shapes == [(64, 64), (125, 64), (125, 125)]
    assert [tuple(layer.weight.shape) for layer in net.joint.layers] == [
        (10, 375),
        (125, 10),
        (1, 125),
    ]
    cells, first, second = torch.randn(7, 64), torch.randn(7, 128), torch.randn(7, 128)
    assert net(cells, first, second).shape == (7,)


def test_a_residual_connection_adds_the_layer_before_where_the_widths_agree(load, torch):
    network, space = load("combo.network"), load("combo.space")
    towers = []
    for residual in (False, True):
        torch.manual_seed(0)
        params = {**space.DEFAULT, "activation": "linear", "residual": residual}
        towers.append(network.Tower(5, [5, 3, 3], params, normalized=False))
    x = torch.randn(4, 5)
    plain, residual = towers
    h = plain.layers[1](plain.layers[0](x) + x)
    torch.testing.assert_close(residual(x), plain.layers[2](h) + h)


def test_training_learns_and_repeats(load, torch):
    training, space = load("combo.training"), load("combo.space")
    made = load("combo.synthetic").make_measurements(0, 600, 200)
    params = {**space.DEFAULT, "optimizer": "adam"}
    epochs = list(training.train(params, made, seed=1, n_epochs=6))
    assert len(epochs) == 6
    assert epochs[-1].r2 > 0.5
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(epochs))
    again = list(training.train(params, made, seed=1, n_epochs=6))
    assert [e.r2 for e in again] == [e.r2 for e in epochs]


@pytest.mark.parametrize("parameter", ["activation", "optimizer", "loss", "scaling"])
def test_every_choice_trains(load, torch, parameter):
    training, space = load("combo.training"), load("combo.space")
    made = load("combo.synthetic").make_measurements(0, 64, 32)
    for choice in space.SPACE[parameter].choices:
        [epoch] = training.train({**space.DEFAULT, parameter: choice}, made, seed=0, n_epochs=1)
        assert math.isfinite(epoch.r2)


def test_early_stopping_and_learning_rates(load, torch):
    training, space = load("combo.training"), load("combo.space")
    params = {
        **space.DEFAULT,
        **{"early_stopping": True, "early_stopping_patience": 7, "warmup_lr": True},
        **{"reduce_lr": True, "base_lr": 1e-2, "learning_rate": 1e-3},
    }
    schedule = training._Schedule(params)
    assert schedule.learning_rate(0) == pytest.approx(1e-2)
    assert schedule.learning_rate(5) == pytest.approx(1e-3)
    assert [schedule.is_over(loss) for loss in (2.0, 1.0, *[1.0] * 7)] == [False] * 8 + [True]
    assert schedule.learning_rate(9) == pytest.approx(5e-4)


def test_a_training_that_diverges_raises(load, torch):
    training, space = load("combo.training"), load("combo.space")
    made = load("combo.synthetic").make_measurements(0, 300, 50)
    params = {**space.DEFAULT, "loss": "mape", "learning_rate": 1e30, "activation": "linear"}
    with pytest.raises(training.Diverged):
        list(training.train(params, made, seed=0))


@pytest.fixture
def runs(load) -> Any:
    """Trainings whose score is that of their first parameter, of which some fail."""
    runs, space = load("combo.runs"), load("combo.space")
    rng = np.random.default_rng(0)
    units = rng.random((200, len(space.SPACE)))
    r2 = 0.9 * units[:, :1] * (1 - np.exp(-np.arange(1, 51) / 10))
    failed = units[:, 1] > 0.9
    return runs.Runs(units, r2, 2 + 10 * units[:, 2], failed, np.array(["random"] * 200))


def test_the_surrogate_is_deterministic(load, runs):
    surrogate, space = load("combo.surrogate"), load("combo.space")
    first, second = surrogate.Surrogate(runs), surrogate.Surrogate(runs)
    for params in _configurations(space.SPACE, 20):
        one, two = first(params), second(params)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one[:2], two[:2]))  # noqa: B905
        assert one.failed_after == two.failed_after


def test_the_surrogate_learns_scores_lengths_and_failures(load, runs):
    surrogate, space = load("combo.surrogate"), load("combo.space")
    predict = surrogate.Surrogate(runs)
    params = _configurations(space.SPACE, 300)
    curves = [predict(p) for p in params]
    failures = np.array([c.failed_after is not None for c in curves])
    assert 0.02 < failures.mean() < 0.25
    trained = [(p, c) for p, c in zip(params, curves, strict=True) if c.failed_after is None]
    assert all(len(c.r2) == 50 for p, c in trained if not p["early_stopping"])
    assert all((np.diff(c.seconds) > 0).all() for _, c in trained)
    widths = [math.log(p["dense_0"]) for p, _ in trained]
    assert np.corrcoef(widths, [c.expected for _, c in trained])[0, 1] > 0.7


def test_packed_trainings_come_back(load, tmp_path):
    runs, space = load("combo.runs"), load("combo.space")
    trained = [
        {"source": "random", "params": p, "r2": [0.1, 0.2], "seconds": [1.0, 2.0], "failed": False}
        for p in _configurations(space.SPACE, 3)
    ]
    trained.append({**trained[0], "source": "adbo", "r2": [], "seconds": [], "failed": True})
    runs.pack(tmp_path / "runs.npz", trained)
    made = runs.load_runs(tmp_path / "runs.npz")
    assert made.n_epochs.tolist() == [2, 2, 2, 0]
    assert made.failed.tolist() == [False, False, False, True]
    assert made.seconds[:3].tolist() == [2.0, 2.0, 2.0]
    assert made.source.tolist() == ["random"] * 3 + ["adbo"]
    again = {**trained[1], "source": "near", "r2": [0.3]}
    other = {**trained[1], "params": _configurations(space.SPACE, 4)[3], "source": "tpe"}
    runs.pack(tmp_path / "runs.npz", [again, other])
    made = runs.load_runs(tmp_path / "runs.npz")
    assert made.source.tolist() == ["random", "random", "adbo", "near", "tpe"]
    assert made.n_epochs.tolist() == [2, 2, 0, 1, 2]


def test_trainings_of_a_faster_machine_have_durations_as_of_the_first_one(load, runs, torch):
    tool, surrogate, space = (load(n) for n in ("combo_runs", "combo.surrogate", "combo.space"))
    predict = surrogate.Surrogate(runs)
    curves = [(p, predict(p)) for p in _configurations(space.SPACE, 40)]
    faster = [
        tool.Trained("random", p, list(c.r2), list(c.seconds / predict.scale / 3), False)
        for p, c in curves
        if len(c.r2)
    ]
    scaled = tool.with_durations_of(runs, faster)
    assert [one.seconds[-1] for one in scaled] == pytest.approx(
        [3 * one.seconds[-1] for one in faster], rel=0.05
    )
    failed = tool.Trained("random", curves[0][0], [], [], True)
    assert tool.with_durations_of(runs, [*faster, failed])[-1] == failed


def _train_of(load, n_steps=50, seconds=1.0):
    """Return trainings whose cost is always ``x``; those with x > 0.9 fail after a second."""
    clock = load("training_clock")

    def train(params):
        if params["x"] > 0.9:
            return clock.Training(np.empty(0), np.empty(0), 1.0)
        times = seconds * np.arange(1.0, n_steps + 1)
        return clock.Training(np.full(n_steps, params["x"]), times, None, params["x"])

    return train


SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


def test_workers_train_to_the_end_without_pruning(load):
    clock, searchers = load("training_clock"), load("training_searchers")
    outcome = clock.Clock(searchers.Random(SPACE, 1), _train_of(load), 4).run(100.5)
    assert outcome.n_pruned == 0
    assert 4 <= outcome.n_complete <= 8
    assert outcome.n_steps == 50 * outcome.n_complete
    assert outcome.busy_seconds == 50 * outcome.n_complete + outcome.n_failed
    costs = [i.cost for i in outcome.improvements]
    assert costs == sorted(costs, reverse=True)
    assert outcome.best_at(49.9) == math.inf
    assert outcome.seconds_to(costs[-1]) == outcome.improvements[-1].seconds


def test_halving_gives_more_evaluations_and_a_better_cost(load):
    clock, searchers = load("training_clock"), load("training_searchers")
    plain, halved = (
        clock.Clock(searchers.Random(SPACE, 1, halving), _train_of(load), 8).run(1000)
        for halving in (None, searchers.Halving())
    )
    ends = [o.n_complete + o.n_pruned + o.n_failed for o in (plain, halved)]
    assert ends[1] > 3 * ends[0]
    assert halved.n_pruned > halved.n_complete
    assert halved.best_at(1000) < plain.best_at(1000)


def test_nothing_is_pruned_before_a_trial_is_complete(load):
    clock, searchers = load("training_clock"), load("training_searchers")
    outcome = clock.Clock(searchers.Random(SPACE, 1, searchers.Halving()), _train_of(load), 8)
    assert outcome.run(49.5).n_pruned == 0


def test_halving_lets_the_best_third_go_on(load):
    halving, trial_of = load("training_searchers").Halving(), load("training_clock").Trial
    ended = trial_of({}, 0, reports=dict.fromkeys(range(1, 51), 9.0))
    assert halving.goes_on(trial_of({}, 1), 1, 9.5)
    halving.end(ended, optuna.trial.TrialState.COMPLETE)
    costs = [5.0, 6.0, 4.0, 4.5, 4.6, 3.9]
    decisions = [halving.goes_on(trial_of({}, n), 1, cost) for n, cost in enumerate(costs, 2)]
    assert decisions == [True, False, True, True, False, True]


def test_one_epoch_continues_the_best_in_the_second_half(load):
    clock, searchers = load("training_clock"), load("training_searchers")
    searcher = searchers.OneEpoch(searchers.Random(SPACE, 1), 200.0)
    outcome = clock.Clock(searcher, _train_of(load), 2).run(200.0)
    assert outcome.best_at(100.0) == math.inf
    assert outcome.best_at(200.0) < 0.05  # the best of about 200
    assert outcome.n_complete == 4
    assert outcome.n_steps == outcome.n_pruned + 49 * 4


@pytest.mark.parametrize("pruned", Pruned)
def test_adbo_learns_of_stopped_trials(load, pruned):
    clock, searchers = load("training_clock"), load("training_searchers")
    searcher = searchers.Adbo(SPACE, 1, 4, searchers.Halving(), pruned)
    outcome = clock.Clock(searcher, _train_of(load), 4).run(300.0)
    counts = {state.name: n for state, n in searcher._history.counts.items()}
    assert (counts["COMPLETE"], counts["PRUNED"]) == (outcome.n_complete, outcome.n_pruned)
    assert outcome.n_pruned > 0
    assert outcome.best_at(300.0) < 0.02


def test_a_manager_serves_those_who_wait_together(load):
    clock, searchers = load("training_clock"), load("training_searchers")
    n_rows = []

    class Flat:
        def predict(self, points):
            n_rows.append(len(points))
            return points[:, 0].copy(), np.zeros(len(points))

    managed = searchers.Managed(SPACE, 1, lambda X, y, rng: Flat())
    outcome = clock.Clock(managed, _train_of(load), 8).run(500.0)
    assert outcome.n_complete > 40
    assert outcome.best_at(500.0) < 0.001
    # Eight trainings of the same length end together, so there are few batches.
    assert len(n_rows) <= 20
    assert set(n_rows) == {searchers.Managed.N_CANDIDATES}


def test_a_worker_waits_for_the_manager(load):
    managed = load("training_searchers").Managed(SPACE, 1, lambda X, y, rng: None)
    assert managed.ask_seconds() == 0.0
    managed._begin_batch = lambda: 10.0
    managed._points = np.linspace(0, 1, 5)[:, None]
    managed._mean, managed._std = np.arange(5.0), np.zeros(5)
    waits, points = [], []
    for now in (0.0, 0.0, 3.0, 9.0, 11.0):
        points.append(managed.ask(now, 0).params["x"])
        waits.append(managed.ask_seconds())
    # The first batch begins at once and ends at 10; who comes later waits for the second one.
    assert waits == [10.0, 10.0, 17.0, 11.0, 19.0]
    assert points == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_database_serves_one_write_after_the_other(load):
    clock, searchers = load("training_clock"), load("training_searchers")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searcher = searchers.Tpe(SPACE, 1, searchers.successive_halving())
    searcher.ask_seconds = lambda: 0.0
    slow = clock.Clock(searcher, _train_of(load), 4, write_seconds=1.0).run(100.0)
    # Each of the four starts 4 s after the one before it.
    assert slow.improvements[0].seconds == pytest.approx(54.0, abs=4.1)
    assert slow.busy_seconds < 4 * 100.0 - 6 * 4


def test_a_table_takes_its_durations(load):
    times, tables = load("table_times"), load("tuning_tables")
    train = times.make_train("parkinsons")
    seconds = tables.training_seconds("parkinsons")
    assert (seconds.min(), np.median(seconds), seconds.max()) == pytest.approx((8, 32, 562), abs=1)
    for params in _configurations(tables.make_space("parkinsons"), 10):
        training = train(params)
        assert training.costs[0] >= 0
        assert 8 <= training.seconds[0] <= 563


def test_the_study_writes_each_run_once(load, tmp_path):
    study, tables = load("combo_study"), load("combo_tables")
    arguments = [
        *("--workers", "4", "--hours", "0.5", "--seeds", "1", "--output", str(tmp_path)),
        *("--methods", "adbo", "adbo-halving", "random", "asha", "one-epoch"),
    ]
    assert study.main(arguments) == 0
    files = {path.stem: path.read_text() for path in tmp_path.glob("*.csv")}
    assert set(files) == {"adbo", "adbo-halving", "random", "asha", "one-epoch"}
    assert study.main(arguments) == 0
    assert files == {path.stem: path.read_text() for path in tmp_path.glob("*.csv")}
    # An abbreviated commit such as 5848e62 looks like a number.
    of_methods = [pd.read_csv(p, dtype={"version": str}) for p in tmp_path.glob("*.csv")]
    rows = pd.concat(of_methods)
    rows = tables.with_reference(rows).set_index("method")
    assert rows.loc["asha", "evaluations"] > 2 * rows.loc["random", "evaluations"]
    assert rows.loc["adbo", "complete"] == rows.loc["adbo", "evaluations"]
    assert rows["utilization"].between(0.3, 1).all()
    last = tables.best_at(rows.loc["adbo", "improvements"], np.array([0.0, 30.0]))
    assert math.isnan(last[0])
    assert last[1] == rows.loc["adbo", "best_30"]
    assert 0 < rows.loc["adbo", "minutes_to_reference"] <= 30
    assert 0 < rows.loc["adbo", "minutes_to_expected"] <= 30
    tables.plot(rows.reset_index(), tmp_path / "combo.png")
    assert (tmp_path / "combo.png").stat().st_size > 0


def test_a_fit_of_a_manager_takes_longer_with_more_evaluations(load, tmp_path):
    times = load("combo_fit_times")
    arguments = ["--evaluations", "20", "500", "--most-of-gp", "20", "--seeds", "1"]
    assert times.main([*arguments, "--output", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "combo_fit_times.csv").set_index(["method", "n"])["seconds"]
    assert set(rows.index) == {
        *((method, 20) for method in times.METHODS),
        *((method, 500) for method in ("adbo", "managed-forest")),
    }
    assert rows["managed-forest", 500] > rows["managed-forest", 20]


def test_regrets_of_tables_fall_with_time(load, tmp_path):
    times = load("table_times")
    arguments = [
        *("--tables", "nas_imagenet", "--methods", "random", "tpe", "--workers", "8"),
        *("--medians", "4", "--seeds", "1", "--output", str(tmp_path)),
    ]
    assert times.main(arguments) == 0
    for method in ("random", "tpe"):
        [row] = pd.read_csv(tmp_path / f"{method}.csv").to_dict("records")
        regrets = [row[f"regret_{part:g}"] for part in times.PARTS]
        assert regrets == sorted(regrets, reverse=True)
        assert 0 <= regrets[-1] < math.inf
        assert 8 < row["evaluations"] < 64
