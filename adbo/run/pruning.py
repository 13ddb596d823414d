"""The pruner of a rank, from the settings of the run."""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner

from adbo.core.history import History
from adbo.core.rungs import Halving, Report, Rungs
from adbo.core.settings import HALVING, Settings
from adbo.objective.halving import HalvingPruner


def make_pruner(
    settings: Settings, history: History, publish: Callable[[Report], None]
) -> BasePruner | None:
    """Return the pruner that the settings name, or the pruner of Optuna that they hold.

    Parameters
    ----------
    settings
        The choices of the run.
    history
        What the rank knows.
    publish
        Sends the report of a running trial to the other ranks.

    Returns
    -------
    BasePruner or None
        None for no pruning.
    """
    if settings.pruner == HALVING:
        halving = Halving(settings.reduction_factor, settings.min_resource)
        return HalvingPruner(Rungs(halving, history), publish)
    return None if isinstance(settings.pruner, str) else settings.pruner
