"""The rows of the history that an ask reads."""

from __future__ import annotations

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from adbo.optimizer import sample as sampling
from adbo.optimizer.ask_tell import Optimizer
from adbo.optimizer.sample import SampleSettings, draw_sample

SQUARE = {"x": FloatDistribution(-5, 5), "y": FloatDistribution(-5, 5)}


class TestAuxiliaryRows:
    def told(self, n, space=SQUARE):
        optimizer = Optimizer(space, seed=0)
        X = np.random.default_rng(1).uniform(-5, 5, (n, len(space)))
        optimizer.tell_array(X, (X**2).sum(axis=1))
        return optimizer.history

    def auxiliary(self, history, rows):
        return sampling._draw_auxiliary_rows(
            history, rows, np.random.default_rng(2), SampleSettings()
        )

    def rows_of(self, history, auxiliary):
        """Which rows they are, by their first value."""
        values = history.space.from_unit(auxiliary.X)[:, 0]
        known = history.values(slice(None))[:, 0]
        order = np.argsort(known)
        return order[np.searchsorted(known[order] - 1e-9, values) - 1]

    def test_all_rows_of_a_short_history_that_are_not_in_the_sample(self):
        history = self.told(700)
        sample = np.concatenate([history.elites, np.arange(100)])
        found = self.rows_of(history, self.auxiliary(history, sample))
        assert sorted(found) == sorted(set(range(700)) - set(sample.tolist()))

    def test_of_a_long_history_the_latest_rows_and_some_of_all_times(self):
        history = self.told(20_000)
        found = self.rows_of(history, self.auxiliary(history, history.elites))
        half = SampleSettings().n_auxiliary // 2
        latest = set(range(20_000 - half, 20_000)) - set(history.elites.tolist())
        assert latest < set(found.tolist())
        others = np.sort(found[found < 20_000 - half])
        assert half / 4 < len(others) <= half
        assert others[0] < 20
        assert others[-1] > 10_000
        assert len(set(found.tolist())) == len(found)

    def test_costs_belong_to_the_rows(self):
        history = self.told(3000)
        auxiliary = self.auxiliary(history, history.elites)
        values = history.space.from_unit(auxiliary.X)
        np.testing.assert_allclose(auxiliary.cost, (values**2).sum(axis=1), rtol=1e-9)

    def test_none_where_there_are_steps(self):
        assert (
            len(self.auxiliary(self.told(700, {"i": IntDistribution(-5, 5)}), np.arange(9)).X) == 0
        )

    def test_only_complete_rows(self):
        optimizer = Optimizer(SQUARE, seed=0)
        optimizer.tell_array(np.array([[1.0, 2.0], [1.0, np.nan]] * 40), np.arange(80.0))
        assert len(self.auxiliary(optimizer.history, np.arange(10)).X) == 35


class TestSample:
    def drawn(self, X, y, **settings):
        optimizer = Optimizer(SQUARE, seed=0)
        optimizer.tell_array(X, y)
        rng = np.random.default_rng(2)
        return draw_sample(optimizer.history, rng, SampleSettings(**settings))

    def test_elites_come_first_and_best_first(self):
        rng = np.random.default_rng(0)
        X, y = rng.uniform(-5, 5, (5000, 2)), rng.random(5000)
        sample = self.drawn(X, y, n_elites=40)
        assert sample.n_elites == 40
        assert 40 < len(sample.X) <= 80
        np.testing.assert_array_equal(sample.cost[:40], np.sort(y)[:40])
        assert len(np.unique(sample.X, axis=0)) == len(sample.X)

    def test_all_rows_of_a_short_history(self):
        rng = np.random.default_rng(0)
        X, y = rng.uniform(-5, 5, (30, 2)), rng.random(30)
        y[:10] = np.nan
        sample = self.drawn(X, y, n_elites=15)
        assert sample.n_elites == 15
        assert np.isnan(sample.cost).sum() == 10
        np.testing.assert_array_equal(np.sort(sample.cost), np.sort(y))
        np.testing.assert_allclose(np.sort(sample.X[:, 0]), np.sort(X[:, 0]) / 10 + 0.5)
