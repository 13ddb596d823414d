"""All tunables of the optimizer, as data: one frozen dataclass for each part of an ask.

`experiments/DEFAULTS.md` says what each default is based on; `experiments/ablation.py` measures
what changes if a default changes. A pair named ``..._exponents`` is the range ``(low, high)`` of
U in a factor 10^U that is drawn anew at every use. Probabilities are per ask unless stated
otherwise. "Spread" is the standard deviation of the rows that a model is fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adbo.core.settings import check_strategies

Range = tuple[float, float]


@dataclass(frozen=True)
class SampleSettings:
    """What an ask reads of the history (`ask`)."""

    n_elites: int = 256
    """Best evaluations in the sample, at most `adbo.core.history.ELITES`; more cost time."""
    n_others: int = 256
    """Other evaluations in the sample, drawn from all times; more cost time."""
    n_early: int = 100
    """The draw is about uniform over this number of first evaluations, log-uniform after them."""
    n_auxiliary: int = 2048
    """Auxiliary rows that fill up regions: half are the latest, half are from all times."""
    n_enumerated: int = 2**16
    """A finite space of at most this many points is searched as a whole for new points."""


@dataclass(frozen=True)
class StrategySettings:
    """How often an ask uses which model (`strategies`)."""

    initial_per_column: int = 10
    """Uniform points at the start of a study, for each column."""
    initial_most: int = 20
    """Upper limit of the number of uniform points at the start."""
    minimize_probability: float = 0.7
    """Surrogate minimization among the elites; multiplied by the fraction of smooth columns."""
    region_minimize_probability: float = 0.6
    """Surrogate minimization in a region other than the elites."""
    quadratic_probability: float = 0.15
    """The global quadratic in place of the elites."""
    region_quadratic_probability: float = 0.07
    """The global quadratic in place of a region other than the elites."""
    additive_probability: float = 0.2
    """The additive model is tried; it is often rejected because it does not predict the costs."""
    least_rows: int = 8
    """Rows that a basin needs for a model; with fewer, points are drawn around its centre."""
    most_rows: int = 320
    """Rows of a basin that are used, the nearest to its centre; more cost time."""


@dataclass(frozen=True)
class RegionSettings:
    """Which basin an ask works in (`regions`)."""

    probability: float = 0.3
    """Asks that work in the basin of a drawn centre instead of among the elites."""
    distance_power: float = 1.5
    """p in the probability d^p / (cumulative d^p over better rows)^q of a centre."""
    cumulative_power: float = 3.0
    """q in the same formula: a higher value prefers better centres."""
    radius_fraction: float = 0.5
    """Radius of a basin, as a fraction of its centre's nearest-better distance."""
    rows_per_column: int = 4
    """The k of the k * d rows that decide whether a region has converged."""
    converged_fraction: float = 1e-10
    """Converged: the costs span less than this fraction of the sample's range of costs."""
    polished_fraction: float = 1e-7
    """Restarts begin when the costs of the best k * d rows span less than this fraction."""
    restart_probability: float = 0.75
    """Asks that restart elsewhere, once the incumbent's basin is polished."""
    attempts: int = 30
    """Centres of converged basins that are passed over before one of them is used."""


@dataclass(frozen=True)
class BranchSettings:
    """Asks that search one branch of a conditional space (`branches`)."""

    probability: float = 0.5
    """Asks that search a branch drawn at random; the others follow the best rows of all."""


@dataclass(frozen=True)
class CandidateSettings:
    """Where the acquisition function is evaluated (`candidates`)."""

    n_candidates: int = 1000
    """Candidates of an ask; more cost time."""
    uniform_fraction: float = 0.1
    """Fraction of the candidates that is uniform in the cube; the others are near good rows."""
    pool_range: tuple[int, int] = (4, 128)
    """Range of the number of best rows that candidates start from, log-uniform."""
    step_exponents: Range = (-1.5, 0.3)
    """Length of a candidate's step, in standard deviations of those rows."""
    n_around: int = 64
    """Points around a centre: more than one, because some may be known."""
    around_exponents: Range = (-1.5, 0.0)
    """Their distance from the centre, in radii of its region."""


@dataclass(frozen=True)
class QuadraticSettings:
    """Which terms a quadratic has (`models.quadratic`)."""

    rows_per_coefficient: float = 1.2
    """Rows that a quadratic needs for each coefficient; with fewer, it has fewer terms."""
    most_drawn_coefficients: int = 100
    """A drawn quadratic with a full Hessian has at most this many; time grows with the square."""


@dataclass(frozen=True)
class RBFSettings:
    """Which radial basis functions are tried (`models.rbf`)."""

    quintic_rows_per_coefficient: float = 2.0
    """Rows for each coefficient of its polynomial that a quintic model needs."""


