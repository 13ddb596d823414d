"""Ten scikit-learn models on small data sets that come with scikit-learn.

The objective is 1 - accuracy of a classifier and 1 - R2 of a regression, of the predictions of
3-fold cross validation taken together. The best possible value is not known; the regret is the
loss itself. Accuracies on some hundred samples have few values: plateaus and ties are the rule.

The seed chooses the samples and the folds. The models have a fixed random state and one thread, so
that equal parameters have equal losses.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import Case, suggest
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial
from sklearn import datasets
from sklearn.base import is_classifier
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import ThreadpoolController

N_FOLDS = 3

#: The loss of a fit that diverges, and the bound of all losses. To predict the mean costs 1.
WORST = 10.0

#: Words in the messages of scikit-learn about weights that are too large for a float.
_DIVERGED = ("overflow", "non-finite")

#: Random state of synthetic data and of all models.
STATE = 0

Data = tuple[NDArray[np.float64], NDArray[Any]]

#: Returns the value of a parameter. A model asks for those that it has.
Ask = Callable[[str], Any]

_SCALERS: Mapping[str, Callable[[], Any]] = {
    "none": lambda: "passthrough",
    "standard": StandardScaler,
    "robust": RobustScaler,
    "range": MinMaxScaler,
    "quantile": lambda: QuantileTransformer(n_quantiles=50),
}


@dataclass(frozen=True)
class Task:
    """A model to tune.

    Parameters
    ----------
    data
        Returns features and labels or targets.
    size
        The number of samples that are used.
    model
        Returns an estimator.
    space
        All parameters, also those that not every model has.
    """

    data: Callable[[], Data]
    size: int
    model: Callable[[Ask], Any]
    space: Mapping[str, BaseDistribution]


def make_case(name: str, seed: int) -> Case:
    """Return a task of `TASKS` as a case."""
    task = TASKS[name]
    x, y = task.data()
    chosen = np.random.default_rng([seed, 2]).permutation(len(y))[: task.size]
    x, y = x[chosen], y[chosen]

    def regret(trial: BaseTrial) -> float:
        model = task.model(lambda name: suggest(trial, name, task.space[name]))
        return loss(model, x, y, seed)

    return Case(task.space, regret)


def loss(model: Any, x: NDArray[np.float64], y: NDArray[Any], seed: int) -> float:
    """Return the loss of cross validation, from 0 to `WORST`.

    Parameters
    ----------
    model
        A classifier or a regression of scikit-learn.
    x, y
        Features (n, d) and labels or targets (n,).
    seed
        Chooses the folds.
    """
    split, score = (StratifiedKFold, accuracy_score) if is_classifier(model) else (KFold, r2_score)
    predicted = np.empty_like(y)
    with warnings.catch_warnings(), threads().limit(limits=1):
        warnings.simplefilter("ignore")  # of fits that end before they converge
        for train, test in split(N_FOLDS, shuffle=True, random_state=seed).split(x, y):
            try:
                predicted[test] = model.fit(x[train], y[train]).predict(x[test])
            except ValueError as error:
                if not any(word in str(error) for word in _DIVERGED):
                    raise
                return WORST
        return min(1 - float(score(y, predicted)), WORST)


@functools.cache
def threads() -> ThreadpoolController:
    """Return the control of the threads of numerical libraries, whose number changes results."""
    return ThreadpoolController()


def _support_vectors(ask: Ask) -> Any:
    kernel = ask("kernel")
    options = {} if kernel == "linear" else {"gamma": ask("gamma")}
    if kernel == "poly":
        options["degree"] = ask("degree")
    if kernel in ("poly", "sigmoid"):
        options["coef0"] = ask("coef0")
    return make_pipeline(
        StandardScaler(), SVC(kernel=kernel, C=ask("C"), max_iter=3000, **options)
    )


def _random_forest(ask: Ask) -> Any:
    options = {"max_samples": ask("max_samples")} if ask("bootstrap") else {"bootstrap": False}
    return RandomForestClassifier(
        n_estimators=ask("n_estimators"),
        criterion=ask("criterion"),
        max_depth=ask("max_depth"),
        max_features=ask("max_features"),
        min_samples_leaf=ask("min_samples_leaf"),
        random_state=STATE,
        **options,
    )


def _gradient_boosting(ask: Ask) -> Any:
    return HistGradientBoostingRegressor(
        loss=ask("loss"),
        learning_rate=ask("learning_rate"),
        max_iter=ask("max_iter"),
        max_leaf_nodes=ask("max_leaf_nodes"),
        min_samples_leaf=ask("min_samples_leaf"),
        l2_regularization=ask("l2_regularization"),
        max_bins=ask("max_bins"),
        early_stopping=False,
        random_state=STATE,
    )


def _perceptron(ask: Ask) -> Any:
    solver = ask("solver")
    options = {} if solver == "lbfgs" else {"learning_rate_init": ask("learning_rate")}
    if solver != "lbfgs":
        options["batch_size"] = ask("batch_size")
    if solver == "sgd":
        options["momentum"] = ask("momentum")
    return MLPClassifier(
        hidden_layer_sizes=tuple(ask(f"units{i}") for i in range(ask("layers"))),
        activation=ask("activation"),
        solver=solver,
        alpha=ask("alpha"),
        max_iter=12,
        random_state=STATE,
        **options,
    )


def _neighbours(ask: Ask) -> Any:
    metric = ask("metric")
    options = {"p": ask("p")} if metric == "minkowski" else {}
    return make_pipeline(
        _SCALERS[ask("scaler")](),
        KNeighborsClassifier(ask("n_neighbors"), weights=ask("weights"), metric=metric, **options),
    )


def _stochastic_gradient(ask: Ask) -> Any:
    penalty, schedule = ask("penalty"), ask("schedule")
    options = {"l1_ratio": ask("l1_ratio")} if penalty == "elasticnet" else {}
    if schedule != "optimal":
        options["eta0"] = ask("eta0")
    if schedule == "invscaling":
        options["power_t"] = ask("power_t")
    return make_pipeline(
        StandardScaler(),
        SGDClassifier(
            loss=ask("loss"),
            penalty=penalty,
            alpha=ask("alpha"),
            learning_rate=schedule,
            average=ask("average"),
            max_iter=ask("epochs"),
            tol=None,
            random_state=STATE,
            **options,
        ),
    )


def _logistic_regression(ask: Ask) -> Any:
    weights = ask("class_weight")
    return make_pipeline(
        PolynomialFeatures(ask("degree"), interaction_only=ask("interaction_only")),
        _SCALERS[ask("scaler")](),
        LogisticRegression(
            C=ask("C"),
            solver=ask("solver"),
            tol=ask("tol"),
            fit_intercept=ask("fit_intercept"),
            class_weight=None if weights == "none" else weights,
            max_iter=50,
            random_state=STATE,
        ),
    )


def _extra_trees(ask: Ask) -> Any:
    return ExtraTreesRegressor(
        n_estimators=ask("n_estimators"),
        max_depth=ask("max_depth"),
        max_features=ask("max_features"),
        min_samples_leaf=ask("min_samples_leaf"),
        min_samples_split=ask("min_samples_split"),
        ccp_alpha=ask("ccp_alpha"),
        bootstrap=ask("bootstrap"),
        random_state=STATE,
    )


def _kernel_ridge(ask: Ask) -> Any:
    kernel = ask("kernel")
    options = {} if kernel == "linear" else {"gamma": ask("gamma")}
    if kernel == "polynomial":
        options["degree"] = ask("degree")
    if kernel in ("polynomial", "sigmoid"):
        options["coef0"] = ask("coef0")
    return make_pipeline(
        _SCALERS[ask("scaler")](), KernelRidge(alpha=ask("alpha"), kernel=kernel, **options)
    )


def _pipeline(ask: Ask) -> Any:
    return make_pipeline(
        _SCALERS[ask("scaler")](), _REDUCERS[ask("reducer")](ask), _MODELS[ask("model")](ask)
    )


_REDUCERS: Mapping[str, Callable[[Ask], Any]] = {
    "none": lambda ask: "passthrough",
    "pca": lambda ask: PCA(ask("components"), whiten=ask("whiten"), random_state=STATE),
    "select": lambda ask: SelectKBest(f_classif, k=ask("features")),
}

_MODELS: Mapping[str, Callable[[Ask], Any]] = {
    "neighbours": lambda ask: KNeighborsClassifier(ask("n_neighbors"), weights=ask("weights")),
    "tree": lambda ask: DecisionTreeClassifier(
        max_depth=ask("max_depth"), min_samples_leaf=ask("min_samples_leaf"), random_state=STATE
    ),
    "support_vectors": lambda ask: SVC(C=ask("C"), gamma=ask("gamma"), max_iter=3000),
    "bayes": lambda ask: GaussianNB(var_smoothing=ask("smoothing")),
}


def _sepals() -> Data:
    """Return iris with the two sepal features alone, which do not separate the species."""
    x, y = datasets.load_iris(return_X_y=True)
    return x[:, :2], y


def _linear(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high)


def _log(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)


def _choice(*choices: str | bool) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


def _log_int(low: int, high: int) -> IntDistribution:
    return IntDistribution(low, high, log=True)


_FLAG = _choice(False, True)

TASKS: Mapping[str, Task] = {
    "support_vectors": Task(
        lambda: datasets.load_digits(return_X_y=True),
        240,
        _support_vectors,
        {
            "kernel": _choice("linear", "poly", "rbf", "sigmoid"),
            "C": _log(1e-3, 1e3),
            "gamma": _log(1e-5, 1),
            "degree": IntDistribution(2, 5),
            "coef0": _linear(-1, 1),
        },
    ),
    "random_forest": Task(
        lambda: datasets.load_digits(return_X_y=True),
        180,
        _random_forest,
        {
            "n_estimators": _log_int(1, 12),
            "criterion": _choice("gini", "entropy"),
            "max_depth": IntDistribution(1, 15),
            "max_features": _linear(0.02, 1),
            "min_samples_leaf": _log_int(1, 20),
            "bootstrap": _FLAG,
            "max_samples": _linear(0.2, 1),
        },
    ),
    "gradient_boosting": Task(
        lambda: datasets.make_friedman1(600, noise=1, random_state=STATE),
        240,
        _gradient_boosting,
        {
            "loss": _choice("squared_error", "absolute_error"),
            "learning_rate": _log(0.01, 1),
            "max_iter": _log_int(2, 20),
            "max_leaf_nodes": _log_int(2, 31),
            "min_samples_leaf": _log_int(1, 50),
            "l2_regularization": _log(1e-4, 1e2),
            "max_bins": _log_int(4, 255),
        },
    ),
    "perceptron": Task(
        lambda: datasets.make_moons(600, noise=0.25, random_state=STATE),
        150,
        _perceptron,
        {
            "layers": IntDistribution(1, 3),
            "units0": _log_int(2, 64),
            "units1": _log_int(2, 64),
            "units2": _log_int(2, 64),
            "activation": _choice("relu", "tanh", "logistic"),
            "solver": _choice("adam", "sgd", "lbfgs"),
            "learning_rate": _log(1e-4, 0.3),
            "batch_size": _log_int(16, 100),
            "momentum": _linear(0, 0.98),
            "alpha": _log(1e-7, 10),
        },
    ),
    "neighbours": Task(
        lambda: datasets.load_wine(return_X_y=True),
        168,
        _neighbours,
        {
            "scaler": _choice(*_SCALERS),
            "n_neighbors": _log_int(1, 60),
            "weights": _choice("uniform", "distance"),
            "metric": _choice("minkowski", "chebyshev", "cosine", "canberra"),
            "p": _linear(1, 4),
        },
    ),
    "stochastic_gradient": Task(
        lambda: datasets.load_breast_cancer(return_X_y=True),
        300,
        _stochastic_gradient,
        {
            "loss": _choice("hinge", "log_loss", "modified_huber"),
            "penalty": _choice("l2", "l1", "elasticnet"),
            "l1_ratio": _linear(0, 1),
            "alpha": _log(1e-7, 1),
            "schedule": _choice("optimal", "constant", "invscaling", "adaptive"),
            "eta0": _log(1e-5, 1),
            "power_t": _linear(0, 1),
            "average": _FLAG,
            "epochs": _log_int(1, 30),
        },
    ),
    "logistic_regression": Task(
        _sepals,
        150,
        _logistic_regression,
        {
            "degree": IntDistribution(1, 4),
            "interaction_only": _FLAG,
            "scaler": _choice(*_SCALERS),
            "C": _log(1e-4, 1e4),
            "solver": _choice("lbfgs", "newton-cg", "sag"),
            "tol": _log(1e-6, 1e-1),
            "fit_intercept": _FLAG,
            "class_weight": _choice("none", "balanced"),
        },
    ),
    "extra_trees": Task(
        lambda: datasets.load_diabetes(return_X_y=True),
        240,
        _extra_trees,
        {
            "n_estimators": _log_int(1, 12),
            "max_depth": IntDistribution(1, 15),
            "max_features": _linear(0.05, 1),
            "min_samples_leaf": _log_int(1, 40),
            "min_samples_split": _log_int(2, 40),
            "ccp_alpha": _log(1e-2, 1e3),
            "bootstrap": _FLAG,
        },
    ),
    "kernel_ridge": Task(
        lambda: datasets.make_friedman2(600, noise=100, random_state=STATE),
        180,
        _kernel_ridge,
        {
            "scaler": _choice(*_SCALERS),
            "kernel": _choice("linear", "rbf", "laplacian", "polynomial", "sigmoid"),
            "alpha": _log(1e-5, 1e2),
            "gamma": _log(1e-4, 10),
            "degree": IntDistribution(2, 5),
            "coef0": _linear(-1, 2),
        },
    ),
    "pipeline": Task(
        lambda: datasets.load_breast_cancer(return_X_y=True),
        240,
        _pipeline,
        {
            "scaler": _choice(*_SCALERS),
            "reducer": _choice(*_REDUCERS),
            "components": IntDistribution(1, 30),
            "whiten": _FLAG,
            "features": IntDistribution(1, 30),
            "model": _choice(*_MODELS),
            "n_neighbors": _log_int(1, 60),
            "weights": _choice("uniform", "distance"),
            "max_depth": IntDistribution(1, 15),
            "min_samples_leaf": _log_int(1, 40),
            "C": _log(1e-3, 1e3),
            "gamma": _log(1e-5, 10),
            "smoothing": _log(1e-12, 1),
        },
    ),
}
