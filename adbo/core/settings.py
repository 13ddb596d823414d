"""The choices of a run, checked when they are made."""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from adbo.core.allowed import Predicate
from adbo.core.errors import UsageError
from adbo.core.limits import MOST_OBJECTIVES
from adbo.core.origins import STRATEGIES

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    Callback = Callable[[Study, FrozenTrial], None]

#: Mean of the exponential distribution of kappa (arXiv 2207.00479, section III-B).
KAPPA = 1.96

#: Where results are mirrored unless somebody chooses another place.
DEFAULT_STORAGE = "sqlite:///adbo.db"

#: Failed evaluations in a row, of all ranks, after which a run ends: this number, and this number
#: more for each rank. Ranks that fail at once repeat it while others still compute a success.
FAILURES, FAILURES_PER_RANK = 500, 50

#: The names of the pruners: successive halving (`adbo.core.rungs`), or none.
HALVING, NO_PRUNER = PRUNERS = ("halving", "none")

#: The best 1 / `REDUCTION_FACTOR` of the trials at a rung go on; the first rung is at the report
#: `MIN_RESOURCE` (of the study of Egele et al., arXiv 2207.00479, with successive halving).
REDUCTION_FACTOR, MIN_RESOURCE = 3, 1

#: +1 to minimize, -1 to maximize: the sign that turns a value into a cost.
DIRECTIONS = {"minimize": 1, "maximize": -1}


def default_max_failures(n_ranks: int) -> int:
    """Return the number of failed evaluations in a row that ends a run of this many ranks.

    An objective that fails 95 % of the time passes: 500 failures in a row then have a probability
    of 7e-12. If failures are instantaneous and successes take long, each rank fails 19 times on
    average until it computes a success; so the number grows with the ranks.
    """
    return FAILURES + FAILURES_PER_RANK * n_ranks


def directions_of(direction: str | Sequence[str]) -> tuple[str, ...]:
    """Return one direction, or one for each objective, as a tuple.

    Raises
    ------
    UsageError
        If there is none or too many, or one of them is neither of the two.
    """
    is_one = isinstance(direction, str) or not isinstance(direction, Sequence)
    directions: tuple[Any, ...] = (direction,) if is_one else tuple(direction)
    for one in directions:
        if not isinstance(one, str) or one not in DIRECTIONS:
            raise UsageError(f"direction is {one!r}: it must be minimize or maximize")
    if not 1 <= len(directions) <= MOST_OBJECTIVES:
        raise UsageError(
            f"there are {len(directions)} directions: there must be 1 to {MOST_OBJECTIVES}, one"
            " for each objective"
        )
    return directions


def signs_of(direction: str | Sequence[str]) -> tuple[int, ...]:
    """Return the sign of each direction: +1 to minimize, -1 to maximize."""
    return tuple(DIRECTIONS[one] for one in directions_of(direction))


def one_or_several(direction: str, directions: Sequence[str] | None) -> str | Sequence[str]:
    """Return the directions of several objectives, or the direction of one.

    Raises
    ------
    UsageError
        If both are given, or the directions are no list.
    """
    if directions is None:
        return direction
    if direction != "minimize":
        raise UsageError("direction and directions are given: use one of them")
    if isinstance(directions, str) or not isinstance(directions, Sequence):
        raise UsageError(f"directions is {directions!r}: it must be a list of directions")
    return tuple(directions)


def is_integer(value: object, least: int) -> bool:
    """Return whether a value is an integer, at least so large, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, and not a boolean."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def check_kappa(kappa: float) -> None:
    """Raise UsageError, a ValueError, unless kappa is a finite non-negative number."""
    if not is_number(kappa) or kappa < 0:
        raise UsageError(f"kappa is {kappa!r}: it must be a finite non-negative number")


def check_halving(reduction_factor: int, min_resource: int) -> None:
    """Raise UsageError unless these are integers of at least 2 and 1."""
    for name, value, least in (
        ("reduction factor", reduction_factor, 2),
        ("min resource", min_resource, 1),
    ):
        if not is_integer(value, least):
            raise UsageError(f"{name} is {value!r}: it must be an integer of at least {least}")


def check_strategies(names: Sequence[str] | None) -> None:
    """Raise UsageError, a ValueError, unless these are names of strategies, or None for all."""
    known = ", ".join(STRATEGIES)
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Collection) or len(names) == 0:
        raise UsageError(f"strategies is {names!r}: it must be a list with some of {known}")
    for name in names:
        if name not in STRATEGIES:
            raise UsageError(f"strategy is {name!r}: it must be one of {known}")


def check_not_in_memory(url: str) -> None:
    """Raise UsageError if this is the URL of an SQLite database in memory.

    Every thread would get a database of its own, and all would end with the process.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] != "sqlite":
        return
    path, _, query = rest.partition("?")
    database, options = path.removeprefix("/"), parse_qs(query)
    names = {"", ":memory:"} | ({"file:", "file::memory:"} if "uri" in options else set())
    if database in names or "memory" in options.get("mode", []):
        name = url.rpartition("@")[2]
        raise UsageError(
            f"{name} is a database in memory, which is lost at the end: use --storage none (in"
            " Python storage=None) for no database, or sqlite:///FILE"
        )


