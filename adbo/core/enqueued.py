"""A trial that somebody enqueued: what it has from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Enqueued:
    """What a trial has from whoever enqueued it.

    Parameters
    ----------
    fixed
        Parameters that are not for the optimizer to choose.
    user_attrs, system_attrs, intermediate_values
        What it carries already.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)


#: Most trials are the optimizer's own.
OWN = Enqueued()
