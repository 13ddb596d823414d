"""A process that user code ends, by `os._exit` or by C's ``exit``: an error, not a success.

Fortran's ``STOP``, for example, calls ``exit(0)``. A launcher would take that for a good end, and
end the other ranks with status 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

#: The exit status of a process that ended in user code.
_FAILED = 1

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

#: What messages say of the code that has ended a process.
ENDED_BY = "has ended it by os._exit, exit in C or STOP in Fortran"

#: `os._exit` itself.
_exit = os._exit

#: The guards that watch, the innermost last.
_watching: list[ExitGuard] = []


class ExitGuard:
    """Ends this process with a message and status 1 if user code ends it.

    Parameters
    ----------
    complaint
        Returns the message while user code runs, and None at other times.
    """

    def __init__(self, complaint: Callable[[], str | None]) -> None:
        self._complaint = complaint
        self._pid = os.getpid()
        self._libc: ctypes.CDLL | None = None
        self._handler = _Handler(self._at_c_exit)
        # Its address tells our handler from those of others.
        self._key = ctypes.create_string_buffer(1)

    def install(self) -> None:
        """Watch from now on."""
        _watching.append(self)
        os._exit = _at_python_exit
        if _can_unregister():
            self._libc = ctypes.CDLL(None)
            # See "Linux Standard Base Core Specification", __cxa_atexit and __cxa_finalize.
            register = getattr(self._libc, "__cxa_atexit")
            register(self._handler, None, ctypes.byref(self._key))

    def remove(self) -> None:
        """Watch no longer."""
        _watching.remove(self)
        if not _watching:
            os._exit = _exit
        if self._libc is not None:
            # Calls the handler and forgets it; C's exit must not call it without an interpreter.
            getattr(self._libc, "__cxa_finalize")(ctypes.byref(self._key))

    def runs(self, frame: FrameType | None) -> bool:
        """Return whether a frame, from which a signal is handled, is that of C's exit."""
        return frame is not None and frame.f_code in _CODES

    def _at_c_exit(self, _: object) -> None:
        self.complain()

    def complain(self) -> None:
        """End the process if user code is what ends it."""
        watches = self in _watching and os.getpid() == self._pid
        text = self._complaint() if watches else None
        # In adbo's threads it is MPI that calls exit, when another rank has ended the job.
        if text is None or threading.current_thread().name.startswith("adbo-"):
            return
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.write(2, f"adbo: {text}\n".encode(errors="replace"))
        _exit(_FAILED)


@contextlib.contextmanager
def exit_forbidden(text: str) -> Iterator[None]:
    """End this process with a message and status 1 if the code in this context ends it."""
    guard = ExitGuard(lambda: text)
    guard.install()
    try:
        yield
    finally:
        guard.remove()


def _at_python_exit(status: int) -> NoReturn:
    """Replace `os._exit`, also for code that has imported it while a guard watched."""
    for guard in reversed(_watching):
        guard.complain()
    _exit(status)


_CODES = (ExitGuard._at_c_exit.__code__, ExitGuard.complain.__code__)


def _can_unregister() -> bool:
    """Return whether the C library forgets handlers: musl's ``__cxa_finalize`` does nothing."""
    if sys.platform == "darwin":
        return True
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (OSError, ValueError):
        return False
