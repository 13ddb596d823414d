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

#: The names of the strategies; their order is part of the wire format.
STRATEGIES = ("exploration", "forest", "gaussian", "local", "additive", "quadratic")

#: The kinds of regions, in an order that is part of the wire format.
REGIONS = ("space", "elites", "basin", "restart", "branch")

_TEXTS = tuple(f"{strategy}/{region}" for strategy in STRATEGIES for region in REGIONS)
_CODES = {text: code for code, text in enumerate(_TEXTS, 1)}


def to_code(strategy: str, region: str) -> int:
    """Return the code of a strategy and a kind of region, from 1 to 255.

    Raises
    ------
    KeyError
        If one of the names is unknown.
    """
    return _CODES[f"{strategy}/{region}"]


def to_text(code: int) -> str | None:
    """Return a code as text, such as ``local/elites``; None for the code 0."""
    return _TEXTS[code - 1] if 0 < code <= len(_TEXTS) else None


def from_text(text: object) -> int:
    """Return the code of a text; 0 if it is not the text of a code."""
    return _CODES.get(text, 0) if isinstance(text, str) else 0


def strategy_indices(codes: Any) -> IntArray:
    """Return the index in `STRATEGIES` of each code of an array ``(n,)``; -1 for the code 0."""
    indices: IntArray = (codes.astype("int64") - 1) // len(REGIONS)
    return indices
