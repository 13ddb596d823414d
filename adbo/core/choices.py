"""Choices of categorical parameters: equal sets are one parameter, in whatever order they come.

``list({"a", "b"})`` has another order in each process. Choices are told apart by their JSON text,
so that 1, True and "1" differ; repeated choices are matched in the order in which they occur.

Notation: ``L`` choices; the *index* of a choice is Optuna's internal value.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from adbo.core.evaluation import Evaluation, Layout

#: Choices whose description is kept for reuse; a trial needs that of each of its parameters.
_INTERNED_CHOICES = 1024


def choice_set(distribution: CategoricalDistribution) -> str:
    """Return a text that equals that of another distribution if the sets of choices are equal."""
    return _described(distribution).set


def sorted_choices(distribution: CategoricalDistribution) -> NDArray[np.int64]:
    """Return the indices of the choices ``(L,)`` in an order that any order of them has."""
    return _described(distribution).order


def reordering(source: BaseDistribution, target: BaseDistribution) -> NDArray[np.float64] | None:
    """Return the index in `target` of each choice of `source`, ``(L,)``.

    The result is None if no index changes: the orders are equal, or these are not distributions
    of one set of choices.
    """
    if not isinstance(source, CategoricalDistribution):
        return None
    if not isinstance(target, CategoricalDistribution):
        return None
    old, new = _described(source), _described(target)
    if old.texts == new.texts or old.set != new.set:
        return None
    indices = np.empty(len(old.texts))
    indices[old.order] = new.order
    return indices


def in_order_of(
    known: Mapping[str, BaseDistribution], layout: Layout
) -> tuple[Layout, dict[int, NDArray[np.float64]]]:
    """Return a layout with its choices in the order of the known distributions.

    Returns
    -------
    Layout
        The layout itself if no order changes.
    dict of int to array
        For each position of the layout whose order changes, the new index of each choice ``(L,)``.
    """
    distributions = dict(layout.distributions)
    reorderings = {}
    for position, (name, distribution) in enumerate(layout.distributions.items()):
        indices = reordering(distribution, known[name]) if name in known else None
        if indices is not None:
            distributions[name] = known[name]
            reorderings[position] = indices
    own = Layout.of(distributions, layout.n_values) if reorderings else layout
    return own, reorderings


def reordered(evaluation: Evaluation, known: Mapping[str, BaseDistribution]) -> Evaluation:
    """Return an evaluation with its choices in the order of the known distributions."""
    layout, reorderings = in_order_of(known, evaluation.layout)
    internal = list(evaluation.internal)
    for position, indices in reorderings.items():
        internal[position] = float(indices[int(internal[position])])
    return replace(evaluation, layout=layout, internal=tuple(internal))


class _Description(NamedTuple):
    texts: tuple[str, ...]
    """The choices as JSON, ``(L,)``."""
    order: NDArray[np.int64]
    """The indices of the sorted texts, ``(L,)``."""
    set: str
    """The sorted texts."""


def _described(distribution: CategoricalDistribution) -> _Description:
    choices = distribution.choices
    try:
        return _interned(choices, tuple(type(choice) for choice in choices))
    except TypeError:  # choices without a hash
        return _describe(choices)


@lru_cache(_INTERNED_CHOICES)
def _interned(choices: tuple[Any, ...], types: Hashable) -> _Description:
    """Describe choices; `types` tells choices apart that are equal, such as 1 and True."""
    return _describe(choices)


def _describe(choices: tuple[Any, ...]) -> _Description:
    texts = tuple(_text(choice) for choice in choices)
    order = sorted(range(len(texts)), key=texts.__getitem__)
    return _Description(texts, np.array(order), ",".join(texts[i] for i in order))


def _text(choice: Any) -> str:
    try:
        return json.dumps(choice, sort_keys=True)
    except TypeError:  # not JSON, such as a function
        return repr(choice)
