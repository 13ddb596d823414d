"""The constants of the optimizer: the fields of its frozen dataclasses, found by a walk over them.

A constant is named by its path in `OptimizerSettings`, such as ``strategies.local.most_rows``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings

#: A number, or the two ends of a range.
Value = float | tuple[float, ...]


def constants() -> dict[str, Value]:
    """Return the default of every constant."""
    return dict(_walk(DEFAULT_SETTINGS, ()))


def with_constant(name: str, value: Value) -> OptimizerSettings:
    """Return the default settings with another value of one constant.

    Raises
    ------
    KeyError
        If there is no constant of that name.
    """
    if name not in constants():
        raise KeyError(name)
    changed: OptimizerSettings = _replaced(DEFAULT_SETTINGS, name.split("."), value)
    return changed


def scaled(name: str, value: Value, factor: float) -> Value:
    """Return a constant multiplied by a factor, rounded to a positive integer if it is an integer.

    A range of exponents ``(low, high)``, whose name ends in ``_exponents``, is moved so that the
    numbers 10^U are multiplied. Of any other range, both ends are.
    """
    if isinstance(value, tuple):
        if name.endswith("_exponents"):
            return tuple(end + math.log10(factor) for end in value)
        return tuple(_times(end, factor) for end in value)
    return _times(value, factor)


def _times(value: float, factor: float) -> float:
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def _walk(part: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
    if is_dataclass(part):
        for field in fields(part):
            yield from _walk(getattr(part, field.name), (*path, field.name))
    elif isinstance(part, Mapping):
        for name, value in part.items():
            yield from _walk(value, (*path, name))
    elif not isinstance(part, Enum):  # a choice cannot be halved
        yield ".".join(path), part


def _replaced(part: Any, path: Sequence[str], value: Value) -> Any:
    if not path:
        return value
    first, *rest = path
    if isinstance(part, Mapping):
        return {**part, first: _replaced(part[first], rest, value)}
    return replace(part, **{first: _replaced(getattr(part, first), rest, value)})
