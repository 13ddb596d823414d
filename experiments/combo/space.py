"""The 22 parameters of Combo, under their names in the study of Egele et al."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

ACTIVATIONS = (
    "elu", "gelu", "hard_sigmoid", "linear", "relu", "selu", "sigmoid", "softplus", "softsign",
    "swish", "tanh",
)  # fmt: skip
OPTIMIZERS = ("sgd", "rmsprop", "adagrad", "adadelta", "adam")
LOSSES = ("mse", "mae", "logcosh", "mape", "msle", "huber")
SCALINGS = ("std", "minmax", "maxabs")

#: Numbers of units, which the network divides by `combo.network.WIDTH_DIVISOR`.
_WIDTHS = (
    "dense_0", "dense_1", "dense_2",
    "dense_feature_layer_0", "dense_feature_layer_1", "dense_feature_layer_2",
)  # fmt: skip

SPACE: Mapping[str, BaseDistribution] = {
    **{name: IntDistribution(10, 1024, log=True) for name in _WIDTHS},
    "activation": CategoricalDistribution(ACTIVATIONS),
    "optimizer": CategoricalDistribution(OPTIMIZERS),
    "dropout": FloatDistribution(0.0, 0.5),
    "batch_size": IntDistribution(8, 512, log=True),
    "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "base_lr": FloatDistribution(1e-5, 1e-2, log=True),
    "residual": CategoricalDistribution((False, True)),
    "early_stopping": CategoricalDistribution((False, True)),
    "early_stopping_patience": IntDistribution(5, 20),
    "reduce_lr": CategoricalDistribution((False, True)),
    "reduce_lr_factor": FloatDistribution(0.1, 1.0),
    "reduce_lr_patience": IntDistribution(5, 20),
    "warmup_lr": CategoricalDistribution((False, True)),
    "batch_normalization": CategoricalDistribution((False, True)),
    "loss": CategoricalDistribution(LOSSES),
    "scaling": CategoricalDistribution(SCALINGS),
}

DEFAULT: Mapping[str, Any] = {
    **dict.fromkeys(_WIDTHS, 1000),
    "activation": "relu",
    "optimizer": "sgd",
    "dropout": 0.0,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "base_lr": 1e-3,
    "residual": False,
    "early_stopping": False,
    "early_stopping_patience": 5,
    "reduce_lr": False,
    "reduce_lr_factor": 0.5,
    "reduce_lr_patience": 5,
    "warmup_lr": False,
    "batch_normalization": False,
    "loss": "mse",
    "scaling": "std",
}


def suggest(trial: BaseTrial) -> dict[str, Any]:
    """Return all parameters of a trial, in the order of `SPACE`."""
    return {name: _suggest(trial, name, d) for name, d in SPACE.items()}


def _suggest(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