@dataclass(frozen=True)
class LocalSearchSettings:
    """Minimization of a smooth surrogate of a few rows (`local_search`)."""

    n_points: int = 64
    """Points that are returned: more than one, because some may be known."""
    rbf_probability: float = 0.8
    """Minimizations that use radial basis functions; the others use a quadratic."""
    smoothing_exponents: Range = (-4.0, 0.5)
    """Ridge of the smoothed radial basis functions, for each row."""
    rbf_rows_per_coefficient: float = 2.0
    """Lower limit of an RBF model's rows, for each of its 1 + d linear coefficients."""
    rbf_most_rows: int = 320
    """Upper limit of its rows, whose number is log-uniform; more cost time."""
    search_points: int = 256
    """Points in each round of the search for an RBF model's minimum."""
    search_rounds: int = 6
    """Rounds of that search; steps are halved after each."""
    search_best: int = 8
    """Points of a round around which the next round searches."""
    search_exponents: Range = (-1.5, 0.3)
    """Steps of the first round, in spreads."""
    quadratic_rows: Range = (1.2, 3.0)
    """Range of a quadratic's rows for each of its coefficients, log-uniform."""
    quadratic_most_rows: int = 64
    """A quadratic has mixed terms if they need no more rows than this."""
    quadratic_reach: float = 2.0
    """Distance from the mean within which a quadratic's minimum is sought, in spreads."""
    quadratic_exponents: Range = (-3.0, -0.3)
    """Distance of points from a quadratic's minimum, in spreads."""
    face_exponents: Range = (-4.0, -1.0)
    """Distance from a face of the cube of points whose minimum is on or behind it, in spreads."""
    reflections_per_spread: float = 3.0
    """Times the mean spread: the probability that points outside the cube are reflected."""
    quadratic: QuadraticSettings = field(default_factory=QuadraticSettings)
    rbf: RBFSettings = field(default_factory=RBFSettings)


@dataclass(frozen=True)
class GlobalQuadraticSettings:
    """The quadratic of the whole sample (`global_quadratic`)."""

    n_points: int = 64
    """Points that are returned: more than one, because some may be known."""
    radius_exponents: Range = (-0.5, 0.0)
    """Radius around the incumbent within which rows are used, in distances of the farthest."""
    least_rows_per_column: int = 3
    """Rows for each column that are used even if they are farther away."""
    crowd_fraction: float = 0.2
    """A row has full weight if no better row is closer than this fraction of the radius."""
    weight_power: float = 2
    """Weight decreases with this power of the nearest-better distance; 0: equal weights."""
    width_exponents: Range = (-1.0, 0.0)
    """Distance of the coefficients from their posterior mean, as a factor of a posterior draw."""
    step_exponents: Range = (-2.5, -0.5)
    """Distance of points from the minimum, in spreads of the rows."""
    quadratic: QuadraticSettings = field(default_factory=QuadraticSettings)


@dataclass(frozen=True)
class AdditiveSettings:
    """The sum of functions of single columns (`models.additive`)."""

    n_points: int = 8
    """Points that are returned: more than one, because some may be known."""
    least_rows_per_column: int = 4
    """Rows that the model needs for each column."""
    most_rows: int = 512
    """Upper limit of its rows, whose number is log-uniform; more cost time."""
    cosines: int = 24
    """Cosines of each column: a higher number resolves narrower basins."""
    all_cosines: int = 160
    """Upper limit of the cosines of all columns together."""
    most_features: int = 400
    """With more features, choices included, there is no additive model: it would take long."""
    attempts: int = 4
    """Drawn pairs of length scale and noise; the one that predicts best is used."""
    length_exponents: Range = (-1.3, 0.0)
    """Length scale, as a fraction of the rows' range."""
    noise_exponents: Range = (-6.0, -1.0)
    """Noise variance for each row, as a fraction of the prior variance."""
    correlation_power: float = 4
    """The model is used with the probability r^power, r its leave-one-out correlation."""
    plain_probability: float = 0.5
    """Models of plain costs; the others are of costs on the scale of the forest's targets."""
    n_values: int = 64
    """Values of each column among which the minimum is sought."""


@dataclass(frozen=True)
class ForestSettings:
    """The random forest (`models.forest`)."""

    n_trees: int = 10
    """Trees of a forest: more make the standard deviation less noisy and cost time."""
    category_prior: float = 1.0
    """Evaluations of a choice that weigh as much as the prior that all choices are alike."""
    scale: float = 2.0**40
    """Factor between the cube and the trees' single precision, around the incumbent."""


@dataclass(frozen=True)
class OptimizerSettings:
    """All tunables of an ask. Change some with `dataclasses.replace`."""

    sample: SampleSettings = field(default_factory=SampleSettings)
    strategies: StrategySettings = field(default_factory=StrategySettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    branches: BranchSettings = field(default_factory=BranchSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    local_search: LocalSearchSettings = field(default_factory=LocalSearchSettings)
    global_quadratic: GlobalQuadraticSettings = field(default_factory=GlobalQuadraticSettings)
    additive: AdditiveSettings = field(default_factory=AdditiveSettings)
    forest: ForestSettings = field(default_factory=ForestSettings)


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
    return DEFAULT_SETTINGS
