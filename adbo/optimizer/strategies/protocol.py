"""What a strategy is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer.regions import Region
from adbo.optimizer.view import View


class Strategy(Protocol):
    """A way to propose points. Its fields are its tunables."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points of the unit cube, the preferred one first.

        Parameters
        ----------
        view
            What the ask sees of the history.
        region
            Where it works: its rows, and how far points may be from its centre.
        rng
            Source of all choices. Ranks that know the same evaluations propose different points
            because each has its own.

        Returns
        -------
        FloatArray
            ``(N, d)``, snapped to values that the parameters can take. More than one, because some
            may be known; none, if the strategy has nothing to say here.
        """