def check_trial_timeout(seconds: float | None) -> None:
    """Raise UsageError unless the time limit of an evaluation is a positive number, or None."""
    if seconds is not None and not (is_number(seconds) and seconds > 0):
        raise UsageError(f"trial timeout is {seconds!r}: it must be a positive number of seconds")


def default_study_name(objective_name: str) -> str:
    """Return a study name of the objective, the present time, and 8 random characters.

    They tell apart the jobs of an array that start in one second.
    """
    return f"{objective_name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Settings:
    """The choices of a run; `adbo.optimize` documents those that are its arguments.

    Raises
    ------
    UsageError
        If one of them is out of range.
    """

    n_trials: int | None = None
    timeout: float | None = None
    walltime: float | None = None
    """The time at which the batch job must have ended, in seconds since the epoch."""
    direction: str | Sequence[str] = "minimize"
    """One direction, or one for each objective."""
    storage: str | BaseStorage | None = None
    study_name: str = "study"
    resume: bool = False
    seed: int | None = None
    kappa: float = KAPPA
    callbacks: Collection[Callback] = ()
    retries: int = 0
    target: float | None = None
    patience: int | None = None
    max_failures: int | None = None
    """None for `default_max_failures`."""
    enqueue: Sequence[Mapping[str, Any]] = ()
    strategies: Sequence[str] | None = None
    allowed: Predicate | None = None
    pruner: str | BasePruner = HALVING
    reduction_factor: int = REDUCTION_FACTOR
    min_resource: int = MIN_RESOURCE

    def __post_init__(self) -> None:
        directions_of(self.direction)
        if self.n_trials is not None and not is_integer(self.n_trials, 1):
            raise UsageError(f"trials is {self.n_trials!r}: it must be a positive integer")
        if self.timeout is not None and not (
            is_number(self.timeout) and 0 < self.timeout <= threading.TIMEOUT_MAX
        ):
            raise UsageError(
                f"timeout is {self.timeout!r}: it must be a positive number of seconds,"
                f" at most {threading.TIMEOUT_MAX:.0f}"
            )
        if self.timeout is not None:  # a sum with numpy's float32 would lose the time of day
            object.__setattr__(self, "timeout", float(self.timeout))
        check_kappa(self.kappa)
        for name, number in (("retries", self.retries), ("seed", self.seed)):
            if number is not None and not is_integer(number, 0):
                raise UsageError(f"{name} is {number!r}: it must be a non-negative integer")
        if not _is_name(self.study_name):
            raise UsageError(
                f"study name is {self.study_name!r}: it must be a text of at least one character"
            )
        if isinstance(self.storage, str) and not self.storage:
            raise UsageError("storage is '': it must be a database URL, or in Python None")
        self._check_functions()
        check_strategies(self.strategies)
        self._check_pruner()
        self._check_ends()
        _check_points(self.enqueue)

    @property
    def directions(self) -> tuple[str, ...]:
        """The direction of each objective."""
        return directions_of(self.direction)

    @property
    def has_end(self) -> bool:
        """Whether the run ends by itself unless all evaluations fail."""
        ends = (self.n_trials, self.timeout, self.walltime, self.target, self.patience)
        return any(end is not None for end in ends)

    def _check_functions(self) -> None:
        if not isinstance(self.callbacks, Collection) or not all(map(callable, self.callbacks)):
            raise UsageError(f"callbacks is {self.callbacks!r}: it must be a list of functions")
        if self.allowed is not None and not callable(self.allowed):
            raise UsageError(f"allowed is {self.allowed!r}: it must be a function")

    def _check_pruner(self) -> None:
        has_prune = callable(getattr(self.pruner, "prune", None))
        is_named = isinstance(self.pruner, str) and self.pruner in PRUNERS
        if not is_named and (not has_prune or isinstance(self.pruner, type)):
            raise UsageError(
                f"pruner is {self.pruner!r}: it must be halving, none, or in Python a pruner of"
                " Optuna"
            )
        check_halving(self.reduction_factor, self.min_resource)

    def _check_ends(self) -> None:
        for name, end in (("target", self.target), ("patience", self.patience)):
            if end is not None and len(self.directions) > 1:
                raise UsageError(
                    f"{name} is {end}: it needs one objective, but there are"
                    f" {len(self.directions)} directions"
                )
        if self.target is not None and not is_number(self.target):
            raise UsageError(f"target is {self.target!r}: it must be a finite number")
        for name, number in (("patience", self.patience), ("max failures", self.max_failures)):
            if number is not None and not is_integer(number, 1):
                raise UsageError(f"{name} is {number!r}: it must be a positive integer")


def _is_name(name: object) -> bool:
    """Return whether a database can hold a name: a text, which is not empty, of whole characters.

    Bytes of the command line that are no characters are surrogates in Python.
    """
    if not isinstance(name, str) or not name:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _check_points(points: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError unless these are dictionaries of values that a database can hold."""
    if not isinstance(points, Sequence):
        raise UsageError(f"enqueue is {points!r}: it must be a list of dictionaries")
    for number, point in enumerate(points):
        if not isinstance(point, Mapping) or not all(isinstance(name, str) for name in point):
            raise UsageError(
                f"enqueue[{number}] is {point!r}: it must be a dictionary of parameter values"
            )
        try:
            json.dumps(dict(point))
        except (TypeError, ValueError):
            raise UsageError(
                f"enqueue[{number}] is {point!r}: its values must be numbers, booleans, strings"
                " or None"
            ) from None
