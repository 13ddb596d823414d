"""Leaving code that catches whatever is raised: raise again at each line that it goes on with."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

_OFF = object()


class Unwinding:
    """A trace function that raises an exception in frames of user code.

    Parameters
    ----------
    error
        The exception.
    base
        The code of the function that calls the user's.
    """

    def __init__(self, error: type[BaseException], base: CodeType) -> None:
        self._error = error
        self._base = base
        #: What traced this thread before, such as a debugger or a measurement of coverage.
        self._previous: Any = _OFF

    def covers(self, frame: FrameType | None) -> bool:
        """Return whether the base, or what it has called, runs this frame."""
        return self._base in (f.f_code for f in _outwards(frame))

    def arm(self, frame: FrameType | None) -> None:
        """Raise at the next line of the frames from this one to the base, whichever runs first.

        Frames of adbo itself are left out, since they let the exception pass.

        Python removes a trace function that raises; so each call of this method is good for one
        exception, beside the one that its caller raises.
        """
        if self._previous is _OFF:
            self._previous = sys.gettrace()
        for user_frame in _outwards(frame):
            if user_frame.f_code is self._base:
                break
            if not user_frame.f_globals.get("__name__", "").startswith("adbo."):
                user_frame.f_trace = self._trace
                user_frame.f_trace_lines = True
        sys.settrace(_ignore_new_frames)

    def disarm(self) -> None:
        """Trace as before."""
        if self._previous is not _OFF:
            sys.settrace(self._previous)
            self._previous = _OFF

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            raise self._error
        return self._trace


def _ignore_new_frames(frame: FrameType, event: str, argument: object) -> None:
    """Do nothing: while there is a trace function, frames that have one of their own use it."""


def _outwards(frame: FrameType | None) -> Any:
    while frame is not None:
        yield frame
        frame = frame.f_back
