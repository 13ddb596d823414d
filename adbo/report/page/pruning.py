"""What pruning saved, estimated from the trials that were pruned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from optuna.trial import TrialState

from adbo.report.page.columns import Columns


@dataclass(frozen=True)
class Savings:
    """What pruning saved.

    Parameters
    ----------
    n_pruned, n_complete
        Numbers of trials with intermediate values.
    usual_steps
        The median last step of complete trials.
    pruned_steps
        The median last step of pruned trials.
    seconds
        Estimate of the saved seconds of evaluations: what the pruned trials would have taken
        beyond what they took, if each had taken the median time of a complete one.
    fraction
        The saved seconds as a fraction of the time that all trials would have taken without
        pruning.
    """

    n_pruned: int
    n_complete: int
    usual_steps: float
    pruned_steps: float
    seconds: float
    fraction: float


def savings_of(columns: Columns) -> Savings | None:
    """Return what pruning saved; None unless there are pruned and complete trials with steps."""
    has_steps = np.isfinite(columns.last_step)
    pruned = columns.state == TrialState.PRUNED.value
    complete = columns.state == TrialState.COMPLETE.value
    if not (pruned & has_steps).any() or not (complete & has_steps).any():
        return None
    seconds = columns.finished - columns.started
    usual = np.nanmedian(seconds[complete & has_steps])
    taken = seconds[pruned]
    saved = float(np.nansum(np.maximum(usual - taken, 0.0)))
    total = float(np.nansum(seconds)) + saved
    return Savings(
        n_pruned=int((pruned & has_steps).sum()),
        n_complete=int((complete & has_steps).sum()),
        usual_steps=float(np.median(columns.last_step[complete & has_steps])),
        pruned_steps=float(np.median(columns.last_step[pruned & has_steps])),
        seconds=saved,
        fraction=saved / total if total > 0 else 0.0,
    )
