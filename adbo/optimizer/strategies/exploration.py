"""Exploration: uniform points, whatever is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer.regions import Region
from adbo.optimizer.view import View

#: Points that are returned: more than one, because some may be known.
_N_POINTS = 64


@dataclass(frozen=True)
class Exploration:
    """Uniform points of the whole space; all points of a small one, in a random order."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        geometry = view.geometry
        if geometry.all_points is not None:
            return rng.permutation(geometry.all_points())
        return geometry.snap(rng.random((_N_POINTS, len(geometry.levels))))
