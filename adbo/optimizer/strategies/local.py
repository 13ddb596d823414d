"""The minimum of radial basis functions of a region's rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.history import ELITES
from adbo.core.space import FloatArray
from adbo.optimizer import local_search
from adbo.optimizer.candidates import log_uniform
from adbo.optimizer.composition import Composition
from adbo.optimizer.models.rbf import fit_rbf, fit_several_rbfs
from adbo.optimizer.models.targets import draw_targets, plain_targets
from adbo.optimizer.regions import Region
from adbo.optimizer.view import Range, View


@dataclass(frozen=True)
class Local:
    """Minimization of radial basis functions, which follow curved valleys."""

    rows_per_coefficient: float = 2.0
    """Lower limit of the rows, whose number is log-uniform, for each of the 1 + d linear
    coefficients."""
    smoothing_exponents: Range = (-4.0, 0.5)
    """Range of U in the ridge 10^U of the smoothed functions, for each row."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        d = int(view.geometry.smooth.sum())
        least = self.rows_per_coefficient * (d + 1)
        if not d or len(region.X) < least:
            return region.X[:0]
        m = log_uniform(least, max(least, ELITES), rng)
        X, cost = region.X[:m], region.cost[:m]
        smoothing = 10.0 ** rng.uniform(*self.smoothing_exponents)
        longest = local_search.draw_longest(view, rng)
        composition = None
        if region.parts is None:
            y = draw_targets(cost, rng)
        else:
            y = plain_targets(cost)
            composition = Composition(region.parts[:m], is_scaled=rng.random() < 0.5)

        def fit(z: FloatArray, y: FloatArray) -> local_search.Predict:
            if composition is None:
                return fit_rbf(z, y, smoothing).predict
            models = fit_several_rbfs(z, composition.targets, smoothing)
            return composition.predictor(models.predict)

        def minimize(z: FloatArray, feasible: local_search.Feasible) -> FloatArray:
            return local_search.search(fit(z, y), z, feasible, longest, rng)

        return local_search.minimize_locally(X, y, view.geometry, rng, minimize, region.reach)
