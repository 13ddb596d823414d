"""Reports of deaths: how much each survivor knows of the streams of the dead."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from adbo.comm.version_vectors import Versions

_REPORTED = np.dtype([("dead", "<i4"), ("known", "<i4")])


def make_report(dead: Sequence[int], known: Versions) -> bytes:
    """Return how much is known of the streams of the dead, as a frame."""
    report = np.empty(len(dead), dtype=_REPORTED)
    report["dead"], report["known"] = dead, known[list(dead)]
    return report.tobytes()


class DeathReports:
    """What the ranks have reported, this one among them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[int, NDArray[np.int64]] = {}  # of each of the dead, by each rank

    def note(self, by: int, report: bytes) -> None:
        """Note the report of a rank."""
        for dead, known in np.frombuffer(report, dtype=_REPORTED).tolist():
            unreported = np.full(self._size, -1, dtype=np.int64)
            self._known.setdefault(dead, unreported)[by] = known

    def nobody_knows_more(self, dead: int, known: int, living: Collection[int]) -> bool:
        """Return whether all living ranks have reported a death, and know no more than this."""
        reported = self._known[dead][list(living)]
        return bool((reported >= 0).all()) and known >= reported.max()
