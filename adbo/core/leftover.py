"""What a rank has for the study at its end that none of its trials carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Leftover(NamedTuple):
    """What is left; all of it can be written as JSON."""

    study_attrs: Mapping[str, Mapping[str, Any]]
    """What callbacks set, as in `adbo.core.optuna_trials.STUDY_ATTRS`."""
    enqueued: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    """Parameters and user attributes of trials that an objective enqueued for later."""
    n_dropped: int
    """Further such trials, which are too many."""
