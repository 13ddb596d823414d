"""What is given with an enqueued trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Enqueued:
    """What was given with a trial when it was enqueued (`optuna.study.Study.enqueue_trial`).

    Parameters
    ----------
    fixed
        Parameters with given values, which the optimizer does not choose.
    user_attrs, system_attrs, intermediate_values
        What the trial already has.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)


#: The value for trials that nobody enqueued.
OWN = Enqueued()
