"""Tuning tasks: tables of real trainings, and scikit-learn models that are trained when asked for.

The regret of a table is the distance to its best entry. That of a model is its loss, since its
optimum is not known. A case has no noise, and no evaluation fails.
"""

from __future__ import annotations

import tuning_models
import tuning_tables
from cases import Case

from adbo.core.errors import UsageError

NAMES = (*tuning_tables.TABLES, *tuning_models.TASKS)


def make_case(name: str, seed: int) -> Case:
    """Return a task; the seed chooses the data and the folds of a model, and nothing of a table.

    Raises
    ------
    UsageError
        If there is no task of that name.
    """
    if name in tuning_tables.TABLES:
        return tuning_tables.make_case(name)
    if name in tuning_models.TASKS:
        return tuning_models.make_case(name, seed)
    raise UsageError(f"problem is {name!r}: must be one of {', '.join(NAMES)}")
