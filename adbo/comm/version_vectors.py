"""Version vectors: how much of each stream a rank knows, compared with frames.

Notation: ``P`` ranks, ``n`` entries of a message; ``known (P,)`` is the number of frames of each
stream that a rank knows, always a prefix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adbo.comm.messages import INDEX, ORIGIN, Entries

#: The length of the known prefix of each stream, ``(P,)``.
Versions = NDArray[np.int32]


def lacking(known: Versions, entries: Entries) -> NDArray[np.bool_]:
    """Return which frames a rank does not know, ``(n,)``."""
    unknown: NDArray[np.bool_] = entries[:, INDEX] >= known[entries[:, ORIGIN]]
    return unknown


def continues(known: Versions, entries: Entries) -> bool:
    """Return whether entries continue what is known, in order and without duplicates."""
    origin, index = entries[:, ORIGIN], entries[:, INDEX]
    if (index == known[origin]).all():
        return len(set(origin.tolist())) == len(origin)
    order = np.argsort(origin, kind="stable")
    origin, index = origin[order], index[order]
    expected = known[origin]
    follows = np.flatnonzero(origin[1:] == origin[:-1])
    expected[follows + 1] = index[follows] + 1
    return bool((index == expected).all())


def fresh(known: Versions, entries: Entries) -> tuple[NDArray[np.bool_], bool]:
    """Return which entries of a message continue what is known, and whether any leave a gap.

    The entries of an origin are in their order; after a gap, all of them are left out.
    """
    origin, index = entries[:, ORIGIN], entries[:, INDEX]
    unknown = lacking(known, entries)
    origins, first = np.unique(origin, return_index=True)
    gaps = origins[index[first] > known[origins]]
    if gaps.size:
        unknown &= ~np.isin(origin, gaps)
    return unknown, bool(gaps.size)
