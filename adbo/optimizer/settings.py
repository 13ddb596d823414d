"""All tunables of the optimizer, as data: one frozen dataclass for each part of an ask.

`experiments/DEFAULTS.md` says what each default is based on; `experiments/ablation.py` measures
what changes if a default changes. A field named ``..._exponents`` is the range ``(low, high)`` of
U in a factor 10^U that is drawn anew at every use. "Spread" is the standard deviation of the rows
that a model is fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from adbo.core.settings import check_strategies
from adbo.optimizer.preference import PreferenceSettings
from adbo.optimizer.regions import RegionSettings
from adbo.optimizer.sample import SampleSettings
from adbo.optimizer.shares import ShareSettings
from adbo.optimizer.strategies import DEFAULT_STRATEGIES
from adbo.optimizer.strategies.protocol import Strategy
from adbo.optimizer.view import CandidateSettings


@dataclass(frozen=True)
class OptimizerSettings:
    """All tunables of an ask. Change some with `dataclasses.replace`."""

    initial: int = 4
    """Complete evaluations before which points are uniform."""
    sample: SampleSettings = field(default_factory=SampleSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    shares: ShareSettings = field(default_factory=ShareSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: DEFAULT_STRATEGIES)


#: The settings of every run.
DEFAULT_SETTINGS = OptimizerSettings()


def with_strategies(names: Sequence[str] | None) -> OptimizerSettings:
    """Return the default settings with some of the strategies alone; None for all.

    Raises
    ------
    ValueError
        If there is no name, or no strategy of a name.
    """
    check_strategies(names)
    if names is None:
        return DEFAULT_SETTINGS
    return replace(DEFAULT_SETTINGS, strategies={n: DEFAULT_STRATEGIES[n] for n in names})
