"""The threads of the numerical libraries while the optimizer computes.

Its matrices are small: several threads for each of them cost more than they save, and most of all
where other ranks compute on the same processors.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController


class OneThread:
    """Limits the libraries of linear algebra to one thread while somebody is within `limited`.

    The limit holds for the whole process; so the first of several threads sets it, and the last
    one takes it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._controller: ThreadpoolController | None = None
        self._limit: Any = None

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Limit the libraries that were loaded at the first call until the end of the context."""
        with self._lock:
            if self._controller is None:
                self._controller = ThreadpoolController().select(user_api="blas")
            self._n_inside += 1
            if self._n_inside == 1:
                self._limit = self._controller.limit(limits=1)
        try:
            yield
        finally:
            with self._lock:
                self._n_inside -= 1
                if self._n_inside == 0:
                    self._limit.restore_original_limits()


#: The libraries of this process.
BLAS = OneThread()
