"""Origins: which strategy of the optimizer proposed an evaluation, and in which kind of region.

An origin is one byte, a *code*, in each record of the history, and the text ``strategy/region`` in
databases and files. The code 0 means that no strategy proposed the point: it was told, enqueued,
or made by another program. This module imports nothing heavy, so that the command line can check
names at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adbo.core.space import IntArray

#: The names of the strategies. Their order is part of the code: new names come last.
STRATEGIES = ("exploration", "forest", "gaussian", "local", "additive", "quadratic")

#: The kinds of regions, at most eight; their order, too, is part of the code.
REGIONS = ("space", "elites", "basin", "restart", "branch")

#: The code of an evaluation that no strategy proposed.
NO_ORIGIN = 0

#: Distance between the codes of two strategies in the same kind of region.
_WIDTH = 8


def to_code(strategy: str, region: str) -> int:
    """Return the code of a strategy and a kind of region, from 8 to 255.

    Raises
    ------
    ValueError
        If one of the names is unknown.
    """
    return _WIDTH * (1 + STRATEGIES.index(strategy)) + REGIONS.index(region)


def to_text(code: int) -> str | None:
    """Return a code as text, such as ``local/elites``; None for the code 0."""
    return _TEXTS.get(code)


def from_text(text: object) -> int:
    """Return the code of a text; 0 if it is not the text of a code."""
    return _CODES.get(text, NO_ORIGIN) if isinstance(text, str) else NO_ORIGIN


def strategy_indices(codes: Any) -> IntArray:
    """Return the index in `STRATEGIES` of each code of an array ``(n,)``; -1 for the code 0."""
    indices: IntArray = codes.astype("int64") // _WIDTH - 1
    return indices


_CODES = {f"{s}/{region}": to_code(s, region) for s in STRATEGIES for region in REGIONS}
_TEXTS = {code: text for text, code in _CODES.items()}
