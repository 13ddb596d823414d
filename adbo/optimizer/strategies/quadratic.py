"""The minimum of a quadratic of a region's first rows.

A quadratic of a few rows averages over the small local minima of a basin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer import local_search
from adbo.optimizer.candidates import log_uniform
from adbo.optimizer.models.quadratic import fit_quadratic, most_coefficients
from adbo.optimizer.models.targets import plain_targets
from adbo.optimizer.regions import Region
from adbo.optimizer.view import Range, View


@dataclass(frozen=True)
class Quadratic:
    """Minimization of a quadratic with all terms, or without mixed ones if rows are few."""

    rows: Range = (1.2, 3.0)
    """The rows, log-uniform: at least so many for each coefficient of a quadratic without mixed
    terms, at most so many for each coefficient of the largest."""
    most_coefficients: int = 55
    """A quadratic has mixed terms if these are not more; time grows with the square."""
    reach_exponents: Range = (0.0, 0.6)
    """Range of U in the distance 10^U from the mean within which the minimum is sought, in spreads
    of the rows."""
    step_exponents: Range = (-5.0, -0.3)
    """Range of U in the distance 10^U of points from the minimum, in spreads."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        d = int(view.geometry.smooth.sum())
        least = self.rows[0] * (1 + 2 * d)
        if not d or len(region.X) < least:
            return region.X[:0]
        most = self.rows[1] * most_coefficients(d, self.most_coefficients)
        m = log_uniform(least, most, rng)
        X, y = region.X[:m], plain_targets(region.cost[:m])
        reach = 10.0 ** rng.uniform(*self.reach_exponents)
        longest = reach / 2

        def minimize(z: FloatArray, feasible: local_search.Feasible) -> FloatArray:
            model = fit_quadratic(z, y, self.most_coefficients)
            lowest = model.minimizer(reach)[None, :]
            projected = feasible.project(lowest)
            if (projected != lowest).any():
                return local_search.search(model.predict, projected, feasible, longest, rng)
            if feasible.allows and not feasible.allows(lowest[0]):
                return local_search.search(model.predict, z, feasible, longest, rng)
            length = 10.0 ** rng.uniform(*self.step_exponents, size=(local_search.N_POINTS, 1))
            return lowest + length * rng.standard_normal((len(length), z.shape[1]))

        return local_search.minimize_locally(X, y, view.geometry, rng, minimize, region.reach)
