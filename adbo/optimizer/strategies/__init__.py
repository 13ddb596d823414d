"""The strategies of an ask: a new one is a module here, a line below, and a name in `origins`."""

from __future__ import annotations

from collections.abc import Mapping

from adbo.optimizer.strategies.additive import Additive
from adbo.optimizer.strategies.exploration import Exploration
from adbo.optimizer.strategies.forest import Forest
from adbo.optimizer.strategies.gaussian import Gaussian
from adbo.optimizer.strategies.local import Local
from adbo.optimizer.strategies.protocol import Strategy
from adbo.optimizer.strategies.quadratic import Quadratic

#: By the names in `adbo.core.origins.STRATEGIES`.
DEFAULT_STRATEGIES: Mapping[str, Strategy] = {
    "exploration": Exploration(),
    "forest": Forest(),
    "gaussian": Gaussian(),
    "local": Local(),
    "quadratic": Quadratic(),
    "additive": Additive(),
}

#: Strategies that model the whole space, and work in no region.
GLOBAL = ("exploration", "additive")
