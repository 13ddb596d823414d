"""The values that a trial reported, in little memory: two arrays instead of a dictionary.

A rank keeps those of all trials that it knows. As bytes, regular steps (such as 0, 1, 2, ...) take
16 bytes in all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

#: The largest step that fits.
MAX_STEP = 2**63 - 1

#: The number of reports, and whether their steps are regular.
_HEADER = struct.Struct("<I?")


class IntermediateValues(Mapping[int, float]):
    """A mapping of step to reported value, in the order of the reports.

    Parameters
    ----------
    steps
        Different integers ``(n,)``.
    reported
        The value at each step ``(n,)``; NaN and infinities allowed.
    """

    __slots__ = ("reported", "steps")

    def __init__(self, steps: NDArray[np.int64], reported: NDArray[np.float64]) -> None:
        self.steps = steps
        self.reported = reported

    @classmethod
    def of(cls, values: Mapping[int, float]) -> IntermediateValues:
        """Return the values of any mapping; OverflowError if a step exceeds `MAX_STEP`."""
        return cls(np.array(list(values), dtype="<i8"), np.array([*values.values()], dtype="<f8"))

    def __getitem__(self, step: int) -> float:
        found = np.flatnonzero(self.steps == step)
        if not found.size:
            raise KeyError(step)
        return float(self.reported[found[0]])

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps.tolist())

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def items(self) -> zip[tuple[int, float]]:  # type: ignore[override]
        """Return the pairs of step and value; faster than to look up each step."""
        return zip(self.steps.tolist(), self.reported.tolist(), strict=True)

    def values(self) -> list[float]:  # type: ignore[override]
        """Return the values in the order of the reports."""
        values: list[float] = self.reported.tolist()
        return values


def to_bytes(values: IntermediateValues) -> bytes:
    """Return the values as bytes."""
    steps = values.steps
    is_regular = len(steps) > 2 and bool((np.diff(steps) == steps[1] - steps[0]).all())
    header = _HEADER.pack(len(steps), is_regular)
    return header + (steps[:2] if is_regular else steps).tobytes() + values.reported.tobytes()


def from_bytes(data: bytes) -> tuple[IntermediateValues, bytes]:
    """Return the values that `to_bytes` wrote at the start of the data, and what follows them.

    Raises
    ------
    ValueError
        If the data is too short.
    """
    if len(data) < _HEADER.size:
        raise ValueError("the number of intermediate values is missing")
    n, is_regular = _HEADER.unpack_from(data)
    n_steps = 2 if is_regular else n
    start = _HEADER.size + 8 * n_steps
    stop = start + 8 * n
    if len(data) < stop:
        raise ValueError("intermediate values are missing")
    steps = np.frombuffer(data, "<i8", n_steps, _HEADER.size)
    if is_regular:
        steps = steps[0] + np.arange(n) * (steps[1] - steps[0])
    return IntermediateValues(steps, np.frombuffer(data, "<f8", n, start)), data[stop:]
