"""Hypothesis strategies for what trials are made of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout
from adbo.core.origins import REGIONS, STRATEGIES, to_code

finite = st.floats(allow_nan=False, allow_infinity=False)
bounds = finite.map(lambda value: value + 0.0)  # -0.0 is no bound of its own
times = st.floats(0, 2e9)
origins = st.sampled_from([0, *(to_code(s, r) for s in STRATEGIES for r in REGIONS)])


@st.composite
def floats_(draw: st.DrawFn) -> FloatDistribution:
    low, high = sorted([draw(bounds), draw(bounds)])
    return FloatDistribution(low, high)


@st.composite
def log_floats(draw: st.DrawFn) -> FloatDistribution:
    positive = st.floats(1e-300, 1e300)
    low, high = sorted([draw(positive), draw(positive)])
    return FloatDistribution(low, high, log=True)


@st.composite
def stepped_floats(draw: st.DrawFn) -> FloatDistribution:
    low = draw(st.integers(-1000, 1000)) / 8
    step = draw(st.sampled_from([0.125, 0.25, 0.1, 1.0, 3.0]))
    return FloatDistribution(low, low + step * draw(st.integers(0, 40)), step=step)


@st.composite
def integers_(draw: st.DrawFn) -> IntDistribution:
    low = draw(st.integers(-(2**40), 2**40))
    step = draw(st.integers(1, 7))
    return IntDistribution(low, low + step * draw(st.integers(0, 10_000)), step=step)


@st.composite
def log_integers(draw: st.DrawFn) -> IntDistribution:
    low = draw(st.integers(1, 1000))
    return IntDistribution(low, low + draw(st.integers(0, 10**6)), log=True)


choices = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text(max_size=3)
)
# Unique by ==, as Optuna tells them apart: True is 1.0.
categoricals = st.lists(choices, min_size=1, max_size=6, unique=True).map(CategoricalDistribution)
distributions = st.one_of(
    floats_(), log_floats(), stepped_floats(), integers_(), log_integers(), categoricals
)
spaces = st.dictionaries(st.text(min_size=1, max_size=4), distributions, max_size=5)


@st.composite
def internal_values(draw: st.DrawFn, distribution: BaseDistribution) -> float:
    """A value that the distribution can hold, as Optuna represents it."""
    if isinstance(distribution, CategoricalDistribution):
        return float(draw(st.integers(0, len(distribution.choices) - 1)))
    if isinstance(distribution, IntDistribution):
        levels = (distribution.high - distribution.low) // distribution.step
        return float(distribution.low + distribution.step * draw(st.integers(0, levels)))
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is not None:
        levels = round((distribution.high - distribution.low) / distribution.step)
        value = distribution.low + distribution.step * draw(st.integers(0, levels))
        return min(value, distribution.high)  # 17 * 0.1 is above 1.7
    return draw(st.floats(distribution.low, distribution.high))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), finite, st.text(max_size=5)),
    lambda children: st.lists(children, max_size=3),
    max_leaves=4,
)
attributes = st.dictionaries(st.text(max_size=5), json_values, max_size=2)


@st.composite
def evaluations(draw: st.DrawFn, layout: Layout | None = None) -> Evaluation:
    """A finished evaluation; those of one call with unique names are for the caller to make."""
    if layout is None:
        layout = Layout(draw(spaces))
    internal: list[Any] = [draw(internal_values(d)) for d in layout.distributions.values()]
    state = draw(st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]))
    return Evaluation(
        rank=draw(st.integers(0, 2**31 - 1)),
        seq=draw(st.integers(0, 2**32 - 1)),
        state=state,
        value=draw(st.floats(allow_nan=state != TrialState.COMPLETE)),
        started=draw(times),
        finished=draw(times),
        layout=layout,
        internal=tuple(internal),
        extras=Extras(
            draw(attributes),
            draw(attributes),
            draw(st.dictionaries(st.integers(0, 2**31), st.floats(allow_nan=False), max_size=2)),
        ),
        origin=draw(origins),
    )
