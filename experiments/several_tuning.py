"""Two tuning tasks with several objectives: error, size and cost of a prediction.

Each evaluation trains a scikit-learn model on some hundred samples, and finds its error on others.
Size and cost are counted, not timed, so equal parameters have equal values on all machines. Both
are decimal logarithms, since they span orders of magnitude. The samples and all random states
are fixed.

`forest` is a random forest for the digits of scikit-learn: the fraction of wrong labels, the
number of nodes, and the number of nodes that the prediction of one sample visits. `perceptron` is
a regression of the data of Friedman (Annals of Statistics 19, 1991): 1 - R2, and the number of
weights, each of which a prediction multiplies or adds once.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from several_problems import Outcome, Point, Problem
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tuning_models import STATE, WORST, threads

#: Features and labels or targets of the training, and of the other samples.
Split = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any], NDArray[Any]]


@functools.cache
def digits() -> Split:
    """Return 300 digits to train with, and 500 others."""
    x, y = datasets.load_digits(return_X_y=True)
    return _split(x, y, 300, 500)


@functools.cache
def friedman() -> Split:
    """Return 250 samples of a function of five features to train with, and 450 others."""
    x, y = datasets.make_friedman1(700, noise=1, random_state=STATE)
    return _split(x, (y - y.mean()) / y.std(), 250, 450)


def forest(params: Mapping[str, Any]) -> list[float]:
    """Return the error, log10 of the nodes and log10 of the visited nodes of a random forest."""
    options = {"max_samples": params["max_samples"]} if params["bootstrap"] else {}
    model = RandomForestClassifier(
        n_estimators=params["n_estimators"],
        criterion=params["criterion"],
        max_leaf_nodes=params["max_leaf_nodes"],
        max_features=params["max_features"],
        min_samples_leaf=params["min_samples_leaf"],
        ccp_alpha=params["ccp_alpha"],
        bootstrap=params["bootstrap"],
        random_state=STATE,
        **options,
    )
    x, other_x, y, other_y = digits()
    error = 1 - float(model.fit(x, y).score(other_x, other_y))
    trees = [of_one.tree_ for of_one in model.estimators_]
    nodes = sum(tree.node_count for tree in trees)
    visited = sum(tree.decision_path(other_x.astype(np.float32)).nnz for tree in trees)
    return [error, math.log10(nodes), math.log10(visited / len(other_y))]


def perceptron(params: Mapping[str, Any]) -> list[float]:
    """Return 1 - R2, at most `WORST`, and log10 of the weights of a perceptron."""
    units = [params[f"units{layer}"] for layer in range(params["layers"])]
    network = MLPRegressor(
        hidden_layer_sizes=units,
        activation=params["activation"],
        solver="lbfgs",
        alpha=params["alpha"],
        max_iter=params["max_iter"],
        random_state=STATE,
    )
    chosen = SelectKBest(f_regression, k=params["features"])
    x, other_x, y, other_y = friedman()
    with warnings.catch_warnings(), threads().limit(limits=1):
        warnings.simplefilter("ignore")  # of fits that end before they converge
        model = make_pipeline(chosen, StandardScaler(), network).fit(x, y)
        error = min(1 - float(model.score(other_x, other_y)), WORST)
    weights = sum(layer.size for layer in (*network.coefs_, *network.intercepts_))
    return [error, math.log10(weights)]


def _split(x: NDArray[np.float64], y: NDArray[Any], n: int, others: int) -> Split:
    chosen = np.random.default_rng(STATE).permutation(len(y))[: n + others]
    x, y = x[chosen], y[chosen]
    return x[:n], x[n:], y[:n], y[n:]


def _outcome(
    values: Callable[[Mapping[str, Any]], list[float]],
    space: Mapping[str, BaseDistribution],
    x: Point,
) -> Outcome:
    """Return the values at a point, in which a choice of a text is its index."""
    params = zip(space, map(_value, space.values(), x.tolist()), strict=True)
    return values(dict(params)), []


def _value(distribution: BaseDistribution, number: float) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(number)]
    return int(number) if isinstance(distribution, IntDistribution) else number


def _problem(
    values: Callable[[Mapping[str, Any]], list[float]],
    space: Mapping[str, BaseDistribution],
    reference: tuple[float, ...],
) -> Problem:
    return Problem(space, partial(_outcome, values, space), reference)


def _log_int(low: int, high: int) -> IntDistribution:
    return IntDistribution(low, high, log=True)


#: The tasks by name. Half of the digits wrong, and R2 = 0, are the worst errors that count.
TUNING = {
    "forest": _problem(
        forest,
        {
            "n_estimators": _log_int(1, 16),
            "criterion": CategoricalDistribution(("gini", "entropy")),
            "max_leaf_nodes": _log_int(2, 200),
            "max_features": FloatDistribution(0.02, 1),
            "min_samples_leaf": _log_int(1, 20),
            "ccp_alpha": FloatDistribution(1e-5, 1e-1, log=True),
            "bootstrap": CategoricalDistribution((False, True)),
            "max_samples": FloatDistribution(0.2, 1),
        },
        (0.5, 3.5, 2.5),
    ),
    "perceptron": _problem(
        perceptron,
        {
            "features": IntDistribution(1, 10),
            "layers": IntDistribution(1, 2),
            "units0": _log_int(1, 32),
            "units1": _log_int(1, 32),
            "activation": CategoricalDistribution(("relu", "tanh", "logistic")),
            "alpha": FloatDistribution(1e-5, 1e2, log=True),
            "max_iter": _log_int(3, 80),
        },
        (1.0, 3.0),
    ),
}
