"""What the caller of a run does and says at some moments of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from adbo.core.summary import Summary
from adbo.interruption.stopping import ENDED_BY_OBJECTIVE


@dataclass(frozen=True)
class Hooks:
    """What the caller of a run does and says at some moments of it, on each rank.

    Parameters
    ----------
    opening
        Returns the context in which the study is opened, before any signal is recorded.
    begin
        Called when the time limit of the run begins to count.
    error
        Called on a rank that fails by a bug, before the whole job is aborted.
    ended_by
        See `Interruption`.
    """

    opening: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    begin: Callable[[], None] = lambda: None
    error: Callable[[Summary], None] = lambda summary: None
    ended_by: str = ENDED_BY_OBJECTIVE


NO_HOOKS = Hooks()
