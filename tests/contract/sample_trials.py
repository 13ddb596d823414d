"""Evaluations with all kinds of parameters, outcomes, attributes and intermediate values."""

from __future__ import annotations

import itertools
import math

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout
from adbo.core.origins import REGIONS, STRATEGIES, to_code

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-5.0, 5.0),
    "float log": FloatDistribution(1e-12, 1e12, log=True),
    "float step": FloatDistribution(0.0, 1.0, step=0.1),
    "int": IntDistribution(-(2**40), 2**40),
    "int log": IntDistribution(1, 1024, log=True),
    "int step": IntDistribution(0, 100, step=5),
    "words": CategoricalDistribution(
        ("direct", "iterativ 'ä'", "tab\there", "line\nbreak", "\\N")
    ),
    "mixed": CategoricalDistribution((None, True, 1, 2.5, "%s", "\\")),
}

_LAYOUTS = [
    Layout(DISTRIBUTIONS),
    Layout({name: DISTRIBUTIONS[name] for name in ("int", "float")}),
    Layout({}),
]

_VALUES: dict[str, list[float]] = {
    "float": [-5.0, 5.0, 0.1 + 0.2, -0.0, 5e-324],
    "float log": [1e-12, 1e12, 1 / 3],
    "float step": [0.0, 0.1, 0.30000000000000004, 1.0],
    "int": [-(2.0**40), 2.0**40, 0.0],
    "int log": [1.0, 1024.0, 17.0],
    "int step": [0.0, 100.0, 35.0],
    "words": [0.0, 1.0, 2.0, 3.0, 4.0],
    "mixed": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
}

_OUTCOMES = [
    (TrialState.COMPLETE, 0.1),
    (TrialState.COMPLETE, -1e300),
    (TrialState.COMPLETE, math.inf),
    (TrialState.COMPLETE, -math.inf),
    (TrialState.PRUNED, 2.5),
    (TrialState.PRUNED, math.nan),
    (TrialState.FAIL, math.nan),
]

_EXTRAS = [
    Extras(),
    Extras({"text": "Größe \\ \t 'x' \"y\" %s", "number": 1.5, "none": None}, {}, {}),
    Extras({"nested": {"a": [1, 2, {"b": None}]}, "": "empty", "nan": 1e400}, {}, {}),
    Extras({}, {"constraints:c": -1.0}, {0: 1.0, 10: math.inf, 3: -math.inf}),
    Extras({"adbo:fail_reason": "ValueError: no"}, {}, {7: math.nan, 2**31 - 1: 1e-300}),
]

_ORIGINS = [0, *(to_code(s, region) for s in STRATEGIES for region in REGIONS)]

#: The number of combinations of outcome, extras and layout.
TRIALS = len(_OUTCOMES) * len(_EXTRAS) * len(_LAYOUTS)


def evaluations(number: int, ranks: int = 7) -> list[Evaluation]:
    """Return evaluations, made by the ranks in turn, that cycle through the combinations."""
    combinations = itertools.cycle(itertools.product(_OUTCOMES, _EXTRAS, _LAYOUTS))
    return [
        Evaluation(
            rank=i % ranks,
            seq=i // ranks,
            state=state,
            value=value,
            started=1.7e9 + i + 0.123456,
            finished=1.7e9 + i + 1.25,
            layout=layout,
            internal=tuple(_VALUES[name][i % len(_VALUES[name])] for name in layout.names),
            extras=extras,
            origin=_ORIGINS[i % len(_ORIGINS)],
        )
        for i, ((state, value), extras, layout) in enumerate(
            itertools.islice(combinations, number)
        )
    ]
