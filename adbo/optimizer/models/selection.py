"""The choice among models that were fitted to the same targets.

All models here are linear smoothers: their predictions are linear in the targets, so that their
leave-one-out errors need no refits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Fitted(Protocol):
    """A model with its leave-one-out error."""

    @property
    def error(self) -> float:
        """Mean squared error of the leave-one-out predictions."""


M = TypeVar("M", bound=Fitted)


def best_fit(models: Iterable[M]) -> M:
    """Return the model with the lowest leave-one-out error, the first if there are several."""
    return min(models, key=lambda model: model.error)
