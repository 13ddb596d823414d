"""What somebody prescribed for a trial that they enqueued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Enqueued:
    """What an enqueued trial has before it is evaluated.

    Parameters
    ----------
    fixed
        Name to value of the parameters that the optimizer must not choose.
    user_attrs, system_attrs, intermediate_values
        What the trial carries already.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)


#: The value for a trial of the optimizer, for which nothing is prescribed.
OWN = Enqueued()
