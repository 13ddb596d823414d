"""The threads of the numerical libraries while the optimizer computes.

Its matrices are small: several threads for each of them cost more than they save, and most of all
where other ranks compute on the same processors.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

#: Held by the Python thread that has set the limit, which is that of the whole process.
_limiting = threading.Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit linear algebra to one thread until the end of the context.

    The libraries that are loaded at the first call are limited. While one Python thread is in the
    context, others may enter and leave it, but only the first one sets and ends the limit.
    """
    if not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        _limiting.release()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
