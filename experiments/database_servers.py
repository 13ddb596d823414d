"""Database servers for experiments: those of the tests, from Debian's packages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"


def start(kind: str) -> Any:
    """Start a ``postgresql`` or ``mariadb`` server; return it as a context manager that ends it.

    Its method `new_database` returns the URL of an empty database. It does not wait until data
    are on the disk (``fsync=off``, or the like).
    """
    sys.path[:0] = [str(TESTS), str(TESTS / "contract")]
    try:
        import servers
    finally:
        del sys.path[:2]
    return getattr(servers, kind)()
