"""The methods that `compare.py` compares, by name.

Asynchronous are random search, the samplers of Optuna, NGOpt, SMAC, DeepHyper and adbo: a worker
that is idle asks at once. TuRBO, pycma and HEBO are synchronous, in batches of one point for each
worker. COBYQA and lq-CMA-ES are sequential: they have one worker only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

import minimizers
import optuna
from searchers import Adbo, DeepHyper, Nevergrad, Optuna, Smac
from versions import METHOD_VERSION
from virtual_clock import Run, Searcher, Space, asynchronously, in_unit_cube


@dataclass(frozen=True)
class Method:
    """A method to compare.

    Parameters
    ----------
    run
        Makes all evaluations of a run.
    package
        Name of the distribution that implements it, whose version is that of the results.
    modules
        What must be installed beside the requirements of adbo.
    sequential
        Whether it can only have one worker.
    """

    run: Run
    package: str = "adbo"
    modules: tuple[str, ...] = ()
    sequential: bool = False

    @property
    def version(self) -> str:
        """Which version the results of this method are of."""
        if self.package == "adbo":
            return METHOD_VERSION
        return f"{self.package} {metadata.version(self.package)}"

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


def _searcher(make: Callable[[Space, int], Searcher]) -> Run:
    return asynchronously(lambda space, seed, budget: make(space, seed))


def _sampler(make: Callable[[int], optuna.samplers.BaseSampler], *modules: str) -> Method:
    return Method(_searcher(lambda space, seed: Optuna(make(seed))), "optuna", modules)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    # The defaults of Optuna 5, and groups, which matter in conditional spaces only.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _cma(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)


METHODS: Mapping[str, Method] = {
    "adbo": Method(_searcher(Adbo)),
    "random": _sampler(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "tpe": _sampler(_tpe),
    "cma": _sampler(_cma, "cmaes"),
    "gp": _sampler(_gp, "torch"),
    "turbo": Method(in_unit_cube(minimizers.turbo), "turbo", ("turbo", "gpytorch")),
    "pycma": Method(in_unit_cube(minimizers.pycma), "cma", ("cma",)),
    "ngopt": Method(asynchronously(Nevergrad), "nevergrad", ("nevergrad",)),
    "smac": Method(asynchronously(Smac), "smac", ("smac",)),
    "hebo": Method(in_unit_cube(minimizers.hebo), "HEBO", ("hebo",)),
    "cobyqa": Method(in_unit_cube(minimizers.cobyqa), "scipy", sequential=True),
    "lq-cma": Method(in_unit_cube(minimizers.lq_cma), "cma", ("cma",), sequential=True),
    "deephyper": Method(_searcher(DeepHyper), "deephyper", ("deephyper",)),
    "deephyper-forest": Method(
        _searcher(
            lambda space, seed: DeepHyper(
                space, seed, surrogate_model="RF", acq_func="UCBd", acq_optimizer="sampling"
            )
        ),
        "deephyper",
        ("deephyper",),
    ),
}
