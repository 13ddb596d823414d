"""What the caller of a run does at some moments of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from adbo.core.summary import Summary


@dataclass(frozen=True)
class Hooks:
    """What the caller of a run does at some moments of it, on each rank.

    Parameters
    ----------
    opening
        Returns the context in which the study is opened, before any signal is recorded.
    begin
        Called when the time limit of the run begins to count.
    error
        Called on a rank that fails by a bug, before the whole job is aborted.
    """

    opening: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    begin: Callable[[], None] = lambda: None
    error: Callable[[Summary], None] = lambda summary: None


NO_HOOKS = Hooks()
