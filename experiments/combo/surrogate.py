"""A surrogate of mini-Combo: whole learning curves of any configuration, from real trainings.

Three forests learn the trainings of `combo.runs`: the curves as log(1 - R2) in all epochs at once,
the logarithm of the seconds per epoch together with the number of epochs, and whether a training
diverges. A prediction is the mean of the trees, to which two kinds of noise are added, both drawn
from a stream that the configuration determines:

- an offset of the whole curve, as between trainings that differ in their seeds only;
- the jitter between epochs of a real training that ends with a similar score.

Notation: ``d`` parameters, ``e`` epochs, ``n`` trainings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from adbo.core.space import SearchSpace
from combo.runs import N_EPOCHS, Runs
from combo.space import SPACE
from combo.synthetic import FloatArray

#: Mean duration of a random configuration in virtual seconds, about that of the study.
MEAN_SECONDS = 700.0

#: Standard deviation of log(1 - R2) between trainings that differ in their seeds only.
SEED_DEVIATION = 0.03

#: Standard deviation of the logarithm of the duration of trainings of one configuration.
_SECONDS_DEVIATION = 0.05

#: R2 below this counts as this: how bad a bad network is does not matter.
_LEAST_R2 = -1.0

#: Epochs whose mean is the curve without jitter.
_WINDOW = 5

#: Jitter comes from one of so many trainings with the nearest final scores.
_N_SIMILAR = 10

#: Jitter of log(1 - R2) is at most this: what is more, in the first epochs, is curvature.
_MOST_JITTER = 0.15

_N_TREES = 60


class Curve(NamedTuple):
    """A training of a configuration, predicted."""

    r2: FloatArray
    """Validation R2 after each epoch ``(k,)``; nothing if it diverges in the first one."""
    seconds: FloatArray
    """Virtual seconds from the beginning to the end of each epoch ``(k,)``."""
    failed_after: float | None
    """Virtual seconds after which the training diverges, or None."""
    expected: float
    """The final R2 without noise."""


class Surrogate:
    """Predicts trainings; equal configurations have equal ones.

    Parameters
    ----------
    runs
        Real trainings.
    seed
        Determines the forests.
    """

    def __init__(self, runs: Runs, seed: int = 0) -> None:
        self._space = SearchSpace(dict(SPACE))
        features = self._features(runs.units)
        logs = to_log(filled(runs.r2))
        trained = ~runs.failed & (runs.n_epochs > 0)
        self._curves = _fit(features[trained], logs[trained], seed)
        rates = np.log(runs.seconds[trained] / runs.n_epochs[trained])
        lengths = np.log(runs.n_epochs[trained])
        self._times = _fit(features[trained], np.stack([rates, lengths], axis=1), seed)
        failures = ExtraTreesClassifier(_N_TREES, min_samples_leaf=2, random_state=seed)
        self._failures = [t.tree_ for t in failures.fit(features, runs.failed).estimators_]
        self._fails = bool(runs.failed.any())
        self._final = logs[trained, -1]
        jitter = logs[trained] - _smoothed(logs[trained])
        self._jitter = np.clip(jitter, -_MOST_JITTER, _MOST_JITTER)
        is_random = trained & (runs.source == "random")
        #: Virtual seconds in a CPU second of the trainings.
        self.scale = MEAN_SECONDS / runs.seconds[is_random].mean()

    def __call__(self, params: Mapping[str, Any]) -> Curve:
        """Return the training of a configuration."""
        unit = self._space.to_unit(self._space.encode(params)[np.newaxis])
        x = self._features(unit)
        digest = hashlib.blake2b(x.tobytes(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(digest, "little"))
        mean = _predict(self._curves, x)
        rate, length = _predict(self._times, x)
        logs = mean + SEED_DEVIATION * rng.standard_normal() + self._similar_jitter(mean, rng)
        n_epochs = self._n_epochs(params, length)
        per_epoch = self.scale * np.exp(rate + _SECONDS_DEVIATION * rng.standard_normal())
        seconds = per_epoch * np.arange(1, n_epochs + 1)
        expected = float(1.0 - np.exp(mean[n_epochs - 1]))
        if self._fails and rng.random() < _predict(self._failures, x)[1]:
            return Curve(np.empty(0), np.empty(0), float(seconds[0]), np.nan)
        return Curve(1.0 - np.exp(logs[:n_epochs]), seconds, None, expected)

    def expected(self, units: FloatArray) -> FloatArray:
        """Return the R2 ``(n,)`` without noise after 50 epochs of points of the unit cube."""
        rows = self._features(units)
        return np.array([1.0 - np.exp(_predict(self._curves, x[np.newaxis])[-1]) for x in rows])

    def _features(self, units: FloatArray) -> NDArray[np.float32]:
        """Return rows ``(n, d)`` for the forests, with a column for each of several choices."""
        columns = []
        for column, n_choices in zip(units.T, self._space.categories, strict=True):
            if n_choices > 2:
                choice = np.minimum((column * n_choices).astype(int), n_choices - 1)
                columns += list(np.eye(n_choices)[choice].T)
            else:
                columns.append(column)
        return np.stack(columns, axis=1).astype(np.float32)

    def _similar_jitter(self, mean: FloatArray, rng: np.random.Generator) -> FloatArray:
        order = np.argsort(np.abs(self._final - mean[-1]))[:_N_SIMILAR]
        return self._jitter[rng.choice(order)]

    def _n_epochs(self, params: Mapping[str, Any], length: float) -> int:
        if not params["early_stopping"]:
            return N_EPOCHS
        return int(np.clip(round(np.exp(length)), params["early_stopping_patience"], N_EPOCHS))


def to_log(r2: FloatArray) -> FloatArray:
    """Return log(1 - R2), so that differences near the ceiling count."""
    return np.log(1.0 - np.maximum(r2, _LEAST_R2))


def filled(r2: FloatArray) -> FloatArray:
    """Return curves ``(n, e)`` that keep their last value after their end."""
    epochs = np.where(np.isfinite(r2), np.arange(r2.shape[1]), 0)
    last = np.maximum.accumulate(epochs, axis=1)
    return np.nan_to_num(np.take_along_axis(r2, last, axis=1), nan=_LEAST_R2)


def _smoothed(curves: FloatArray) -> FloatArray:
    """Return the mean of each epoch ``(n, e)`` and its neighbours."""
    half = _WINDOW // 2
    padded = np.pad(curves, ((0, 0), (half, half)), mode="reflect", reflect_type="odd")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)
    return np.asarray(windows.mean(axis=-1))


def _fit(x: NDArray[np.float32], y: FloatArray, seed: int) -> list[Any]:
    forest = ExtraTreesRegressor(_N_TREES, min_samples_leaf=1, max_features=0.6, random_state=seed)
    return [tree.tree_ for tree in forest.fit(x, y).estimators_]


def _predict(trees: list[Any], x: NDArray[np.float32]) -> FloatArray:
    """Return the mean over the trees for one row; faster than the forest's own method."""
    return np.mean([tree.predict(x).ravel() for tree in trees], axis=0)
